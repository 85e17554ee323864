"""Names that a question may name: a metric that nobody has is said, rather than answered by no rows."""

from collections.abc import Collection

import sqlalchemy as sa

from sensor_platform.database.tables import ledger, sensor, series, work_unit
from sensor_platform.errors import SensorPlatformError
from sensor_platform.routes.wording import did_you_mean


class UnknownWorkUnitError(SensorPlatformError):
    """No work unit goes by that name."""


class UnknownMetricError(SensorPlatformError):
    """The sensor, or the work unit with all that lies in it, has no such metric."""


class UnknownRouteError(SensorPlatformError):
    """Neither is there such a route today, nor did one make anything of what stands."""


def find_route(connection: sa.Connection, name: str, *, today: Collection[str]) -> None:
    """Raises UnknownRouteError where `name` is neither a route of `today` nor in the ledger."""
    if name in today:
        return
    made = sa.select(ledger.c.id).where(ledger.c.route_versions.has_key(name)).limit(1)
    if connection.execute(made).first() is None:
        once = connection.execute(sa.select(sa.func.jsonb_object_keys(ledger.c.route_versions)).distinct()).scalars()
        raise UnknownRouteError(f'there is no route "{name}", and never was.{did_you_mean(name, {*today, *once})}')


def find_work_unit(connection: sa.Connection, name: str) -> str:
    """The name. Raises UnknownWorkUnitError where there is none of it."""
    known = set(connection.execute(sa.select(work_unit.c.name)).scalars())
    if name not in known:
        raise UnknownWorkUnitError(f'there is no work unit "{name}".{did_you_mean(name, known)}')
    return name


def find_metric(connection: sa.Connection, metric: str, *, work_unit_name: str, sensor_name: str | None) -> None:
    """Raises UnknownMetricError where neither readings nor the registry know it. sensor_name None: of all within."""
    of = sa.select(series.c.metric).distinct().join(sensor, sensor.c.id == series.c.sensor_id)
    if sensor_name is None:
        query = of.where(sensor.c.work_unit_id.in_(_within(work_unit_name)))
    else:
        named = sa.and_(work_unit.c.name == work_unit_name, sensor.c.name == sensor_name)
        query = of.join(work_unit, work_unit.c.id == sensor.c.work_unit_id).where(named)
    known = set(connection.execute(query).scalars())
    if metric not in known:
        place = work_unit_name if sensor_name is None else f"{work_unit_name}/{sensor_name}"
        raise UnknownMetricError(f'{place} has no metric "{metric}".{did_you_mean(metric, known)}')


def _within(name: str) -> sa.Select[tuple[int]]:
    """Ids of a work unit and of all that lie in it. UNION, not ALL: it ends where one lies in itself."""
    place = sa.select(work_unit.c.id).where(work_unit.c.name == name).cte("place", recursive=True)
    place = place.union(sa.select(work_unit.c.id).join(place, work_unit.c.parent_id == place.c.id))
    return sa.select(place.c.id)
