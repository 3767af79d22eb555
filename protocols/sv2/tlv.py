"""TLVs of negotiated extensions behind a base payload: extension U16, field U8, length U16, value.

The spec's example is big-endian, the reference implementation writes little-endian: we write the latter and
read both.
"""

import struct
from collections.abc import Iterable, Set
from typing import NamedTuple

from protocols.sv2.errors import EncodeError, MalformedTlv

MAX_TLVS = 16
ORDERS = (struct.Struct("<HBH"), struct.Struct(">HBH"))
WORKER_IDENTITY = (0x0002, 0x01)


class Tlv(NamedTuple):
    """One field that an extension adds to a message of the core protocol."""

    extension: int
    field: int
    value: bytes


def encode_tlvs(tlvs: Iterable[Tlv]) -> bytes:
    """Join TLVs in order of extension and field; raise EncodeError if a number or value does not fit."""
    out = bytearray()
    for extension, field, value in sorted(tlvs, key=lambda tlv: tlv[:2]):
        try:
            out += ORDERS[0].pack(extension, field, len(value))
        except struct.error as error:
            raise EncodeError("a TLV does not fit its encoding") from error
        out += value
    return bytes(out)


def parse_tlvs(data: bytes, known: Set[int] = frozenset()) -> tuple[Tlv, ...]:
    """Split the bytes behind a base payload into TLVs.

    Where both byte orders make sense the one that names a known extension wins, then little-endian.
    Raise MalformedTlv if neither fits exactly, or for more than 16 of them.
    """
    if not data:
        return ()
    readings = [tlvs for order in ORDERS if (tlvs := _parse(data, order)) is not None]
    if not readings:
        raise MalformedTlv(f"{len(data)} bytes behind the message are no TLVs")
    for tlvs in readings:
        if any(tlv.extension in known for tlv in tlvs):
            return tlvs
    return readings[0]


def find_tlv(tlvs: Iterable[Tlv], extension: int, field: int) -> bytes | None:
    """Return the value of one field; raise MalformedTlv if it is there twice."""
    values = [tlv.value for tlv in tlvs if tlv.extension == extension and tlv.field == field]
    if len(values) > 1:
        raise MalformedTlv(f"field {field} of extension {extension:#06x} is there {len(values)} times")
    return values[0] if values else None


def _parse(data: bytes, order: struct.Struct) -> tuple[Tlv, ...] | None:
    tlvs: list[Tlv] = []
    offset, end = 0, len(data)
    while offset < end:
        start = offset + order.size
        if start > end or len(tlvs) == MAX_TLVS:
            return None
        extension, field, size = order.unpack_from(data, offset)
        offset = start + size
        if offset > end:
            return None
        tlvs.append(Tlv(extension, field, data[start:offset]))
    return tuple(tlvs)
