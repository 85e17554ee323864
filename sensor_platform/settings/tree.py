"""The whole tree, and what belongs to no part of it alone."""

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from sensor_platform.settings.api import ApiSettings
from sensor_platform.settings.dead_letters import DeadLetterSettings
from sensor_platform.settings.health import HealthSettings
from sensor_platform.settings.mqtt import MqttSettings
from sensor_platform.settings.retention import RetentionSettings
from sensor_platform.settings.section import Section
from sensor_platform.settings.transformers import TransformerSettings


def _database_url(value: SecretStr | None) -> SecretStr | None:
    if value is not None and urlsplit(value.get_secret_value()).scheme not in ("postgresql", "postgres"):
        raise ValueError("accepted: postgresql://user:password@host:port/database")
    return value


def _staging_url(value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    local = parts.scheme == "file" and not parts.netloc and parts.path
    bucket = parts.scheme == "s3" and parts.hostname and not parts.query and "@" not in parts.netloc
    if not local and not bucket:
        raise ValueError("accepted: file:///absolute/path, or s3://bucket/prefix")
    return value


class Settings(Section):
    """The whole tree. Build it with `load_settings()`, or by hand: `Settings(mqtt=MqttSettings(broker_url=...))`."""

    environment: Literal["development", "test", "production"] = Field(
        "development", alias="SENSOR_PLATFORM_ENV", description="development, test, production"
    )
    home: Path = Field(
        Path(".sensor-platform"), alias="SENSOR_PLATFORM_HOME", description="where embedded parts keep their data"
    )
    routes_file: Path | None = Field(
        None,
        alias="SENSOR_PLATFORM_ROUTES",
        description="route file; empty: routes.yaml in the working folder, otherwise the packaged default",
    )
    database_url: Annotated[SecretStr | None, AfterValidator(_database_url)] = Field(
        None, alias="DATABASE_URL", description="postgresql://...; empty: the embedded PostgreSQL"
    )
    staging_url: Annotated[str | None, AfterValidator(_staging_url)] = Field(
        None, alias="STAGING_URL", description="file:///... or s3://bucket/prefix; empty: under the home folder"
    )
    staging_retention_days: float = Field(
        0, alias="STAGING_RETENTION_DAYS", ge=0, description="processed micro-batches are deleted after this; 0: never"
    )
    staging_compaction_hours: float = Field(
        24,
        alias="STAGING_COMPACTION_HOURS",
        ge=0,
        description="micro-batches of hours that ended so long ago are compacted once processed; 0: never",
    )
    run_stays_s: float = Field(
        60,
        alias="READINGS_RUN_STAYS_S",
        ge=0,
        description="a run of new micro-batches stays for those that come meanwhile; 0: each takes what is there",
    )
    dagster_history_days: float = Field(
        2,
        alias="DAGSTER_HISTORY_DAYS",
        ge=0,
        description="runs, events and check evaluations of Dagster are deleted after this, failed runs after ten times "
        "that; 0: never",
    )
    mqtt: MqttSettings = Field(default_factory=MqttSettings)
    health: HealthSettings = Field(default_factory=HealthSettings)
    dead_letters: DeadLetterSettings = Field(default_factory=DeadLetterSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    transformers: TransformerSettings = Field(default_factory=TransformerSettings)
    api: ApiSettings = Field(default_factory=ApiSettings)

    @model_validator(mode="after")
    def _absolute_home(self) -> "Settings":
        # Children of `up` run elsewhere: the home must mean the same folder there.
        object.__setattr__(self, "home", self.home.expanduser().absolute())
        return self


SECTIONS: dict[str, type[Section]] = {
    "mqtt": MqttSettings,
    "health": HealthSettings,
    "dead_letters": DeadLetterSettings,
    "retention": RetentionSettings,
    "transformers": TransformerSettings,
    "api": ApiSettings,
}
