"""When PostgreSQL refuses a group: halve it until each guilty reading stands alone, and load the others.

Decoding refuses what PostgreSQL is known to refuse. What is left is a constraint or trigger that someone added, or a
mistake of ours: one such row must not hold up the thousands beside it, nor be lost.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import psycopg
import sqlalchemy as sa

from sensor_platform.database.copy import copy_readings
from sensor_platform.database.raw import cursor
from sensor_platform.errors import AccountingError, DefinitionsChangedError, RegistryChangedError
from sensor_platform.log import get_logger
from sensor_platform.pipeline.catalogue import Begin
from sensor_platform.pipeline.outcome import Outcome
from sensor_platform.pipeline.standing import METRIC
from sensor_platform.transformers.contract import Refusal

#: SQLSTATE classes that say something of a row: data exception, constraint, limit exceeded, raised by a trigger.
ABOUT_A_ROW = ("22", "23", "54", "P0")
#: Of class 22, and of no row: a column has another type than we write. The tables were upgraded while this process ran.
OTHER_TYPE = "22P03"

#: The registry changes a few times a day: more than this is a quarrel, and the run is tried again. Definitions
#: change with every load that brings one before these messages: after this often they are loaded, and marked.
PREPARED_AGAIN = 5

T = TypeVar("T")


def load_prepared(
    outcome: Outcome, attempt: Callable[[Outcome], T], *, again: Callable[[], Outcome], begin_trial: Begin
) -> T:
    """`without_guilty`, of what `again` prepares where the registry or a definition changed since `outcome` was.

    begin_trial: opens a transaction that is rolled back, and sees the partitions that `outcome` was prepared with.

    Raises:
        RegistryChangedError: the registry changed each time.
    """
    for _ in range(PREPARED_AGAIN):
        try:
            return without_guilty(outcome, attempt, begin_trial)
        except (RegistryChangedError, DefinitionsChangedError) as err:
            get_logger().info("prepared_again", because=str(err))
            before, outcome = outcome, again()
            if isinstance(err, DefinitionsChangedError) and outcome.decoded_with == before.decoded_with:
                # Nobody changed anything: it was decoded beside messages that are not loaded, or by other versions.
                outcome = replace(outcome, load_outdated=True)
    return without_guilty(replace(outcome, load_outdated=True), attempt, begin_trial)


def without_guilty(outcome: Outcome, attempt: Callable[[Outcome], T], begin_trial: Begin) -> T:
    """`attempt` of `outcome`, a transaction of its own; readings that PostgreSQL refuses become dead letters in it."""
    try:
        return attempt(outcome)
    except (sa.exc.DBAPIError, psycopg.Error, UnicodeEncodeError) as err:
        if not _is_about_a_row(err):
            raise
        reasons = _find(begin_trial, outcome, np.arange(len(outcome.readings)))
        if not reasons:
            raise AccountingError(f"PostgreSQL refused the load, and no reading by itself: {_reason(err)}") from err
        get_logger().warning("readings_refused_by_database", readings=len(reasons), error=_reason(err))
        return attempt(_refuse(outcome, reasons))


def _find(begin_trial: Begin, outcome: Outcome, places: np.ndarray) -> dict[int, str]:
    """The readings among `places` that PostgreSQL refuses by themselves, with its reason."""
    try:
        with begin_trial() as connection, cursor(connection) as cur:
            copy_readings(cur, METRIC, outcome.readings.take(places))
    except (sa.exc.DBAPIError, psycopg.Error, UnicodeEncodeError) as err:
        if not _is_about_a_row(err):
            raise
        if len(places) == 1:
            return {int(places[0]): _reason(err)}
        half = len(places) // 2
        return {**_find(begin_trial, outcome, places[:half]), **_find(begin_trial, outcome, places[half:])}
    return {}


def _refuse(outcome: Outcome, reasons: dict[int, str]) -> Outcome:
    refusals = [
        Refusal(
            int(outcome.message[place]),
            int(outcome.readings.ordinal[place]),
            "refused_by_database",
            f"PostgreSQL refused the row: {reason}",
        )
        for place, reason in reasons.items()
    ]
    return outcome.refuse(np.array(list(reasons), np.int64), refusals)


def _cause(err: Exception) -> BaseException:
    return err.orig or err if isinstance(err, sa.exc.DBAPIError) else err


def _is_about_a_row(err: Exception) -> bool:
    cause = _cause(err)
    if isinstance(cause, UnicodeEncodeError):
        return True
    state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
    return state is not None and state.startswith(ABOUT_A_ROW) and state != OTHER_TYPE


def _reason(err: Exception) -> str:
    return str(_cause(err)).strip().splitlines()[0]
