"""The examples at the end of each command's `--help`, in one table: what people copy."""

import click

#: Command -> what follows `sensor-platform`.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("demo --duration 60 --rate 200",),
    "subscriptions add": ("subscriptions add 'plant-2/+/status'",),
    "connections": ("connections --collector c0 --limit 10",),
    "rollups": ("rollups", "rollups --from 2026-01-01 --to 2026-02-01"),
    "simulate": ("simulate --rate 50 --duration 60",),
    "replay": ("replay press-3.csv --topic factory/line-1/sensors/press-3/data --speed 10 --wait",),
    "publish": (
        """publish factory/line-1/sensors/press-3/data '{"value": 21.5, "unit": "degC"}'""",
        "publish factory/line-1/sensors/press-3/data --lines --queue < messages.ndjson",
    ),
    "metrics": (
        "metrics --sensor line-1/press-3 --metric temperature --from 2026-01-01 --to 2026-01-02T06:00:00Z",
        "metrics --sensor line-1/press-3 --format parquet --output press-3.parquet",
        "metrics --work-unit line-1 --level hour --format csv",
    ),
    "last": ("last --sensor line-1/press-3",),
    "dead-letters list": ("dead-letters list --stage range --limit 20",),
    "dead-letters show": ("dead-letters show 17 --json",),
    "dead-letters retry": ("dead-letters retry --code above_maximum --dry-run", "dead-letters retry 17 18"),
    "dead-letters discard": ("dead-letters discard 17 --why 'test bench'",),
    "trace": (
        "trace line-1/press-3 temperature 2026-01-01T08:00:00Z",
        "trace --topic 'factory/line-1/#' --from 2026-01-01T08:00:00Z --to 2026-01-01T08:05:00Z",
        "trace --message c0-5b0c91d2-0000000017:42",
    ),
    "reprocess": (
        "reprocess --from 2026-01-01T08:00:00Z --to 2026-01-01T12:00:00Z --dry-run",
        "reprocess --from 2026-01-01 --to 2026-01-02 --route factory-json",
    ),
    "decode": (
        "decode --topic factory/line-1/sensors/press-3/data < payload.json",
        "decode --from-dead-letter 17 --registry",
    ),
    "sensors list": ("sensors list --silent",),
    "sensors set": (
        "sensors set line-1/press-3 --expected-interval 10",
        "sensors set line-1/press-3 --metric temperature --unit degC --minimum -20 --maximum 120",
        "sensors set line-1/press-3 --metric temperature --offset -0.4 --valid-from 2026-01-01T00:00:00Z",
    ),
    "sensors import": ("sensors import registry.yaml --dry-run",),
    "sensors export": ("sensors export --format csv > registry.csv",),
    "sensors history": ("sensors history line-1/press-3",),
    "work-units set": ("work-units set press --level cell --parent line-1",),
    "staging compact": ("staging compact --hours 24",),
    "staging prune": ("staging prune --dry-run",),
    "routes check": ("routes check routes.yaml",),
    "routes test": ("routes test", "routes test press/overheated --from-dead-letter 17"),
    "routes discover": ("routes discover --for 60s > routes.yaml",),
    "db grant": ("db grant dashboards reader",),
    "db prune": ("db prune --dry-run",),
}
TIMES = "TIME is ISO 8601, such as 2026-01-01 or 2026-01-01T08:00:00Z; without an offset it is UTC."


def with_examples(command: click.Command, name: str) -> click.Command:
    """`command`, and those in it where it is a group, with what ends their help."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            with_examples(inner, f"{name} {inner.name}")
    elif name in EXAMPLES:
        takes_times = any(each.type.name == "time" for each in command.params)
        lines = "\n".join(f"  sensor-platform {line}" for line in EXAMPLES[name])
        command.epilog = (f"{TIMES}\n\n" if takes_times else "") + f"\b\nExamples:\n{lines}"
    return command
