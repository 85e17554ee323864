"""As whom a server runs that refuses root, such as PostgreSQL.

A normal user needs nothing. Root first tries a user namespace, in which the process sees the uid of `nobody` (initdb
wants one that has a name) while its files stay root's: no account, no chmod. Where a container forbids namespaces, it
is the account `nobody` itself with one capability left, so that it reaches a home folder of mode 0700 under any path;
the data folder must then belong to it.
"""

import os
import pwd
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sensor_platform.errors import ConfigurationError

NOBODY = next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_name == "nobody"), 65534)
_NAMESPACE = ("unshare", "-U", f"--map-user={NOBODY}", f"--map-group={NOBODY}")
_NOBODY = (
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
)


@dataclass(frozen=True, slots=True)
class Account:
    """What goes before a command, and who must own its data (None: whoever starts it)."""

    prefix: tuple[str, ...]
    owner: int | None

    def own(self, folder: Path) -> None:
        """Gives `folder` and all in it to the account, where it is not so already."""
        uid = os.geteuid() if self.owner is None else self.owner
        if os.geteuid() != 0 or not folder.exists() or folder.stat().st_uid == uid:
            return
        for path in (folder, *folder.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)


def account_for(binary: Path) -> Account:
    """The account under which `binary` runs here.

    Raises:
        ConfigurationError: we are root or a user without a name, and no way of being somebody else works.
    """
    if os.geteuid() != 0 and _has_name(os.geteuid()):
        return Account((), None)
    # Python too must be reachable: the guard runs as the account.
    for account in (Account(_NAMESPACE, None), Account(_NOBODY, NOBODY)):
        if all(_runs([*account.prefix, str(program), "--version"]) for program in (binary, sys.executable)):
            return account
    raise ConfigurationError(
        f"the embedded PostgreSQL does not run as uid {os.geteuid()}, and neither a user namespace (unshare -U) "
        f"nor the account nobody (setpriv) can run {binary}. Run sensor-platform as a normal user, or set DATABASE_URL"
    )


def _has_name(uid: int) -> bool:
    """Whether the user database knows it; a container may be run under a bare number."""
    try:
        return bool(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return False


def _runs(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0
    except OSError:
        return False
