import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin import script
from protocols.bitcoin.errors import EncodingError, PointError
from protocols.bitcoin.secp256k1 import public_key

KEY = public_key(bytes(31) + b"\x01")


@pytest.mark.parametrize(
    ("size", "head"),
    [(0, "00"), (1, "01"), (75, "4b"), (76, "4c4c"), (255, "4cff"), (256, "4d0001"), (65_535, "4dffff")],
)
def test_a_push_names_its_length_as_short_as_it_can(size: int, head: str) -> None:
    assert script.push(bytes(size)) == bytes.fromhex(head) + bytes(size)


def test_more_than_a_push_can_hold_is_refused() -> None:
    with pytest.raises(EncodingError):
        script.push(bytes(65_536))


@pytest.mark.parametrize(
    ("number", "pushed"),
    [
        (0, "00"),
        (1, "51"),
        (16, "60"),
        (17, "0111"),
        (127, "017f"),
        (128, "028000"),
        (255, "02ff00"),
        (256, "020001"),
        (32_767, "02ff7f"),
        (32_768, "03008000"),
        (840_000, "0340d10c"),
        (0x7FFFFF, "03ffff7f"),
        (0x800000, "0400008000"),
    ],
)
def test_numbers_are_pushed_as_bip34_heights(number: int, pushed: str) -> None:
    assert script.push_number(number).hex() == pushed


def test_a_negative_number_is_refused() -> None:
    with pytest.raises(EncodingError):
        script.push_number(-1)


@given(st.integers(0, 16), st.binary(min_size=2, max_size=40))
def test_a_witness_program_is_found_in_its_script(version: int, program: bytes) -> None:
    assert script.split_witness_program(script.witness_program(version, program)) == (version, program)


@pytest.mark.parametrize(
    "text", ["", "51", "510100", "0014" + "00" * 19, "5f29" + "00" * 41, "6102abcd", "4f02abcd", "6a02abcd"]
)
def test_other_scripts_are_no_witness_program(text: str) -> None:
    assert script.split_witness_program(bytes.fromhex(text)) is None


def test_the_taproot_key_is_that_of_bip341_and_bip86() -> None:
    cases = {
        "d6889cb081036e0faefa3a35157ad71086b123b2b144b649798b494c300a961d": (
            "53a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343"
        ),
        "cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115": (
            "a60869f0dbcf1dc659c9cecbaf8050135ea9e8cdc487053f1dc6880949dc684c"
        ),
    }
    for internal, output in cases.items():
        assert script.taproot_output_key(bytes.fromhex(internal)).hex() == output
        for prefix in ("02", "03"):
            assert script.taproot_output_key(bytes.fromhex(prefix + internal)).hex() == output


@pytest.mark.parametrize("key", [b"", bytes(32), b"\xff" * 32, b"\x02" + b"\xff" * 32, KEY + b"\0"])
def test_what_is_no_key_pays_nobody(key: bytes) -> None:
    with pytest.raises(PointError):
        script.pay_to_taproot(key)
    with pytest.raises(PointError):
        script.pay_to_witness_key_hash(key)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("76a914" + "00" * 20 + "88ac", 1),
        ("0014" + "ac" * 20, 0),
        ("21" + KEY.hex() + "ac", 1),
        ("51" + "ac" * 3 + "ad", 4),
        ("5121" + KEY.hex() + "51ae", 20),
        ("af", 20),
        ("4c02acacac", 1),
        ("4d0200acacac", 1),
        ("4e02000000acacac", 1),
        ("ac4c", 1),
        ("ac4d01", 1),
        ("ac4effffff", 1),
        ("ac05acac", 1),
        ("ac4cffacac", 1),
    ],
)
def test_signature_operations_are_counted_as_consensus_does(text: str, count: int) -> None:
    assert script.legacy_sigops(bytes.fromhex(text)) == count


@given(st.binary(max_size=200))
def test_any_bytes_have_a_count_of_signature_operations(data: bytes) -> None:
    assert 0 <= script.legacy_sigops(data) <= 20 * len(data)
