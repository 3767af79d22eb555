import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.amount import AMOUNT_LIMIT
from protocols.ehash.errors import UnitError
from protocols.ehash.shift import (
    DENOMINATIONS,
    SHIFT_LIMIT,
    SHIFT_MS,
    Progress,
    ShiftRule,
    Unit,
    is_ehash,
    parse_unit,
)

ISSUER = public_key(bytes(31) + b"\x01")


@given(st.integers(0, SHIFT_LIMIT - 1))
@example(0)
@example(SHIFT_LIMIT - 1)
@settings(max_examples=50, deadline=None)
def test_a_unit_survives_its_name(shift: int) -> None:
    unit = Unit(ISSUER, shift)
    assert parse_unit(unit.name) == unit
    assert is_ehash(unit.name)
    assert unit.name == unit.name.lower()


def test_a_unit_is_named_after_the_whole_key_and_shown_by_its_beginning() -> None:
    unit = Unit(ISSUER, 3)
    assert unit.name == f"hash_{ISSUER.hex()}_3"
    assert unit.display == f"hash·{ISSUER.hex()[:8]}·3"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sat",
        "hash",
        f"hash_{ISSUER.hex()}",
        f"hash_{ISSUER.hex()}_",
        f"hash_{ISSUER.hex()}_-1",
        f"hash_{ISSUER.hex()}_01",
        f"hash_{ISSUER.hex()}_4294967296",
        f"hash_{ISSUER.hex()}_99999999999",
        f"hash_{ISSUER.hex().upper()}_0",
        f"hash_{ISSUER.hex()}_0\n",
        f"hash_{ISSUER.hex()}_٣",
        f"hash_02{'ff' * 32}_0",
    ],
)
def test_other_text_names_no_unit(text: str) -> None:
    with pytest.raises(UnitError):
        parse_unit(text)
    assert not is_ehash(text)


def test_every_amount_below_the_limit_splits_into_the_denominations() -> None:
    assert sum(DENOMINATIONS) == AMOUNT_LIMIT - 1


def header(bits: int) -> bytes:
    return bytes(72) + bits.to_bytes(4, "little") + bytes(4)


def test_a_shift_is_full_at_a_tenth_of_the_work_of_a_block() -> None:
    difficulty_1 = 0x1D00FFFF
    assert ShiftRule().full_at(header(difficulty_1)) == -(-4_295_032_833 // 10)
    assert ShiftRule(block_hashes=1_000_001).full_at(header(difficulty_1)) == 100_001
    assert ShiftRule(block_hashes=1_000_001, per_block=1).full_at(header(difficulty_1)) == 1_000_001


def test_a_shift_whose_bits_allow_no_block_is_full_with_its_first_row() -> None:
    assert ShiftRule().full_at(header(0)) == 1


def test_a_shift_is_over_with_a_block_with_its_work_or_after_a_day() -> None:
    begun = Progress(full_at=100, first_time=5_000)
    assert not begun.with_row(99, block=False).is_over(5_000 + SHIFT_MS - 1)
    assert begun.with_row(99, block=False).with_row(1, block=False).is_over(5_000)
    assert begun.with_row(1, block=True).is_over(5_000)
    assert begun.with_row(1, block=False).is_over(5_000 + SHIFT_MS)
