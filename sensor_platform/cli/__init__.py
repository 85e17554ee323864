"""The `sensor-platform` command. Each command's module is imported when it is called: `--help` pays for click alone."""

import importlib
import sys

import click

from sensor_platform import __version__
from sensor_platform.cli.examples import with_examples

#: Command -> (module, one line of help). The module has a click command named like the command, "-" as "_".
COMMANDS: dict[str, tuple[str, str]] = {
    "up": ("platform", "Start every part of the platform and keep it running."),
    "demo": ("demo", "Start the platform, feed it a simulated plant and account for every message."),
    "collect": ("collect", "Run the collector alone."),
    "subscriptions": ("subscriptions", "List what the collectors subscribe to; add and remove filters while they run."),
    "connections": ("connections", "List when the collectors' connections came and went, and why."),
    "process": ("process", "Load all that is pending once, in this process."),
    "rollups": ("rollups", "Make the rollups of changed days, or all of some days again, in this process."),
    "status": ("status", "Say how the platform is, and what became of its messages."),
    "simulate": ("simulate", "Publish the messages of a simulated plant."),
    "replay": ("replay", "Publish recorded data from a CSV file."),
    "publish": ("publish", "Publish messages, through a queue on disk if the broker may be away."),
    "metrics": ("metrics", "Print readings of a sensor."),
    "last": ("last", "Print the last value of each series, with its age."),
    "dead-letters": ("dead_letters", "List, show, retry or discard dead letters."),
    "trace": ("trace", "Show the bytes that a reading came from, or what became of a message."),
    "reprocess": ("reprocess", "Make received hours again, or say what that would change."),
    "decode": ("decode", "Explain what a payload becomes, step by step."),
    "sensors": ("sensors", "List sensors, set what is known of them, import and export the registry."),
    "work-units": ("work_units", "List the work units, and say where they lie in the plant."),
    "alerts": ("alerts", "List alerts."),
    "staging": ("staging", "Upload what waits, compact and delete what is old."),
    "routes": ("routes", "Check the route file, test it with golden payloads, propose one for a broker."),
    "db": ("db", "Create, upgrade, describe and prune the tables; who may do what; what room they take."),
}


class LazyGroup(click.Group):
    """A click group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"sensor_platform.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return with_examples(command, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sensor-platform")
def sensor_platform() -> None:
    """MQTT sensor data in, validated metric tables out, every message accounted for."""


def main() -> None:
    """Entry point: our own errors become one line on stderr and their exit code."""
    from sensor_platform.errors import SensorPlatformError

    try:
        sensor_platform(standalone_mode=True)
    except SensorPlatformError as err:
        click.echo(f"sensor-platform: {err}", err=True)
        sys.exit(err.exit_code)
