"""Generated secrets: files of mode 0600 in `home/secrets`, made once."""

import os
import secrets
from pathlib import Path


def private_folder(path: Path) -> Path:
    """The folder, made with mode 0700 when it is not there."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def secret_file(home: Path, name: str) -> Path:
    """The file of the secret `name`, made with a random value at the first call."""
    path = private_folder(private_folder(home) / "secrets") / name
    if not path.exists():
        write_private(path, secrets.token_urlsafe(32))
    return path


def write_private(path: Path, text: str) -> None:
    """Writes the file whole and for its owner only: nobody ever sees half of it."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
