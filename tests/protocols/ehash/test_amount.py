from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.target import MAX_TARGET, from_work, work
from protocols.ehash.amount import (
    AMOUNT_LIMIT,
    Valuation,
    achieved_amount,
    price_of,
    share_amount,
)

targets = st.integers(0, MAX_TARGET)
hashes = st.binary(min_size=32, max_size=32)


def hash_with(low: int, zeros: int = 0) -> bytes:
    return ((1 << 255 - zeros) | low).to_bytes(32, "little")


@given(k=st.integers(1, AMOUNT_LIMIT - 1), minimum=st.integers(0, 64), share_hash=hashes)
@settings(max_examples=200, deadline=None)
def test_a_quantised_target_is_worth_its_k_whatever_the_hash(k: int, minimum: int, share_hash: bytes) -> None:
    target = from_work(k << minimum)
    assert work(target) == k << minimum
    assert share_amount(share_hash, target, minimum) == k


@given(target=targets, minimum=st.integers(0, 64))
@settings(max_examples=300, deadline=None)
def test_the_expected_amount_over_all_hashes_is_exactly_the_work(target: int, minimum: int) -> None:
    price = price_of(target, minimum)
    expected = Fraction(work(target), 1 << minimum)
    assert price.whole + Fraction(price.threshold, 1 << 64) == expected


@given(target=targets, minimum=st.integers(0, 255), share_hash=hashes)
@settings(max_examples=300, deadline=None)
def test_the_rounding_is_the_rule_as_written(target: int, minimum: int, share_hash: bytes) -> None:
    expected = work(target)
    low = int.from_bytes(share_hash, "little") % 2**64
    more = low * 2**minimum < (expected % 2**minimum) * 2**64
    assert share_amount(share_hash, target, minimum) == (expected >> minimum) + more


def test_a_fraction_of_a_unit_is_rounded_by_the_low_bits_of_the_hash() -> None:
    target = from_work((3 << 32) + (1 << 30))
    edge = 1 << 62
    assert share_amount(hash_with(0), target, 32) == 4
    assert share_amount(hash_with(edge - 1), target, 32) == 4
    assert share_amount(hash_with(edge), target, 32) == 3
    assert share_amount(hash_with(2**64 - 1), target, 32) == 3


def test_the_amount_of_work_below_a_unit_is_mostly_nothing() -> None:
    target = from_work(1 << 16)
    assert share_amount(hash_with((1 << 48) - 1), target, 32) == 1
    assert share_amount(hash_with(1 << 48), target, 32) == 0


@pytest.mark.parametrize("minimum", [-1, 256])
def test_a_minimum_outside_one_byte_has_no_price(minimum: int) -> None:
    with pytest.raises(ValueError, match="minimum difficulty"):
        price_of(1, minimum)


@pytest.mark.parametrize(
    ("zeros", "minimum", "amount"),
    [
        (31, 32, 0),
        (32, 32, 1),
        (40, 32, 256),
        (48, 32, 65536),
        (84, 32, 1 << 52),
        (120, 32, 1 << 52),
        (0, 0, 1),
    ],
)
def test_the_achieved_valuation_doubles_with_every_zero_bit_up_to_its_cap(
    zeros: int, minimum: int, amount: int
) -> None:
    share_hash = hash_with(0, zeros)
    assert achieved_amount(share_hash, minimum) == amount
    assert share_amount(share_hash, MAX_TARGET, minimum, Valuation.ACHIEVED) == amount


def test_a_hash_of_zeros_achieves_the_cap() -> None:
    assert achieved_amount(bytes(32), 0) == 1 << 52
