"""What broken devices really send. Each must become a dead letter, and none may take its neighbours down."""

from collections.abc import Callable
from datetime import datetime, timedelta

from sensor_platform.simulator.payloads import encoded, iso

DATA, CSV = "data", "csv"

#: Name -> leaf of the topic, and the bytes for an id and a time.
RUBBISH: dict[str, tuple[str, Callable[[str, datetime], bytes]]] = {
    "torn_json": (DATA, lambda ident, now: encoded({"id": ident, "timestamp": iso(now), "value": 71.3})[:-4]),
    "nan": (DATA, lambda ident, now: b'{"id":"%s","timestamp":"%s","value":NaN}' % (ident.encode(), iso(now).encode())),
    "word": (DATA, lambda ident, now: encoded({"id": ident, "timestamp": iso(now), "value": "open circuit"})),
    "far_future": (DATA, lambda ident, _: encoded({"id": ident, "timestamp": "2099-01-01T00:00:00Z", "value": 71.2})),
    "no_value": (DATA, lambda ident, now: encoded({"id": ident, "timestamp": iso(now), "value": None})),
    "unset_clock": (DATA, lambda ident, _: encoded({"id": ident, "timestamp": "1970-01-01T00:00:12Z", "value": 70.8})),
    "too_large": (DATA, lambda ident, now: b'{"id":"%s","value":1e400}' % ident.encode()),
    "only_words": (DATA, lambda ident, now: encoded({"id": ident, "timestamp": iso(now), "state": "idle"})),
    "not_utf8": (DATA, lambda ident, now: b'{"id":"%s","value":1,"unit":"\xb0C"}' % ident.encode()),
    "ragged_csv": (CSV, lambda ident, now: f"id;timestamp;zone_1\n{ident};{iso(now)};140.2;9;9".encode()),
    "odd_quality": (DATA, lambda ident, now: encoded({"id": ident, "value": 71, "quality": "fine"})),
    "wrong_time": (DATA, lambda ident, now: encoded({"id": ident, "timestamp": "yesterday", "value": 71.9})),
    "nul": (DATA, lambda ident, now: encoded({"id": ident, "value": 71, "unit": "deg\0"})),
    "old_clock": (
        DATA,
        lambda ident, now: encoded({"id": ident, "timestamp": iso(now + timedelta(days=400)), "value": 1}),
    ),
}
