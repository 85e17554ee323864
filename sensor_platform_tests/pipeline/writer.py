"""A process that writes, for `test_concurrent`: `python -m ... URL STAGING SEED ROLE`. Without end, apart from `once`.

live: loads of what is new with today's routes; backfill: hours made again, now with these routes, now with others;
retry: of all letters; any: each of these at random; once: each hour made again with the final routes, in order.
"""

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
#: Of each role: up to which part of its steps it loads, up to which it makes again; then it retries.
ROLES = {"live": (1.0, 1.0), "backfill": (0.0, 1.0), "retry": (0.0, 0.0), "any": (0.4, 0.8)}
FINAL = ", text: true"
OTHERS = ["", ", text: true, allow_nan: true"]


def work(database: Database, staging: LocalStaging, rng: random.Random, steps: int, role: str = "any") -> None:
    """Some steps of a writer."""
    loads, makes_again = ROLES[role]
    for _ in range(steps):
        hour = HOUR + timedelta(hours=rng.randrange(HOURS))
        what = rng.random()
        if what < loads:
            load(staging, database, using=routes(FINAL), hour=hour)
        elif what < makes_again:
            load(staging, database, mode=Mode.AGAIN, using=routes(rng.choice([FINAL, *OTHERS])), hour=hour)
        else:
            later = datetime.now(UTC) + timedelta(days=400)
            retry(database, routes(FINAL), settings=Settings(), now=later)


def make_again(database: Database, staging: LocalStaging) -> None:
    """A backfill: every hour, with the final routes."""
    for hour in range(HOURS):
        load(staging, database, mode=Mode.AGAIN, using=routes(FINAL), hour=HOUR + timedelta(hours=hour))


if __name__ == "__main__":
    url, folder, seed, its_role = sys.argv[1:]
    with Database(url) as own:
        area = LocalStaging(Path(folder))
        if its_role == "once":
            make_again(own, area)
        else:
            work(own, area, random.Random(int(seed)), steps=1_000_000, role=its_role)
