"""Where the staging area of the settings is: a local folder, or an object store and the folder of what waits for it."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from sensor_platform.settings import Settings
from sensor_platform.staging.object_staging import ObjectStaging
from sensor_platform.staging.object_store import Bucket
from sensor_platform.staging.store import LocalStaging, Staging


def open_staging(settings: Settings) -> Staging:
    """The staging area of the settings; a `staging` folder in the home when they name none. Connects to nothing."""
    root = staging_root(settings)
    if settings.staging_url is not None and is_object_store(settings.staging_url):
        return ObjectStaging(LocalStaging(root), Bucket(settings.staging_url))
    return LocalStaging(root)


def staging_root(settings: Settings) -> Path:
    """The local folder: the staging area itself, or, with an object store, what waits to be uploaded."""
    if settings.staging_url is None or is_object_store(settings.staging_url):
        return settings.home / "staging"
    return Path(unquote(urlsplit(settings.staging_url).path))


def is_object_store(url: str) -> bool:
    return urlsplit(url).scheme == "s3"
