import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin import base58
from protocols.bitcoin.errors import Base58Error


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("", ""),
        ("61", "2g"),
        ("626262", "a3gV"),
        ("73696d706c792061206c6f6e6720737472696e67", "2cFupjhnEsSn59qHXstmK2ffpLv2"),
        ("516b6fcd0f", "ABnLTmg"),
        ("00000000000000000000", "1111111111"),
        (
            "000111d38e5fc9071ffcd20b4a763cc9ae4f252bb4e48fd66a835e252ada93ff480d6dd43dc62a641155a5",
            base58.ALPHABET,
        ),
    ],
)
def test_base58_text_is_that_of_bitcoin(data: str, text: str) -> None:
    assert base58.encode(bytes.fromhex(data)) == text
    assert base58.decode(text).hex() == data


@given(st.binary(max_size=80))
def test_a_payload_comes_back_from_its_checked_text(payload: bytes) -> None:
    assert base58.decode_check(base58.encode_check(payload)) == payload


@pytest.mark.parametrize("text", ["0", "O", "I", "l", " ", "é", "1" * 257])
def test_other_characters_and_endless_text_are_refused(text: str) -> None:
    with pytest.raises(Base58Error):
        base58.decode(text)


@pytest.mark.parametrize("text", ["", "1", "2g", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"])
def test_a_failing_checksum_is_refused(text: str) -> None:
    with pytest.raises(Base58Error, match="checksum"):
        base58.decode_check(text)


@given(st.text(max_size=60))
def test_any_text_decodes_or_is_refused(text: str) -> None:
    try:
        base58.decode_check(text)
    except Base58Error:
        pass
