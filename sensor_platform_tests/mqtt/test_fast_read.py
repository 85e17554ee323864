"""The read path: packets cut at any byte give the same messages; paho still has the private parts that it uses."""

import itertools
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import paho.mqtt.client as paho
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from sensor_platform.mqtt.arrived import Arrived
from sensor_platform.mqtt.fast_read import FastClient, missing_parts
from sensor_platform_tests.mqtt.packets import publish

CONNACK_5 = bytes([0x20, 3, 0, 0, 0])
CONNACK_311 = bytes([0x20, 2, 0, 0])


@contextmanager
def connected(protocol: MQTTProtocolVersion) -> Iterator[tuple[FastClient, socket.socket]]:
    """A client on one end of a real connection, and the broker's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        is_5 = protocol is MQTTProtocolVersion.MQTTv5
        client = FastClient(
            CallbackAPIVersion.VERSION2,
            "c",
            clean_session=None if is_5 else False,
            protocol=protocol,
            reconnect_on_failure=False,
        )
        client.start_reading()
        client.connect(*listener.getsockname())
        broker, _ = listener.accept()
        broker.recv(4096)
        broker.sendall(CONNACK_5 if is_5 else CONNACK_311)
        receive(client, 0)
        try:
            yield client, broker
        finally:
            client.abort()
            broker.close()


def receive(client: FastClient, messages: int) -> None:
    """Reads until so many messages are there; 0: once."""
    while True:
        sock = client.socket()
        assert sock is not None
        assert paho.select.select([sock], [], [], 5)[0], "nothing came"
        assert client.loop_read() is MQTTErrorCode.MQTT_ERR_SUCCESS
        if len(client.arrived) >= messages:
            return


MESSAGES = st.lists(
    st.tuples(
        st.binary(max_size=20),
        st.one_of(st.binary(max_size=300), st.just(bytes(17_000))),  # one, two and three bytes of length
        st.sampled_from([0x30, 0x31, 0x32, 0x3A, 0x34]),
        st.integers(1, 65535),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 4000), max_size=8), st.booleans())
def test_packets_cut_at_any_byte_give_the_same_messages(
    messages: list[tuple[bytes, bytes, int, int]], cuts: list[int], is_5: bool
) -> None:
    protocol = MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311
    pingresp = b"\xd0\x00"
    data = b"".join(
        publish(topic, payload, first=first, packet_id=packet_id, properties=b"" if is_5 else None) + pingresp
        for topic, payload, first, packet_id in messages
    )
    places = [0, *sorted({cut for cut in cuts if cut < len(data)}), len(data)]
    with connected(protocol) as (client, broker):
        for start, stop in itertools.pairwise(places):
            broker.sendall(data[start:stop])
            receive(client, 0)
        if len(client.arrived) < len(messages):
            receive(client, len(messages))
        receive_all = client.take()
        assert receive_all.topics == [topic for topic, _, _, _ in messages]
        assert receive_all.payloads == [payload for _, payload, _, _ in messages]
        assert bytes(receive_all.first_bytes) == bytes(first for _, _, first, _ in messages)
        assert receive_all.ids.tolist() == [packet_id if first & 0x06 else 0 for _, _, first, packet_id in messages]


def test_a_large_payload_arrives_whole() -> None:
    payload = bytes(range(256)) * 20_000  # 5 MB, many reads
    with connected(MQTTProtocolVersion.MQTTv311) as (client, broker):
        broker.setblocking(False)
        left = memoryview(publish(b"t", payload) + publish(b"u", b"after", packet_id=2))
        while len(client.arrived) < 2:
            _, writable, _ = paho.select.select([], [broker], [], 0)
            if left and writable:
                left = left[broker.send(left) :]
            client.loop_read()
        assert client.take().payloads == [payload, b"after"]


def test_properties_of_mqtt_5_are_kept_or_skipped() -> None:
    properties = (
        b"\x01\x01"  # payload format
        b"\x02\x00\x00\x00\x09"  # message expiry
        b"\x03\x00\x0aa/content "  # content type, ten bytes
        b"\x08\x00\x01r"  # response topic
        b"\x09\x00\x02\x00\x01"  # correlation data
        b"\x0b\x80\x01"  # subscription identifier, two bytes
        b"\x26\x00\x01k\x00\x02v1"
        b"\x26\x00\x01k\x00\x02\xff2"  # not UTF-8
    )
    with connected(MQTTProtocolVersion.MQTTv5) as (client, broker):
        broker.sendall(publish(b"t", b"1", properties=b"") + publish(b"t", b"2", properties=properties))
        receive(client, 2)
        taken = client.take()
    assert taken.payloads == [b"1", b"2"]
    assert taken.content_types == {1: "a/content "}
    assert taken.user_properties == {1: [("k", "v1"), ("k", "\ufffd2")]}


def test_acknowledgements_leave_in_received_order_in_one_piece() -> None:
    with connected(MQTTProtocolVersion.MQTTv5) as (client, broker):
        client.acknowledge(
            Arrived(first_bytes=bytearray([0x32, 0x30, 0x3A, 0x34]), packet_ids=bytearray([1, 2, 0, 0, 0, 3, 0, 4]))
        )
        assert broker.recv(100) == bytes([0x40, 2, 1, 2, 0x40, 2, 0, 3, 0x50, 2, 0, 4])  # QoS 2: PUBREC


@pytest.mark.parametrize(
    "broken",
    [
        b"\x32\xff\xff\xff\xff\x01",
        b"\x32\x03\x00\x09t",
        b"\x32\x05\x00\x01t\x00\x01\x05",
        b"\x32\x00",
        b"\x36\x06\x00\x01t\x00\x01\x00",  # QoS 3
    ],
)
def test_a_malformed_packet_ends_the_connection_and_leaves_whole_columns(broken: bytes) -> None:
    with connected(MQTTProtocolVersion.MQTTv5) as (client, broker):
        broker.sendall(publish(b"t", b"1", properties=b"") + broken)
        sock = client.socket()
        assert paho.select.select([sock], [], [], 5)[0]
        assert client.loop_read() is MQTTErrorCode.MQTT_ERR_PROTOCOL
        assert client.socket() is None
        arrived = client.take()
        assert [arrived.topics, arrived.payloads, arrived.ids.tolist()] == [[b"t"], [b"1"], [1]]


def test_paho_still_has_the_private_parts_that_we_use() -> None:
    assert missing_parts(paho.Client(CallbackAPIVersion.VERSION2, "c")) == []


def test_a_paho_without_one_of_them_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(paho.Client, "_packet_handle")
    client = paho.Client(CallbackAPIVersion.VERSION2, "c")
    del client._msgtime_mutex
    assert missing_parts(client) == ["_msgtime_mutex", "_packet_handle"]
