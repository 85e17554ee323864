"""The sensors by name, and the way back from a reading to the bytes that it came from."""

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow.compute as pc
import sqlalchemy as sa

from sensor_platform.database.engine import Database
from sensor_platform.database.raw import statement
from sensor_platform.database.tables import sensor, work_unit
from sensor_platform.errors import BytesDeletedError, SensorPlatformError
from sensor_platform.pipeline.calibration import Calibration
from sensor_platform.routes.filters import parse_filter
from sensor_platform.staging.format import MicroBatch
from sensor_platform.staging.store import Staging
from sensor_platform.transformers.units import original

COLUMNS = ("work_unit", "sensor", "metric", "time", "value", "text", "unit", "quality")


class UnknownSensorError(SensorPlatformError):
    """No sensor, or more than one, goes by that name."""


def find_sensor(connection: sa.Connection, name: str) -> tuple[str, str]:
    """Work unit and name of the sensor called `work_unit/name`, or `name` where that is unique.

    A "/" within one of the two, as Sparkplug has it (`group/node`), may be written `%2F`: then `w/x/s` is one of
    `w%2Fx/s` and `w/x%2Fs`.

    Raises:
        UnknownSensorError: none, or several; then it lists them.
    """
    full = work_unit.c.name + "/" + sensor.c.name
    escaped = sa.func.replace(work_unit.c.name, "/", "%2F") + "/" + sa.func.replace(sensor.c.name, "/", "%2F")
    query = (
        sa.select(work_unit.c.name.label("work_unit"), sensor.c.name)
        .join_from(sensor, work_unit)
        .where(sa.or_(full == name, sensor.c.name == name, escaped == name))
        .order_by(work_unit.c.name, sensor.c.name)
    )
    found = [(row.work_unit, row.name) for row in connection.execute(query)]
    exact = [one for one in found if "/".join(one) == name]
    exact = exact if len(exact) == 1 else [one for one in found if _spelled(one) == name]
    if len(exact) == 1 or len(found) == 1:
        return (exact or found)[0]
    if not found:
        raise UnknownSensorError(f"there is no sensor {name!r}; `sensor-platform sensors list` shows them")
    candidates = ", ".join(map(_spelled, found))
    raise UnknownSensorError(f"{name!r} is the name of {len(found)} sensors: {candidates}. Name one of them in full.")


def _spelled(one: tuple[str, str]) -> str:
    return "/".join(name.replace("/", "%2F") for name in one)


def trace(database: Database, staging: Staging, sensor: str, metric: str, time: datetime) -> list[dict[str, Any]]:
    """From a number to its bytes: every reading that stands at this time, with the message that it came from.

    Raises:
        UnknownSensorError: no sensor, or more than one, goes by that name.
        BytesDeletedError: retention has deleted the file of the micro-batch.
        StagingError: the micro-batch is gone, or damaged, or the object store does not answer.
    """
    with database.connect() as connection:
        unit, name = find_sensor(connection, sensor)
        wanted = {"work_unit": unit, "sensor": name, "metric": metric, "time": time}
        rows = connection.execute(_TRACE, wanted).mappings().all()
    return [_traced(row, staging) for row in rows]


def _traced(row: sa.RowMapping, staging: Staging) -> dict[str, Any]:
    topic, payload, received_at = _message(row, staging)
    return {
        "reading": {name: row[name] for name in COLUMNS},
        "micro_batch": row["micro_batch"],
        "sequence": row["sequence"],
        "received_at": received_at,
        "topic": topic.decode("utf-8", "backslashreplace"),
        "payload_base64": base64.b64encode(payload).decode(),
        **versions_of(topic, row, row["made_by"]),
        "committed_at": row["committed_at"],
        "calibration": calibration_of(row),
        "original": original_of(row),
    }


def versions_of(topic: bytes, entry: sa.RowMapping, made_by: Mapping[str, Any] | None) -> dict[str, Any]:
    """Route, versions and run that made what stands of a message: its ledger row says so, or the last retry."""
    routes = made_by["routes"] if made_by else entry["route_versions"]
    transformers = made_by["transformers"] if made_by else entry["transformer_versions"]
    route = route_of_topic(topic, routes)
    return {
        "route": route,
        "route_version": routes[route]["version"] if route else None,
        "contract_version": routes[route].get("contract") if route else None,
        "transformer_version": transformers.get(routes[route]["format"]) if route else None,
        "run_id": made_by["run_id"] if made_by else entry["run_id"],
    }


def original_of(row: sa.RowMapping) -> dict[str, Any] | None:
    """Value and unit as they were sent, where the unit is another than that of the series."""
    source, unit = row["source_unit"], row["unit"]
    if source is None or unit is None or source == unit:
        return None
    calibration = calibration_of(row)
    return original(row["value"] if calibration is None else calibration["value_before"], source, unit)


def calibration_of(row: sa.RowMapping) -> dict[str, Any] | None:
    """The calibration that the reading was made with, and its value before, in the unit of the series."""
    if not row["is_calibrated"] or row["value"] is None:
        return None
    calibration = Calibration(row["valid_from"], row["valid_to"], row["scale"], row["offset"])
    return {**calibration.described(), "value_before": calibration.before(row["value"])}


def _message(row: sa.RowMapping, staging: Staging) -> tuple[bytes, bytes, datetime]:
    """Topic, payload and time of receipt. A message that once was a dead letter has its bytes in the database too."""
    if row["topic"] is not None:
        return row["topic"], row["payload"], row["received_at"]
    if row["bytes_deleted_at"] is not None:
        raise BytesDeletedError(row["micro_batch"], at=row["bytes_deleted_at"])
    messages = staging.read(MicroBatch(row["hour"].astimezone(UTC), row["micro_batch"]))
    message = messages.filter(pc.equal(messages["sequence"], row["sequence"])).to_pylist()[0]
    return message["topic"], message["payload"], message["received_at"]


def route_of_topic(topic: bytes, routes: dict[str, dict[str, str]]) -> str | None:
    """The route among those that made the micro-batch: the most specific one whose filter matches."""
    text = topic.decode("utf-8", "replace")
    filters = {name: parse_filter(described["filter"]) for name, described in routes.items()}
    matching = [name for name, topic_filter in filters.items() if topic_filter.match(text) is not None]
    return min(matching, key=lambda name: filters[name].specificity, default=None)


_TRACE = statement("sensor_platform.pipeline", "trace")
