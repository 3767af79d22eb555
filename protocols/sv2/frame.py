"""Frames: 6 header bytes (extension U16 with the channel bit, type U8, length U24, LE), payload."""

import struct
from typing import NamedTuple

from protocols.sv2.errors import EncodeError, MalformedMessage

HEADER_SIZE = 6
CHANNEL_BIT = 0x8000
MAX_PAYLOAD = (1 << 24) - 1
HEADER = struct.Struct("<HBHB")
CHANNEL_ID_SIZE = 4


class Frame(NamedTuple):
    """One message as it travels: extension without the channel bit, that bit, type, plaintext payload."""

    extension: int
    channel: bool
    msg_type: int
    payload: bytes

    def header(self) -> bytes:
        """Return the 6 header bytes; raise EncodeError for a payload of more than 2^24 - 1 bytes."""
        size = len(self.payload)
        if size > MAX_PAYLOAD:
            raise EncodeError(f"a payload of {size} bytes does not fit a frame")
        extension = self.extension | CHANNEL_BIT if self.channel else self.extension
        return HEADER.pack(extension, self.msg_type, size & 0xFFFF, size >> 16)

    @property
    def channel_id(self) -> int:
        """The U32 that begins a payload with the channel bit; raise MalformedMessage where there is none."""
        if not self.channel or len(self.payload) < CHANNEL_ID_SIZE:
            raise MalformedMessage("the frame names no channel")
        return int.from_bytes(self.payload[:CHANNEL_ID_SIZE], "little")

    def on_channel(self, channel_id: int) -> "Frame":
        """Return the same frame addressed to another channel, as a proxy forwards unknown extensions."""
        if not self.channel or len(self.payload) < CHANNEL_ID_SIZE:
            raise MalformedMessage("the frame names no channel")
        return self._replace(payload=channel_id.to_bytes(4, "little") + self.payload[CHANNEL_ID_SIZE:])


class Header(NamedTuple):
    """The parts of a frame header; size is the payload's, in plaintext bytes."""

    extension: int
    channel: bool
    msg_type: int
    size: int


def parse_header(header: bytes) -> Header:
    """Split 6 header bytes; raise MalformedMessage if there are not 6."""
    if len(header) != HEADER_SIZE:
        raise MalformedMessage(f"{len(header)} bytes are no frame header")
    extension, msg_type, low, high = HEADER.unpack(header)
    return Header(extension & ~CHANNEL_BIT, extension >= CHANNEL_BIT, msg_type, low | high << 16)


def frame_from(header: bytes, payload: bytes) -> Frame:
    """Join a received header and its payload; raise MalformedMessage if the length is another."""
    if len(header) != HEADER_SIZE:
        raise MalformedMessage(f"{len(header)} bytes are no frame header")
    extension, msg_type, low, high = HEADER.unpack(header)
    if low | high << 16 != len(payload):
        raise MalformedMessage(f"header announces {low | high << 16} bytes, payload has {len(payload)}")
    return Frame(extension & ~CHANNEL_BIT, extension >= CHANNEL_BIT, msg_type, payload)
