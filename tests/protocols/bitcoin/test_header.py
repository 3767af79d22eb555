import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin.errors import EncodingError, TrailingError, TruncatedError
from protocols.bitcoin.hashing import display, from_display
from protocols.bitcoin.header import Header, parse_block, serialize_block
from protocols.bitcoin.transaction import Transaction, TxIn, TxOut

words = st.integers(0, 0xFFFFFFFF)
hashes = st.binary(min_size=32, max_size=32)
headers = st.builds(Header, words, hashes, hashes, words, words, words)


def test_the_header_of_a_known_block_has_its_hash() -> None:
    header = Header(
        1,
        from_display("000000000002d01c1fccc21636b607dfd930d31d01c3a62104612a1719011250"),
        from_display("f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766"),
        1293623863,
        0x1B04864C,
        274148111,
    )
    assert display(header.hash()) == "000000000003ba27aa200b1cecaad478d2b00432346c3f1f3986da1afd33e506"


@given(headers)
def test_every_header_comes_back_from_80_bytes(header: Header) -> None:
    assert len(header.pack()) == 80
    assert Header.parse(header.pack()) == header


def test_another_number_of_bytes_is_no_header() -> None:
    with pytest.raises(TruncatedError):
        Header.parse(bytes(79))
    with pytest.raises(TrailingError):
        Header.parse(bytes(81))


def test_a_block_comes_back_from_its_bytes() -> None:
    header = Header(4, bytes(32), bytes(32), 1, 2, 3)
    coinbase = Transaction(
        2, (TxIn(bytes(32), 0xFFFFFFFF, b"\x51\x51"),), (TxOut(1, b"\x51"),), ((bytes(32),),)
    )
    other = Transaction(2, (TxIn(b"\x01" * 32, 0),), (TxOut(1, b""),))
    block = serialize_block(header.pack(), coinbase.serialize(), [other.serialize()])
    assert parse_block(block) == (header, (coinbase, other))
    with pytest.raises(TrailingError):
        parse_block(block + b"\0")


@given(st.binary(max_size=160))
def test_any_bytes_are_a_block_or_refused(data: bytes) -> None:
    try:
        parse_block(data)
    except EncodingError:
        pass
