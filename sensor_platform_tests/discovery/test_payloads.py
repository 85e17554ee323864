import gzip

import cbor2
import msgpack
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensor_platform.discovery.payloads import KINDS, look_at

DOCUMENT = {"t": 21.5}
ZSTD = pa.compress(b'{"t": 1}', codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        (b'{"t": 21.5}', "json"),
        (b'[{"t": 1}, {"t": 2}]', "json"),
        (b'{"MessageId": "1", "MessageType": "ua-data", "Messages": []}', "opcua"),
        (b'[{"bn": "urn:dev:1:", "n": "t", "v": 1}, {"n": "u", "vb": true}]', "senml"),
        (b'{"t": 1}\n{"t": 2}\n', "ndjson"),
        (b"weather,room=hall temperature=21.5,humidity=40i 1700000000000000000", "influx"),
        (b"time,force\n2026-01-01,1.5\n", "csv"),
        (b"time;force\n2026-01-01;1,5\n", "csv"),
        (b"100,50,10", "text"),
        (b"21.5", "value"),
        (b" -1e3\n", "value"),
        (b"true", "value"),
        (b'"open"', "text"),
        (b"ON", "text"),
        (b"[1, 2]", "text"),
        (cbor2.dumps(DOCUMENT), "cbor"),
        (msgpack.packb(DOCUMENT), "msgpack"),
        (b"\x00\x10\xff\xfe", "binary"),
        (b"", "empty"),
        (b" \n", "empty"),
    ],
)
def test_a_payload_is_the_strictest_kind_that_it_can_be(payload: bytes, kind: str) -> None:
    assert look_at(payload).kind == kind


def test_what_is_compressed_is_looked_into() -> None:
    packed = look_at(gzip.compress(b"21.5"))
    assert (packed.kind, packed.compression) == ("value", "gzip")
    assert (look_at(ZSTD).kind, look_at(ZSTD).compression, look_at(ZSTD).documents) == ("json", "zstd", ({"t": 1},))
    assert (look_at(b"\x1f\x8bnot").kind, look_at(b"\x1f\x8bnot").compression) == ("binary", "none")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_of_some_kind(payload: bytes) -> None:
    assert look_at(payload).kind in (*KINDS, "empty")
