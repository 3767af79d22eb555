"""Consensus serialisation: little-endian integers, CompactSize and a reader that never runs past the end."""

from protocols.bitcoin.errors import NonCanonicalError, TrailingError, TruncatedError


def compact_size(value: int) -> bytes:
    """CompactSize of `value` (0 to 2^64 - 1): 1, 3, 5 or 9 bytes; raises OverflowError outside that range."""
    if value < 0xFD:
        return value.to_bytes(1, "little")
    if value <= 0xFFFF:
        return b"\xfd" + value.to_bytes(2, "little")
    if value <= 0xFFFFFFFF:
        return b"\xfe" + value.to_bytes(4, "little")
    return b"\xff" + value.to_bytes(8, "little")


def sized(data: bytes) -> bytes:
    """`data` behind its length as CompactSize, as scripts and witness items are serialised."""
    return compact_size(len(data)) + data


class ByteReader:
    """Reads consensus-serialised values from front to back.

    Raises TruncatedError where the bytes end early and NonCanonicalError for a CompactSize in a longer form.
    """

    __slots__ = ("_data", "offset")

    def __init__(self, data: bytes, offset: int = 0) -> None:
        self._data = data
        self.offset = offset

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return len(self._data) - self.offset

    def read(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self.offset + size
        if end > len(self._data):
            raise TruncatedError(f"{size} bytes wanted, {self.remaining} left")
        part = self._data[self.offset : end]
        self.offset = end
        return part

    def peek(self, size: int) -> bytes:
        """Up to `size` bytes ahead, not consumed."""
        return self._data[self.offset : self.offset + size]

    def uint(self, size: int) -> int:
        """An unsigned little-endian integer of `size` bytes."""
        return int.from_bytes(self.read(size), "little")

    def u8(self) -> int:
        """One byte."""
        return self.uint(1)

    def u16(self) -> int:
        """Two bytes, little-endian."""
        return self.uint(2)

    def u32(self) -> int:
        """Four bytes, little-endian."""
        return self.uint(4)

    def u64(self) -> int:
        """Eight bytes, little-endian."""
        return self.uint(8)

    def compact_size(self) -> int:
        """A CompactSize in its shortest form."""
        first = self.u8()
        if first < 0xFD:
            return first
        size = 1 << (first - 0xFC)
        value = self.uint(size)
        if value < (0xFD if size == 2 else 1 << (size * 4)):
            raise NonCanonicalError(f"{value} is encoded in {size + 1} bytes")
        return value

    def count(self, least_size: int) -> int:
        """A CompactSize number of elements of `least_size` bytes or more, refused when they cannot fit."""
        value = self.compact_size()
        if value * least_size > self.remaining:
            raise TruncatedError(f"{value} elements announced, {self.remaining} bytes left")
        return value

    def sized(self) -> bytes:
        """Bytes behind their length as CompactSize."""
        return self.read(self.compact_size())

    def finish(self) -> None:
        """Raises TrailingError unless everything has been read."""
        if self.remaining:
            raise TrailingError(f"{self.remaining} bytes too many")
