"""Data types of the Stratum V2 wire (spec section 3.1), each an annotation that knows how it is written.

All is little-endian. `U256` is 32 raw bytes as hashed, `Target` the same 32 bytes as an integer.
Strings are UTF-8 with surrogateescape, so that every byte string of a peer survives a round trip.
Readers raise MalformedMessage, writers EncodeError, and nothing else.
"""

import struct
from abc import ABC, abstractmethod
from math import isfinite
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin

from protocols.sv2.errors import EncodeError, InvalidFloat, MalformedMessage

FLOAT = struct.Struct("<f")


class Kind(ABC):
    """How one field is written: `max_size` in bytes, and its struct code where it is a plain integer."""

    code: str | None = None
    max_size: int

    @abstractmethod
    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        """Return the value at offset and the offset behind it; raise MalformedMessage."""

    @abstractmethod
    def write(self, value: Any, out: bytearray) -> None:
        """Append the encoding of value; raise EncodeError."""


def take(data: bytes, offset: int, size: int) -> bytes:
    """Return size bytes at offset; raise MalformedMessage where the payload ends before."""
    piece = data[offset : offset + size]
    if len(piece) != size:
        raise MalformedMessage(f"payload ends {size - len(piece)} bytes too early")
    return piece


def _append_integer(value: int, size: int, out: bytearray) -> None:
    try:
        out += value.to_bytes(size, "little")
    except OverflowError as error:
        raise EncodeError(f"{value} does not fit {size} unsigned bytes") from error


class Unsigned(Kind):
    """An unsigned integer of `size` bytes."""

    CODES: ClassVar[dict[int, str]] = {1: "B", 2: "H", 4: "I", 8: "Q"}

    def __init__(self, size: int) -> None:
        self.max_size = size
        self.code = self.CODES.get(size)

    def read(self, data: bytes, offset: int) -> tuple[int, int]:
        size = self.max_size
        return int.from_bytes(take(data, offset, size), "little"), offset + size

    def write(self, value: int, out: bytearray) -> None:
        _append_integer(value, self.max_size, out)


class Boolean(Kind):
    """One byte of which bit 0 counts; sent as 0 or 1."""

    max_size = 1

    def read(self, data: bytes, offset: int) -> tuple[bool, int]:
        return bool(take(data, offset, 1)[0] & 1), offset + 1

    def write(self, value: bool, out: bytearray) -> None:
        out.append(1 if value else 0)


class Float(Kind):
    """IEEE-754 single precision; not-a-number, infinities and negatives are refused both ways."""

    max_size = 4

    def read(self, data: bytes, offset: int) -> tuple[float, int]:
        value: float = FLOAT.unpack(take(data, offset, 4))[0]
        if not isfinite(value) or value < 0:
            raise InvalidFloat("F32 is not a finite number of at least 0")
        return value, offset + 4

    def write(self, value: float, out: bytearray) -> None:
        if not isfinite(value) or value < 0:
            raise EncodeError("F32 must be a finite number of at least 0")
        try:
            out += FLOAT.pack(value)
        except OverflowError as error:
            raise EncodeError("F32 is too large for single precision") from error


class Raw(Kind):
    """Exactly `size` bytes without a length prefix."""

    def __init__(self, size: int) -> None:
        self.max_size = size

    def read(self, data: bytes, offset: int) -> tuple[bytes, int]:
        size = self.max_size
        return take(data, offset, size), offset + size

    def write(self, value: bytes, out: bytearray) -> None:
        if len(value) != self.max_size:
            raise EncodeError(f"{len(value)} bytes where {self.max_size} belong")
        out += value


class Blob(Kind):
    """Bytes behind a length of `prefix` bytes, at most `limit` of them."""

    def __init__(self, prefix: int, limit: int | None = None) -> None:
        self.prefix = prefix
        self.limit = (1 << 8 * prefix) - 1 if limit is None else limit
        self.max_size = prefix + self.limit

    def read(self, data: bytes, offset: int) -> tuple[bytes, int]:
        start = offset + self.prefix
        size = int.from_bytes(data[offset:start], "little")
        end = start + size
        if size > self.limit:
            raise MalformedMessage(f"{size} bytes where at most {self.limit} are allowed")
        if end > len(data):
            raise MalformedMessage(f"payload ends {end - len(data)} bytes too early")
        return data[start:end], end

    def write(self, value: bytes, out: bytearray) -> None:
        if len(value) > self.limit:
            raise EncodeError(f"{len(value)} bytes where at most {self.limit} are allowed")
        out += len(value).to_bytes(self.prefix, "little")
        out += value


class Text(Blob):
    """STR0_255: at most 255 bytes, by custom UTF-8."""

    def __init__(self) -> None:
        super().__init__(prefix=1)

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        value, offset = super().read(data, offset)
        return value.decode("utf-8", "surrogateescape"), offset

    def write(self, value: Any, out: bytearray) -> None:
        try:
            encoded = value.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError as error:
            raise EncodeError("the text has no encoding in UTF-8") from error
        super().write(encoded, out)


class Many(Kind):
    """Elements of one kind behind a count of `prefix` bytes, up to `limit` of them."""

    def __init__(self, prefix: int, element: Kind, limit: int | None = None) -> None:
        self.prefix = prefix
        self.element = element
        self.limit = (1 << 8 * prefix) - 1 if limit is None else limit
        self.max_size = prefix + self.limit * element.max_size

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        count = int.from_bytes(take(data, offset, self.prefix), "little")
        if count > self.limit:
            raise MalformedMessage(f"{count} elements where at most {self.limit} are allowed")
        offset += self.prefix
        read, values = self.element.read, []
        for _ in range(count):
            value, offset = read(data, offset)
            values.append(value)
        return tuple(values), offset

    def write(self, value: Any, out: bytearray) -> None:
        if len(value) > self.limit:
            raise EncodeError(f"{len(value)} elements where at most {self.limit} are allowed")
        out += len(value).to_bytes(self.prefix, "little")
        write = self.element.write
        for item in value:
            write(item, out)


class Maybe(Many):
    """OPTION: a count of 0 or 1, then the value."""

    def __init__(self, element: Kind) -> None:
        super().__init__(1, element, limit=1)

    def read(self, data: bytes, offset: int) -> tuple[Any, int]:
        values, offset = super().read(data, offset)
        return (values[0] if values else None), offset

    def write(self, value: Any, out: bytearray) -> None:
        super().write(() if value is None else (value,), out)


class CountBytes(int):
    """Marks a sequence annotation with the size of its element count, in bytes."""


class Optional1:
    """Marks an OPTION annotation."""


T = TypeVar("T")

Bool = Annotated[bool, Boolean()]
U8 = Annotated[int, Unsigned(1)]
U16 = Annotated[int, Unsigned(2)]
U24 = Annotated[int, Unsigned(3)]
U32 = Annotated[int, Unsigned(4)]
U64 = Annotated[int, Unsigned(8)]
Target = Annotated[int, Unsigned(32)]
F32 = Annotated[float, Float()]
U256 = Annotated[bytes, Raw(32)]
PubKey = Annotated[bytes, Raw(32)]
Signature = Annotated[bytes, Raw(64)]
Str255 = Annotated[str, Text()]
B32 = Annotated[bytes, Blob(1, 32)]
B255 = Annotated[bytes, Blob(1)]
B64K = Annotated[bytes, Blob(2)]
B16M = Annotated[bytes, Blob(3)]
Seq255 = Annotated[tuple[T, ...], CountBytes(1)]
Seq64K = Annotated[tuple[T, ...], CountBytes(2)]
Option = Annotated[T | None, Optional1()]


def kind_of(annotation: Any) -> Kind:
    """Return how a field of this annotation is written; raise TypeError for one that has no encoding."""
    layout = getattr(annotation, "layout", None)
    if isinstance(layout, Kind):
        return layout
    if get_origin(annotation) is Annotated:
        inner, mark = get_args(annotation)
        if isinstance(mark, Kind):
            return mark
        if isinstance(mark, CountBytes):
            return Many(mark, kind_of(get_args(inner)[0]))
        if isinstance(mark, Optional1):
            return Maybe(kind_of(get_args(inner)[0]))
    raise TypeError(f"{annotation!r} has no encoding on the wire")
