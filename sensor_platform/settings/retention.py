"""How long readings, rollups and the bytes of dead letters are kept."""

from typing import Annotated

from pydantic import AfterValidator, Field

from sensor_platform.settings.section import Section


def _letter_states(value: str) -> str:
    if not value or set(value.split(",")) - {"resolved", "discarded", "exhausted", "pending"}:
        raise ValueError("accepted: some of resolved, discarded, exhausted, pending, with commas between them")
    return value


class RetentionSettings(Section):
    """How long what was made of the messages is kept, in days; 0 keeps everything."""

    raw_days: float = Field(
        0,
        alias="METRIC_RETENTION_DAYS",
        ge=0,
        description="readings, and their duplicates, are deleted so long after their event time, by month; 0: never",
    )
    minute_days: float = Field(
        0, alias="METRICS_MINUTE_RETENTION_DAYS", ge=0, description="the same of rollups a minute, by month; 0: never"
    )
    hour_days: float = Field(
        0, alias="METRICS_HOURLY_RETENTION_DAYS", ge=0, description="the same of rollups an hour, by month; 0: never"
    )
    day_days: float = Field(
        0, alias="METRICS_DAILY_RETENTION_DAYS", ge=0, description="the same of rollups a day, by day; 0: never"
    )

    dead_letter_days: float = Field(
        0,
        alias="DEAD_LETTER_RETENTION_DAYS",
        ge=0,
        description="dead letters lose their bytes so long after they were closed; 0: never",
    )
    dead_letter_states: Annotated[str, AfterValidator(_letter_states)] = Field(
        "resolved,discarded",
        alias="DEAD_LETTER_RETENTION_STATES",
        description="of which states; open ones (exhausted, pending) are discarded first, so long after they were made",
    )

    @property
    def by_level(self) -> dict[str, float]:
        """Days of raw readings and of each rollup."""
        return {"raw": self.raw_days, "minute": self.minute_days, "hour": self.hour_days, "day": self.day_days}
