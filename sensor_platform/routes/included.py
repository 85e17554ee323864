"""Route files that a route file includes: those of device families, which come along, and others by their path.

A device's topic seldom says where in the plant it stands, nor its clock in which zone: an entry of `include` may.
"""

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

KEYS = ("file", "work_unit", "zone")
FAMILIES = importlib.resources.files("sensor_platform.routes").joinpath("devices")


@dataclass(frozen=True, slots=True)
class Included:
    """An entry of `include`.

    file: the name of a device family, or a path relative to the route file. work_unit: of every route that captures
    none. zone: of times that name no offset, where a route says of none.
    """

    file: str
    work_unit: str | None = None
    zone: str | None = None

    @property
    def is_family(self) -> bool:
        return "/" not in self.file and not self.file.endswith((".yaml", ".yml"))

    @property
    def source(self) -> str:
        """As errors name it."""
        return f"devices/{self.file}.yaml" if self.is_family else self.file

    def text(self, folder: Path | None) -> str:
        """Raises ValueError with what is wrong with the name; OSError and UnicodeDecodeError as reading does."""
        if not self.is_family:
            return ((folder or Path()) / self.file).read_text(encoding="utf-8")
        if self.file not in families():
            raise ValueError(self.file)
        return family_text(self.file)

    def completed(self, entry: dict[str, Any], captured: set[str]) -> None:
        """Puts work unit and zone into the entry of a route that has none of its own."""
        options = entry.get("options")
        options = options if isinstance(options, dict) else {}
        if self.work_unit is not None and "work_unit" not in captured and "work_unit" not in options:
            entry["work_unit"] = self.work_unit
        time = options.get("time")
        if self.zone is not None and isinstance(time, dict):
            time.setdefault("zone", self.zone)


def parse_entry(entry: Any) -> Included:
    """Raises ValueError with what is accepted."""
    given = {"file": entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict) or "file" not in given or not set(given) <= set(KEYS):
        raise ValueError("an entry is a name, or a mapping with file, and with work_unit and zone if need be")
    if not all(isinstance(text, str) and text for text in given.values()):
        raise ValueError("file, work_unit and zone are texts of at least one character")
    included = Included(**given)
    if included.zone is not None:
        try:
            ZoneInfo(included.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as err:  # "Europe" is a folder of zones
            raise ValueError(f'there is no time zone "{included.zone}". Accepted: names such as Europe/Berlin') from err
    return included


def families() -> list[str]:
    """The names of the device families that come along."""
    return sorted(file.name.removesuffix(".yaml") for file in FAMILIES.iterdir() if file.name.endswith(".yaml"))


def family_text(name: str) -> str:
    """The route file of a family. Raises FileNotFoundError."""
    return FAMILIES.joinpath(f"{name}.yaml").read_text(encoding="utf-8")
