import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.target import MAX_TARGET, from_bits, from_work, work
from protocols.ehash.amount import AMOUNT_LIMIT, share_amount
from protocols.mining.credit_target import UNITS_LIMIT, CreditRule
from protocols.mining.errors import MaxTargetOutOfRange

MAINNET = from_bits(0x17030000)


@given(
    wanted=st.integers(0, 2**300),
    minimum=st.integers(0, 63),
    floor=st.integers(1, 2**40),
    network=st.integers(1, MAX_TARGET),
    max_target=st.integers(0, MAX_TARGET),
)
@settings(max_examples=500, deadline=None)
def test_no_wish_and_no_network_makes_an_invalid_target(
    wanted: int, minimum: int, floor: int, network: int, max_target: int
) -> None:
    rule = CreditRule(minimum, floor)
    try:
        target = rule.target(wanted, network=network, max_target=max_target)
    except MaxTargetOutOfRange:
        assert work(max_target) > (UNITS_LIMIT - 1) << minimum
        return
    assert 0 <= target <= max_target
    assert target >= network or max_target < network or work(network) >> minimum < work(max_target) + 2
    amount = share_amount(bytes(32), target, minimum)
    assert amount < AMOUNT_LIMIT
    if work(target) >= 16 << minimum:
        assert work(target) % (1 << minimum) == 0
        assert amount == work(target) >> minimum


@given(k=st.integers(16, UNITS_LIMIT - 1), minimum=st.integers(0, 63))
@settings(max_examples=200, deadline=None)
def test_the_work_of_a_quantised_target_is_exact(k: int, minimum: int) -> None:
    assert work(from_work(k << minimum)) == k << minimum


@given(wanted=st.integers(2**16, 2**78))
@settings(max_examples=200, deadline=None)
def test_the_target_is_the_easiest_that_satisfies_vardiff(wanted: int) -> None:
    hashes = work(CreditRule(32).target(wanted, network=MAINNET, max_target=MAX_TARGET))
    assert (
        wanted <= hashes < wanted + (1 << 32 if wanted >= 16 << 32 else 1)
        or hashes == work(MAINNET) >> 32 << 32
    )


@pytest.mark.parametrize(
    ("wanted", "minimum", "hashes"),
    [
        (0, 8, 1 << 16),
        (100_000, 8, 391 << 8),
        (1 << 16, 32, 1 << 16),
        ((15 << 32) + 7, 32, (15 << 32) + 7),
        ((16 << 32) + 1, 32, 17 << 32),
        (1 << 30, 8, 1 << 20),
    ],
)
def test_targets_of_16_units_and_more_are_whole_units(wanted: int, minimum: int, hashes: int) -> None:
    network = from_work(1 << 20) if minimum == 8 else MAINNET
    assert work(CreditRule(minimum).target(wanted, network=network, max_target=MAX_TARGET)) == hashes


def test_a_client_that_wants_more_work_than_an_amount_can_hold_is_refused() -> None:
    with pytest.raises(MaxTargetOutOfRange) as caught:
        CreditRule(8).target(0, network=MAINNET, max_target=0)
    assert caught.value.code == "max-target-out-of-range"


def test_rounding_never_goes_beyond_the_network_target() -> None:
    network = from_work((1 << 20) + 3)
    target = CreditRule(8).target(1 << 21, network=network, max_target=MAX_TARGET)
    assert work(target) == 1 << 20
    assert target >= network


def test_a_network_easier_than_the_floor_lowers_the_floor() -> None:
    assert work(CreditRule(8).target(0, network=from_work(2), max_target=MAX_TARGET)) == 2


def test_a_clients_max_target_is_kept_even_where_a_block_became_easier() -> None:
    asked = from_work(1 << 24)
    target = CreditRule(8).target(0, network=from_work(1 << 20), max_target=asked)
    assert target <= asked
    assert work(target) == 1 << 24


def test_a_max_target_between_the_last_unit_and_the_network_rounds_up() -> None:
    network = from_work((1 << 20) + 200)
    asked = from_work((1 << 20) + 100)
    assert work(CreditRule(8).target(0, network=network, max_target=asked)) == (1 << 20) + 256
