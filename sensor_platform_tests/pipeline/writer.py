"""A process that loads, makes again and retries at random, for `test_concurrent`: `python -m ... URL STAGING SEED`."""

import random
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sensor_platform.database.engine import Database
from sensor_platform.dead_letters.retry import retry
from sensor_platform.pipeline.mode import Mode
from sensor_platform.settings import Settings
from sensor_platform.staging.store import LocalStaging
from sensor_platform_tests.pipeline.staged import HOUR, load, routes

HOURS = 4
FINAL = ", text: true"
OTHERS = ["", ", text: true, allow_nan: true"]


def work(database: Database, staging: LocalStaging, rng: random.Random, steps: int) -> None:
    """Some steps of a writer: live loads with today's routes, backfills with others, retries."""
    for _ in range(steps):
        hour = HOUR + timedelta(hours=rng.randrange(HOURS))
        what = rng.random()
        if what < 0.4:
            load(staging, database, using=routes(FINAL), hour=hour)
        elif what < 0.8:
            load(staging, database, mode=Mode.AGAIN, using=routes(rng.choice([FINAL, *OTHERS])), hour=hour)
        else:
            later = datetime.now(UTC) + timedelta(days=400)
            retry(database, routes(FINAL), settings=Settings(), now=later)


if __name__ == "__main__":
    url, folder, seed = sys.argv[1:]
    with Database(url) as own:
        work(own, LocalStaging(Path(folder)), random.Random(int(seed)), steps=1_000_000)
