"""Network messages and metadata as asyncua encodes them, and what is made of them."""

import struct
from datetime import UTC, datetime
from typing import Any

from asyncua import ua
from asyncua.pubsub import uadp
from asyncua.ua.ua_binary import struct_to_binary
from hypothesis import strategies as st

from sensor_platform.errors import DEAD_LETTER_CODES
from sensor_platform.pipeline.decode import DecodedMessages
from sensor_platform_tests.transformers.decoding import decode_payloads

AT = datetime(2025, 6, 1, 12, 0, 0, 123456, tzinfo=UTC)
AT_US = 1_748_779_200_123_456
PUBLISHER = 2234
WRITER = 5

UNECE = "http://www.opcfoundation.org/UA/units/un/cefact"
V = ua.VariantType
RANGES = {
    V.SByte: (-(2**7), 2**7 - 1), V.Byte: (0, 2**8 - 1), V.Int16: (-(2**15), 2**15 - 1), V.UInt16: (0, 2**16 - 1),
    V.Int32: (-(2**31), 2**31 - 1), V.UInt32: (0, 2**32 - 1), V.Int64: (-(2**63), 2**63 - 1), V.UInt64: (0, 2**64 - 1),
}  # fmt: skip
NUMBERS = st.one_of(
    *(st.builds(ua.Variant, st.integers(*limits), st.just(kind)) for kind, limits in RANGES.items()),
    st.builds(ua.Variant, st.floats(width=32, allow_nan=False, allow_infinity=False), st.just(V.Float)),
    st.builds(ua.Variant, st.floats(allow_nan=False, allow_infinity=False), st.just(V.Double)),
    st.builds(ua.Variant, st.booleans(), st.just(V.Boolean)),
)
ARRAYS = st.builds(ua.Variant, st.lists(st.integers(*RANGES[V.Int32]), min_size=1, max_size=5), st.just(V.Int32))
PUBLISHERS = st.one_of(
    st.builds(ua.Byte, st.integers(1, 255)),
    st.builds(ua.UInt16, st.integers(1, 2**16 - 1)),
    st.builds(ua.UInt32, st.integers(1, 2**32 - 1)),
    st.builds(ua.String, st.text("abc/é", min_size=1, max_size=5)),
)


def network_message(payload: Any, *, publisher: Any = None, time: datetime | None = AT) -> bytes:
    message = uadp.UadpNetworkMessage(
        Header=uadp.UadpHeader(publisher or ua.UInt16(PUBLISHER)),
        DataSetPayloadHeader=[ua.UInt16(WRITER)],
        Timestamp=time,
        Payload=[payload],
    )
    return bytes(message.to_binary())


def metadata(*fields: Any, name: str = "oven", major: int = 7) -> bytes:
    """An announcement. The structure is asyncua's; its header by hand, since asyncua does not encode it.

    fields: name and number of the type, or FieldMetaData.
    """
    described = ua.DataSetMetaDataType(
        Name=name,
        Namespaces=["urn:a", "urn:b"],
        EnumDataTypes=[ua.EnumDescription(Name=ua.QualifiedName("Mode", 1))],
        SimpleDataTypes=[ua.SimpleTypeDescription(Name=ua.QualifiedName("Count", 1))],
        Fields=[
            ua.FieldMetaData(
                Name=field[0],
                BuiltInType=ua.Byte(field[1]),
                ValueRank=ua.Int32(-1),
                Properties=[ua.KeyValuePair(ua.QualifiedName("EngineeringUnits", 0), ua.Variant("C"))],
            )
            if isinstance(field, tuple)
            else field
            for field in fields
        ],
        ConfigurationVersion=ua.ConfigurationVersionDataType(ua.UInt32(major), ua.UInt32(1)),
    )
    head = bytes([0x91, 0x81, 0x08]) + struct.pack("<HBHH", PUBLISHER, 2, 1, WRITER)
    return head + struct_to_binary(described) + bytes(4)


def read(*payloads: bytes, text: bool = False, allow_nan: bool = False, **options: Any) -> DecodedMessages:
    return decode_payloads(*payloads, format_="opcua", text=text, allow_nan=allow_nan, options=options)


def answered(decoded: DecodedMessages) -> None:
    answers = {refusal.message for refusal in decoded.refusals} | set(decoded.readings["message"])
    assert decoded.ignored[0] != (answers == {0})
    assert {refusal.code for refusal in decoded.refusals} <= DEAD_LETTER_CODES.keys() - {"transformer_failed"}


def information(display: str | None, unit_id: int = -1, namespace: str | None = UNECE) -> Any:
    """An EUInformation."""
    return ua.EUInformation(namespace, ua.Int32(unit_id), ua.LocalizedText(display), ua.LocalizedText("a unit"))


def field_with_unit(name: str, unit: Any, **more: Any) -> Any:
    described = ua.KeyValuePair(ua.QualifiedName("EngineeringUnits", 0), ua.Variant(unit))
    other = ua.KeyValuePair(ua.QualifiedName("EURange", 0), ua.Variant([1.0, 2.0]))
    kind = {"BuiltInType": ua.Byte(11), "ValueRank": ua.Int32(-1), **more}
    return ua.FieldMetaData(Name=name, Properties=[other, described], **kind)
