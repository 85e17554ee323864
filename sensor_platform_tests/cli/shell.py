"""Commands in this process, with the settings of one test."""

import json
from typing import Any

from click.testing import CliRunner, Result

from sensor_platform.cli import sensor_platform


class Shell:
    """Commands with the settings of one test."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *command: str) -> Result:
        return CliRunner(env=self.environment).invoke(sensor_platform, command)

    def json(self, *command: str) -> Any:
        result = self(*command)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)
