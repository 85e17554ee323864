"""While the database is down, or not named yet, a sensor's tick is a skip with the reason, not a storm of failures."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dagster import SkipReason

from sensor_platform.errors import ConfigurationError, DatabaseUnavailableError

P = ParamSpec("P")
R = TypeVar("R")


def skip_without_database(evaluate: Callable[P, R]) -> Callable[P, R | SkipReason]:
    """Wraps the function of a sensor or schedule."""

    @functools.wraps(evaluate)
    def tick(*args: P.args, **kwargs: P.kwargs) -> R | SkipReason:
        try:
            return evaluate(*args, **kwargs)
        except (DatabaseUnavailableError, ConfigurationError) as err:
            return SkipReason(str(err))

    return tick
