"""While the database or the object store is down, a tick of a sensor is a skip with the reason, not a failure."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dagster import SkipReason

from sensor_platform.errors import ConfigurationError, DatabaseUnavailableError, ObjectStoreError

P = ParamSpec("P")
R = TypeVar("R")


def skip_while_unavailable(evaluate: Callable[P, R]) -> Callable[P, R | SkipReason]:
    """Wraps the function of a sensor or schedule."""

    @functools.wraps(evaluate)
    def tick(*args: P.args, **kwargs: P.kwargs) -> R | SkipReason:
        try:
            return evaluate(*args, **kwargs)
        except (DatabaseUnavailableError, ObjectStoreError, ConfigurationError) as err:
            return SkipReason(str(err))

    return tick
