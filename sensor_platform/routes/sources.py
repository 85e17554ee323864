"""Where formats of your own come from, and what they may use. A value that each route carries; nothing is imported."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FormatSources:
    """Modules and folders that register formats, and the limits of the process that runs them."""

    modules: tuple[str, ...] = ()
    beside: tuple[Path, ...] = ()  # folders of the route files: their modules are looked for there too
    folder: Path | None = None  # every *.py in it registers formats
    timeout_s: float = 10.0
    memory_bytes: int = 1024**3

    @property
    def load_timeout_s(self) -> float:
        """For importing all of it: longer than a call, since a module may bring large libraries."""
        return 6 * self.timeout_s
