import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin import bech32
from protocols.bitcoin.errors import Bech32Error


@pytest.mark.parametrize(
    ("text", "prefix", "version", "program"),
    [
        (
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc",
            0,
            "751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        (
            "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
            "tb",
            0,
            "1863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
        ),
        (
            "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
            "bc",
            1,
            "751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
        ),
        ("BC1SW50QGDZ25J", "bc", 16, "751e"),
        ("bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs", "bc", 2, "751e76e8199196d454941c45d1b3a323"),
        (
            "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
            "tb",
            1,
            "000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
        ),
        (
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
            "bc",
            1,
            "79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
        ),
    ],
)
def test_valid_addresses_of_bip350_decode_and_encode(
    text: str, prefix: str, version: int, program: str
) -> None:
    assert bech32.decode_segwit(text) == (prefix, version, bytes.fromhex(program))
    assert bech32.encode_segwit(prefix, version, bytes.fromhex(program)) == text.lower()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd", "wrong kind"),
        ("tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf", "wrong kind"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", "wrong kind"),
        ("bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4", "does not belong"),
        ("BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", "version 17"),
        ("bc1pw5dgrnzv", "1 bytes"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav", "41 bytes"),
        ("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", "16 bytes"),
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7\N{KELVIN SIGN}V8F3T4", "does not belong"),
        ("tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq", "mixes"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf", "padding"),
        ("tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j", "padding"),
        ("bc1gmk9yu", "checksum"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "checksum"),
        ("bc", "prefix"),
        ("1qqqqqqqq", "prefix"),
        ("bc1qqqqq", "checksum"),
        ("b\x7f1qqqqqqqqq", "does not belong"),
        ("bc1" + "q" * 90, "longer than 90"),
    ],
)
def test_invalid_addresses_are_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(Bech32Error, match=reason):
        bech32.decode_segwit(text)


@pytest.mark.parametrize(("version", "size"), [(17, 32), (-1, 32), (0, 21), (1, 1), (1, 41)])
def test_a_program_that_cannot_be_is_not_encoded(version: int, size: int) -> None:
    with pytest.raises(Bech32Error):
        bech32.encode_segwit("bc", version, bytes(size))


@given(st.integers(1, 16), st.binary(min_size=2, max_size=40))
def test_every_program_comes_back(version: int, program: bytes) -> None:
    assert bech32.decode_segwit(bech32.encode_segwit("bcrt", version, program)) == ("bcrt", version, program)


@given(st.text(max_size=100))
def test_any_text_decodes_or_is_refused(text: str) -> None:
    try:
        bech32.decode_segwit(text)
    except Bech32Error:
        pass


@given(st.text(alphabet=bech32.ALPHABET, min_size=6, max_size=60))
def test_any_bech32_text_decodes_or_is_refused(text: str) -> None:
    try:
        bech32.decode_segwit("bc1" + text)
    except Bech32Error:
        pass


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 31), max_size=300), st.sampled_from([bech32.BECH32, bech32.BECH32M]))
def test_any_groups_come_back_with_the_kind_of_their_checksum(groups: list[int], constant: int) -> None:
    text = bech32.encode("creqb", groups, constant)
    assert bech32.decode(text, 400) == ("creqb", groups, constant)
    assert bech32.decode(text.upper(), 400) == ("creqb", groups, constant)


@given(st.binary(max_size=300), st.sampled_from([bech32.BECH32, bech32.BECH32M]))
def test_bytes_of_any_length_come_back_from_under_their_prefix(data: bytes, constant: int) -> None:
    text = bech32.encode_bytes("prefix", data, constant)
    assert bech32.decode_bytes(text.upper(), constant, 1000) == ("prefix", data)
    with pytest.raises(Bech32Error, match="checksum"):
        bech32.decode_bytes(text, bech32.BECH32 ^ bech32.BECH32M ^ constant, 1000)
    with pytest.raises(Bech32Error, match="longer"):
        bech32.decode_bytes(text, constant, len(text) - 1)
