import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.amount import AMOUNT_LIMIT
from protocols.ehash.errors import UnitError
from protocols.ehash.shift import DENOMINATIONS, SHIFT_LIMIT, Unit, parse_unit

ISSUER = public_key(bytes(31) + b"\x01")


@given(st.integers(0, SHIFT_LIMIT - 1))
@settings(max_examples=50, deadline=None)
def test_a_unit_survives_its_name(shift: int) -> None:
    unit = Unit(ISSUER, shift)
    assert parse_unit(unit.name) == unit
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


def test_every_amount_below_the_limit_splits_into_the_denominations() -> None:
    assert sum(DENOMINATIONS) == AMOUNT_LIMIT - 1
