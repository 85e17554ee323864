"""A process that compacts, to be killed: `python -m sensor_platform_tests.staging.compact_process ROOT [BUCKET]`."""

import sys
from pathlib import Path

from sensor_platform.staging.compaction import compact_hour
from sensor_platform.staging.object_staging import ObjectStaging
from sensor_platform.staging.object_store import Bucket
from sensor_platform.staging.store import LocalStaging, Staging


def compact_all(staging: Staging) -> int:
    """Compacts every hour; how many micro-batches that were."""
    found = staging.micro_batches()
    names = {each.name for each in found}
    return sum(compact_hour(staging, hour, names).micro_batches for hour in sorted({each.hour for each in found}))


def main(root: str, bucket: str | None = None) -> None:
    local = LocalStaging(Path(root))
    compact_all(local if bucket is None else ObjectStaging(local, Bucket(bucket)))


if __name__ == "__main__":
    main(*sys.argv[1:])
