"""Bytes that devices send as text: hexadecimal or base64."""

import base64
import binascii
from typing import Literal

Armour = Literal["none", "hex", "base64"]


def bare(payload: bytes, armour: Armour) -> bytes:
    """The bytes themselves. Raises ValueError with the reason where the text is none of its kind."""
    if armour == "hex":
        try:
            return bytes.fromhex(payload.decode("ascii").removeprefix("0x"))
        except ValueError as err:
            raise ValueError("the payload is not hexadecimal text") from err
    if armour == "base64":
        try:
            return base64.b64decode(payload.strip(), validate=True)
        except binascii.Error as err:
            raise ValueError(f"the payload is not base64 text: {err}") from err
    return payload
