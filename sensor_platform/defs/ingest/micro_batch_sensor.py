"""Turns sealed micro-batches into runs: one for all that is pending in one contiguous stretch of hours, oldest first.

One of these at a time. Runs that make hours again are not waited for: what is new is loaded beside them, a group at a
time each, as the database's lock lets them.

Dagster looks at sensors every 5 s; most of a reading's way would be spent waiting for that. So a tick that finds
nothing to ask for stays and looks again, for as long as shutting down can wait.

What a run that succeeded left behind (a damaged file stays pending) must not start run after run: the cursor has the
names that were asked for, and those that were left by a run that got nothing done.
"""

import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

import dagster as dg

from sensor_platform.defs import names
from sensor_platform.defs.ingest.readings import process_readings_job
from sensor_platform.defs.partitions import clamped, hour_stretches, key_of
from sensor_platform.defs.resources import Platform
from sensor_platform.defs.runs import backoff_left_s, end_dead_runs, in_flight, last_run
from sensor_platform.defs.unavailable import skip_while_unavailable
from sensor_platform.pipeline.mode import Mode
from sensor_platform.staging.format import MicroBatch

MOST_HOURS = 48
MOST_NAMES = 500
LOOK_AGAIN_S = 0.5
NEW = {names.MODE_TAG: str(Mode.NEW)}
FIRST = {names.PRIORITY_TAG: "1"}


@dataclass(frozen=True, slots=True)
class Asked:
    """The cursor: what the last run was asked for, after which one, and what no run could load."""

    names: frozenset[str] = frozenset()
    after: str = ""
    stuck: frozenset[str] = frozenset()

    @classmethod
    def read(cls, cursor: str | None) -> Self:
        kept = json.loads(cursor) if cursor else {}
        return cls(frozenset(kept.get("names", ())), kept.get("after", ""), frozenset(kept.get("stuck", ())))

    def write(self) -> str:
        sets = {"names": sorted(self.names)[:MOST_NAMES], "stuck": sorted(self.stuck)[:MOST_NAMES]}
        return json.dumps({**sets, "after": self.after})

    def after_success(self, run_id: str, pending: list[MicroBatch]) -> Self:
        """What is known to be stuck once run `run_id` has succeeded."""
        left = {micro_batch.name for micro_batch in pending}
        got_nothing_done = bool(self.names) and run_id != self.after and self.names <= left
        return replace(self, stuck=(self.stuck | self.names if got_nothing_done else self.stuck) & left)


@dg.sensor(
    job=process_readings_job,
    minimum_interval_seconds=1,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="One run for all pending micro-batches of a stretch of hours; none while such a one is in flight.",
)
@skip_while_unavailable
def micro_batch_sensor(
    context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    for run_id in end_dead_runs(context.instance):
        context.log.warning("run %s was marked as ended: its process is gone", run_id)
    deadline = time.monotonic() + platform.tick_wait_s
    while True:
        answer, asked = next_run(context.instance, platform, Asked.read(context.cursor), now=datetime.now(UTC))
        context.update_cursor(asked.write())
        platform.stuck = asked.stuck
        if isinstance(answer, dg.RunRequest) or time.monotonic() + LOOK_AGAIN_S > deadline:
            return answer
        time.sleep(LOOK_AGAIN_S)


def next_run(
    instance: dg.DagsterInstance, platform: Platform, asked: Asked, *, now: datetime
) -> tuple[dg.RunRequest | dg.SkipReason, Asked]:
    """The run that is due now, or why there is none; and the cursor after that."""
    busy = in_flight(instance, job=names.READINGS_JOB, tags=NEW)
    if busy:
        return dg.SkipReason(f"run {busy[0].run_id} is {busy[0].status.value.lower()}"), asked
    pending = platform.pending(now=now)
    before = last_run(instance, job=names.READINGS_JOB, tags=NEW)
    # "Re-execute" copies the tags of runs: such a one was about other hours.
    if before is not None and before.is_success and names.PARENT_RUN_TAG not in before.tags:
        asked = asked.after_success(before.run_id, pending)
    loadable = [micro_batch for micro_batch in pending if micro_batch.name not in asked.stuck]
    if not loadable:
        stuck = f"; {len(pending)} micro-batches cannot be loaded, the check of readings says why" if pending else ""
        return dg.SkipReason(f"nothing is pending{stuck}"), asked
    wait_s = backoff_left_s(instance, job=names.READINGS_JOB, tags=NEW, now=now)
    if wait_s > 0:
        reason = f"{len(loadable)} micro-batches wait; runs fail, the next attempt is in {wait_s:.0f} s"
        return dg.SkipReason(reason), asked
    first, last = hour_stretches((clamped(micro_batch.hour) for micro_batch in loadable), at_most=MOST_HOURS)[0]
    after = before.run_id if before else ""
    request = dg.RunRequest(
        # One attempt a key: a tick that is evaluated twice asks once, and a run that failed does not block the next.
        run_key=f"{loadable[0].name} after {after}",
        # Ahead of runs by hand that wait for the pool: those make up to an hour again.
        tags={**NEW, **FIRST, names.RANGE_START_TAG: key_of(first), names.RANGE_END_TAG: key_of(last)},
    )
    covered = [m.name for m in loadable if first <= clamped(m.hour) <= last]
    return request, Asked(frozenset(covered[:MOST_NAMES]), after, asked.stuck)
