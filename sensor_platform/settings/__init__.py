"""Every setting, one tree, parsed once at the edge and passed on: a module a section, `tree` has them all.

The alias of a field is its environment variable; `NAME_FILE` names a file that holds the value, for secrets. The order
is environment, then the `.env` file of the working folder, then the default. Plain pydantic models rather than
pydantic-settings: the tree is built from one merged mapping, so a test or a script builds it without an environment.
"""

from sensor_platform.settings.api import ApiSettings
from sensor_platform.settings.dead_letters import DeadLetterSettings
from sensor_platform.settings.health import HealthSettings
from sensor_platform.settings.load import load_settings
from sensor_platform.settings.mqtt import OFF, MqttSettings
from sensor_platform.settings.retention import RetentionSettings
from sensor_platform.settings.transformers import TransformerSettings
from sensor_platform.settings.tree import SECTIONS, Settings

__all__ = [
    "OFF",
    "SECTIONS",
    "ApiSettings",
    "DeadLetterSettings",
    "HealthSettings",
    "MqttSettings",
    "RetentionSettings",
    "Settings",
    "TransformerSettings",
    "load_settings",
]
