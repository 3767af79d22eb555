import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin.encoding import ByteReader, compact_size, sized
from protocols.bitcoin.errors import EncodingError, NonCanonicalError, TrailingError, TruncatedError


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (0xFC, "fc"),
        (0xFD, "fdfd00"),
        (0xFFFF, "fdffff"),
        (0x10000, "fe00000100"),
        (0xFFFFFFFF, "feffffffff"),
        (0x100000000, "ff0000000001000000"),
        ((1 << 64) - 1, "ffffffffffffffffff"),
    ],
)
def test_a_compact_size_takes_the_fewest_bytes(value: int, encoded: str) -> None:
    assert compact_size(value).hex() == encoded
    reader = ByteReader(bytes.fromhex(encoded))
    assert reader.compact_size() == value
    reader.finish()


@pytest.mark.parametrize("value", [-1, 1 << 64])
def test_a_compact_size_out_of_range_overflows(value: int) -> None:
    with pytest.raises(OverflowError):
        compact_size(value)


@pytest.mark.parametrize("encoded", ["fdfc00", "feffff0000", "ffffffffff00000000"])
def test_a_compact_size_in_a_longer_form_is_refused(encoded: str) -> None:
    with pytest.raises(NonCanonicalError):
        ByteReader(bytes.fromhex(encoded)).compact_size()


def test_integers_are_little_endian() -> None:
    reader = ByteReader(bytes(range(1, 17)), 1)
    assert (reader.u8(), reader.u16(), reader.u32()) == (0x02, 0x0403, 0x08070605)
    assert reader.u64() == 0x100F0E0D0C0B0A09
    assert reader.remaining == 0
    reader.finish()


def test_reading_past_the_end_is_refused_and_moves_nothing() -> None:
    reader = ByteReader(b"ab")
    assert reader.peek(5) == b"ab"
    with pytest.raises(TruncatedError):
        reader.read(3)
    assert reader.read(2) == b"ab"


def test_more_elements_than_the_bytes_can_hold_are_refused_before_they_are_read() -> None:
    with pytest.raises(TruncatedError):
        ByteReader(b"\xfe\xff\xff\xff\xff" + bytes(100)).count(1)
    assert ByteReader(b"\x02" + bytes(18)).count(9) == 2


def test_left_over_bytes_are_refused() -> None:
    with pytest.raises(TrailingError):
        ByteReader(b"a").finish()


@given(st.binary(max_size=300))
def test_sized_bytes_come_back(data: bytes) -> None:
    assert ByteReader(sized(data)).sized() == data


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_as_an_encoding(data: bytes) -> None:
    try:
        ByteReader(data).sized()
    except EncodingError:
        pass
