"""How dead letters are tried again."""

from pydantic import Field

from sensor_platform.settings.section import Section


class DeadLetterSettings(Section):
    """How often a dead letter is tried again."""

    max_attempts: int = Field(5, alias="DEAD_LETTER_MAX_ATTEMPTS", ge=1, description="then it is exhausted")
    first_backoff_s: float = Field(60, alias="DEAD_LETTER_BACKOFF", gt=0, description="seconds; doubles each time")
    rebirth_interval_s: float = Field(
        300,
        alias="DEAD_LETTER_REBIRTH_INTERVAL",
        ge=0,
        description="seconds after which a Sparkplug node is asked for its births again; 0: never asked",
    )
