"""What one writes first: `json.loads` a message, a DataFrame of all readings, `to_sql`. No ledger, no checks."""

import json
from collections.abc import Iterable

import pandas as pd
import sqlalchemy as sa


def load(payloads: Iterable[tuple[str, bytes]], engine: sa.Engine, schema: str, table: str) -> int:
    """(sensor, payload) pairs into `schema.table`; the number of readings."""
    rows = []
    for sensor, payload in payloads:
        message = json.loads(payload)
        for metric, value in message["metrics"].items():
            rows.append({"sensor": sensor, "metric": metric, "time": message["timestamp"], "value": value})
    frame = pd.DataFrame(rows)
    frame["time"] = pd.to_datetime(frame["time"], format="ISO8601")
    frame.to_sql(table, engine, schema=schema, if_exists="append", index=False, method="multi", chunksize=1000)
    return len(frame)
