"""The registry as a file that `read_registry` reads: what is written and imported again changes nothing.

Sensors that were only seen are written too: the export of a running plant is the first registry file.
"""

import csv
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from sensor_platform.database.engine import Database
from sensor_platform.pipeline.registry import list_series, list_work_units
from sensor_platform.pipeline.registry_file import CSV_COLUMNS, OF_CALIBRATION, OF_SENSOR, OF_SERIES, OF_WORK_UNIT


def as_yaml(database: Database) -> str:
    """The registry as YAML: places from the top down, then sensors with their metrics, by name."""
    sensors: dict[tuple[str, str], dict[str, Any]] = {}
    for row in list_series(database):
        identity = {"work_unit": row["work_unit"], "sensor": row["sensor"]}
        entry = sensors.setdefault(
            (row["work_unit"], row["sensor"]), {**identity, **_known(row, "description", *OF_SENSOR)}
        )
        if row["metric"] is not None:
            calibrations = [_known(one, *OF_CALIBRATION) for one in row["calibrations"]]
            held = {"calibrations": calibrations} if calibrations else {}
            entry.setdefault("metrics", []).append(_known(row, "metric", *OF_SERIES) | held)
    units = [_of_unit(row) for row in list_work_units(database)]
    text = StringIO()
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 1000
    yaml.dump({"work_units": units, "sensors": list(sensors.values())}, text)
    return text.getvalue()


def as_csv(database: Database) -> str:
    """The registry as CSV: a row a place, then a row a series."""
    text = StringIO()
    rows = csv.DictWriter(text, CSV_COLUMNS, extrasaction="ignore", lineterminator="\n")
    rows.writeheader()
    rows.writerows(_of_unit(row) for row in list_work_units(database))
    for row in list_series(database):
        rows.writerow({name: value for name, value in row.items() if name != "parent"} | _first(row["calibrations"]))
        identity = _known(row, "work_unit", "sensor", "metric")
        rows.writerows({**identity, **one} for one in row["calibrations"][1:])
    return text.getvalue()


def _of_unit(row: dict[str, Any]) -> dict[str, Any]:
    return _known(row, "work_unit", *OF_WORK_UNIT, "description")


def _first(calibrations: list[dict[str, Any]]) -> dict[str, Any]:
    return calibrations[0] if calibrations else {}


def _known(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row[name] for name in names if row[name] is not None}
