"""The staged messages of the plant whose tables `written_by_0001.sql` holds, as the first version of them wrote it.

The dump was made with `pg_dump --inserts` after that version had loaded these, retried, discarded and rolled up.
"""

from datetime import timedelta
from pathlib import Path

from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, Message, new_staging, stage, value

OVEN = "factory/oven/sensors/o1/data"
EVENT = HOUR - timedelta(hours=3)


def _at(minutes: float) -> str:
    return (EVENT + timedelta(minutes=minutes)).isoformat()


def _wide(minutes: float, **metrics: object) -> Message:
    return Message({"timestamp": _at(minutes), "metrics": metrics}, topic=OVEN)


def staged(folder: Path) -> LocalStaging:
    """Three micro-batches: plain, with rubbish, and one that was received before them and loaded last."""
    staging = new_staging(folder)
    stage(
        staging,
        "c0-aaaa-0000000001",
        [
            *[value(20 + n / 8, EVENT + timedelta(minutes=n), unit="degC") for n in range(40)],
            value(20.125, EVENT + timedelta(minutes=1), unit="degC"),  # a duplicate
            value(99.5, EVENT + timedelta(minutes=2), unit="degC"),  # a conflict
            value(21.5, None),  # timed by receipt
            _wide(50, counter=2**53 + 1),
            value(1.5, EVENT + timedelta(minutes=51), quality="bad"),
            value(2.5, EVENT + timedelta(minutes=52), quality="uncertain"),
            *[_wide(n, temperature=180.5 + n, pressure=2 * n, door=n % 2 == 0) for n in range(30)],
            value(7.0, None, retain="no"),
            Message({"value": 3}, retain=True),  # ignored
        ],
    )
    stage(
        staging,
        "c0-aaaa-0000000002",
        [
            Message(b"{broken"),
            Message({"value": "N/A"}),
            Message({"value": 1}, topic="nobody/knows"),
            value(5.0, HOUR + timedelta(days=400)),  # from the future
            value(1000.0, EVENT + timedelta(minutes=3), unit="degC"),
            _wide(3.5, temperature=1.0, pressure=2**70),
            *[value(20 + n / 8, EVENT + timedelta(minutes=n), unit="degC") for n in range(5)],  # duplicates
            value(30.0, EVENT + timedelta(minutes=60), unit="degC", id=1),
            Message({"value": 30.0, "timestamp": _at(60), "unit": "degC", "id": 1}, redelivery_of=200),
        ],
        hour=HOUR + timedelta(hours=1),
        first_sequence=189,
    )
    stage(
        staging,
        "c0-aaaa-0000000000",
        [value(20.25, EVENT + timedelta(minutes=2), unit="degC"), value(19.0, EVENT - timedelta(days=40), unit="degC")],
        hour=HOUR - timedelta(hours=1),
    )
    return staging
