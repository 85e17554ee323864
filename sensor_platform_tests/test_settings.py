"""Settings: one tree, parsed at the edge; a bad value is one line that names it."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from sensor_platform.errors import ConfigurationError
from sensor_platform.settings import SECTIONS, MqttSettings, Settings, load_settings

ROOT = Path(__file__).parent.parent


def test_defaults_are_those_of_the_interface() -> None:
    settings = load_settings({}, env_file=None)
    assert settings.mqtt.buffer_max_size == 100_000
    assert settings.mqtt.buffer_flush_interval_ms == 2000
    assert settings.mqtt.max_payload_bytes == 4_194_304
    assert settings.health.message_rate == 1000
    assert settings.health.error_rate_percent == 5
    assert settings.dead_letters.max_attempts == 5
    assert settings.environment == "development"
    assert settings.home == Path.cwd() / ".sensor-platform"


def test_environment_wins_over_the_env_file(tmp_path: Path) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text("MQTT_BROKER_URL=mqtt://from-file\nMQTT_USERNAME=anna\n")
    settings = load_settings({"MQTT_BROKER_URL": "mqtts://from-environment:8883"}, env_file=env_file)
    assert settings.mqtt.broker_url == "mqtts://from-environment:8883"
    assert settings.mqtt.username == "anna"


def test_a_secret_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("s3cret\n")
    settings = load_settings({"MQTT_PASSWORD_FILE": str(tmp_path / "password")}, env_file=None)
    assert settings.mqtt.password is not None
    assert settings.mqtt.password.get_secret_value() == "s3cret"
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"MQTT_BROKER_URL": "http://x"}, "MQTT_BROKER_URL=http://x: accepted: mqtt://"),
        ({"MQTT_BUFFER_MAX_SIZE": "many"}, "MQTT_BUFFER_MAX_SIZE=many: Input should be a valid integer"),
        ({"SENSOR_PLATFORM_ENV": "prod"}, "SENSOR_PLATFORM_ENV=prod: Input should be 'development'"),
        ({"STAGING_URL": "ftp://x"}, "STAGING_URL=ftp://x: accepted: file:///"),
        ({"MQTT_BROKER_URL": "http://anna:s3cret@x"}, "MQTT_BROKER_URL=(not shown): accepted: mqtt://"),
        ({"MQTT_PASSWORD_FILE": "/nowhere"}, "MQTT_PASSWORD_FILE=/nowhere: cannot read the file"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(environ: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ, env_file=None)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 78


def test_a_bad_secret_is_never_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"DATABASE_URL": "mysql://root:hunter2@db"}, env_file=None)
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).startswith("DATABASE_URL=(not shown): accepted: postgresql://")


def test_a_script_builds_the_tree_by_name() -> None:
    settings = Settings(mqtt=MqttSettings(broker_url="mqtt://localhost", linger_ms=0))
    assert settings.mqtt.linger_ms == 0


def test_the_example_file_names_every_setting_with_its_default() -> None:
    example = dotenv_values(ROOT / ".env.example")
    fields = [f for cls in (Settings, *SECTIONS.values()) for f in cls.model_fields.values() if f.alias]
    assert set(example) == {f.alias for f in fields}
    assert load_settings({k: v for k, v in example.items() if v}, env_file=None) == load_settings({}, env_file=None)
