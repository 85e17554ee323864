"""A load of what is new that stays for what comes meanwhile.

A run costs seconds to start and its history tens of kilobytes, a load costs milliseconds. So under steady load one run
loads micro-batch after micro-batch as they are sealed, until it has stayed long enough, nothing comes any more, or
somebody else waits for its place.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.process import DamagedMicroBatchesError, Window, pending, process
from sensor_platform.pipeline.report import Report
from sensor_platform.routes.model import Routes
from sensor_platform.settings import Settings
from sensor_platform.staging.store import Staging

LOOK_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class Stay:
    """For how long, and how long after the last micro-batch. `is_over` is asked between loads: true ends it at once."""

    at_most_s: float
    quiet_s: float
    is_over: Callable[[], bool] = lambda: False


def process_and_follow(
    staging: Staging,
    database: Database,
    routes: Routes,
    stay: Stay,
    *,
    settings: Settings,
    hours: Window = (None, None),
    run_id: str | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Report:
    """`process` of what is new in `hours`, again and again while `stay` lasts. Each load commits by itself.

    Raises:
        DamagedMicroBatchesError: at the end, when some could not be read; it has the names and the whole report.
    """
    report, damaged, seen = Report(), dict[str, str](), set[str]()
    now_s = time.monotonic()
    until_s, quiet_until_s = now_s + stay.at_most_s, now_s
    while True:
        # A damaged one is tried once, whatever comes after it.
        fresh = [micro_batch for micro_batch in pending(staging, database, hours=hours) if micro_batch.name not in seen]
        if fresh:
            seen |= {micro_batch.name for micro_batch in fresh}
            try:
                report += process(
                    staging, database, routes, settings=settings, run_id=run_id, should_stop=should_stop, found=fresh
                )
            except DamagedMicroBatchesError as err:
                report += err.report
                damaged |= err.errors
            quiet_until_s = time.monotonic() + stay.quiet_s
        if time.monotonic() >= min(until_s, quiet_until_s) or (should_stop and should_stop()) or stay.is_over():
            break
        if not fresh:
            time.sleep(LOOK_AGAIN_S)
    if damaged:
        raise DamagedMicroBatchesError(damaged, report)
    return report
