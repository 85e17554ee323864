"""One process that loads: `python -m benchmarks.backfill_process URL STAGING MODE FIRST_HOUR HOURS`.

Prints `loading` when its imports are done, and in the end the seconds it took and the most memory it ever held, which
has Dagster and all its definitions in it, as that of a run has.
"""

import json
import logging
import resource
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import sensor_platform.definitions  # noqa: F401  # for its memory
from benchmarks.pipeline import ROUTES
from sensor_platform.database.engine import Database
from sensor_platform.log import set_up_logging
from sensor_platform.pipeline.mode import Mode
from sensor_platform.pipeline.process import process
from sensor_platform.routes.file import parse_routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging


def main(url: str, staging: str, mode: str, first: str, hours: str) -> None:
    set_up_logging(level=logging.WARNING)
    start = datetime.fromisoformat(first)
    stretch = (start, start + timedelta(hours=int(hours)))
    with Database(url) as database:
        print("loading", flush=True)
        began_s = time.monotonic()
        area = LocalStaging(Path(staging))
        report = process(area, database, parse_routes(ROUTES), settings=Settings(), hours=stretch, mode=Mode(mode))
        took_s = time.monotonic() - began_s
    most_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    counts = {"messages": report.messages.staged, "inserted": report.readings.inserted}
    print(json.dumps({**counts, "seconds": round(took_s, 2), "most_mb": round(most_mb, 1)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
