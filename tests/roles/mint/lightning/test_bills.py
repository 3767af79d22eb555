"""Sums of melts: whatever is put up is paid, costs, comes back or is kept, to the last sat."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.cashu.denominations import blank_outputs
from roles.mint.lightning.backend import Fate, Outcome
from roles.mint.melting import rules
from roles.mint.melting.quote import MeltQuote
from roles.mint.melting.rules import Stake

AMOUNTS = st.integers(1, (1 << 53) - 1)


def quote_of(amount_msat: int, reserve: int) -> MeltQuote:
    amount = -(-amount_msat // 1000)
    return MeltQuote(1, "q", "bolt11", "sat", "r", bytes(32), amount, amount_msat, reserve, 0, "UNPAID", 0)


@settings(max_examples=300, deadline=None)
@given(
    AMOUNTS,
    st.integers(0, 999),
    st.integers(0, 1 << 30),
    st.integers(0, 1 << 20),
    st.integers(0, 1 << 30),
    st.integers(0, 1 << 42),
    st.integers(0, 40),
)
def test_every_sat_of_a_stake_is_accounted_for(
    amount: int, part: int, reserve: int, input_fee: int, more: int, fee_msat: int, outputs: int
) -> None:
    quote = quote_of(amount * 1000 - part, reserve)
    stake = Stake(quote.amount + reserve + input_fee + more, input_fee)
    bill = rules.settle(quote, stake, fee_msat, outputs, 1 << 52)
    assert min(bill.fee, bill.kept, *bill.change, 0) == 0
    assert stake.inputs == quote.amount + input_fee + bill.fee + sum(bill.change) + bill.kept
    if fee_msat <= reserve * 1000:
        assert (quote.amount + bill.fee) * 1000 >= quote.amount_msat + fee_msat
        assert sum(bill.change) <= reserve + more


@settings(max_examples=200, deadline=None)
@given(AMOUNTS, st.integers(0, 1 << 30), st.data())
def test_who_puts_up_just_enough_and_sends_blank_outputs_gets_all_that_routing_did_not_cost(
    amount: int, reserve: int, data: st.DataObject
) -> None:
    fee = data.draw(st.integers(1 if reserve else 0, reserve))
    quote = quote_of(amount * 1000, reserve)
    bill = rules.settle(quote, Stake(amount + reserve, 0), fee * 1000, blank_outputs(reserve), 1 << 52)
    assert (bill.fee, sum(bill.change), bill.kept) == (fee, reserve - fee, 0)


@settings(max_examples=100, deadline=None)
@given(AMOUNTS, st.integers(0, 1_000_000), st.integers(0, 100))
def test_a_reserve_is_its_part_of_the_amount_rounded_up_and_never_below_the_least(
    amount: int, ppm: int, least: int
) -> None:
    reserve = rules.fee_reserve(amount, ppm, least)
    assert reserve >= least
    assert reserve == least or (reserve - 1) * 1_000_000 < amount * ppm <= reserve * 1_000_000


@pytest.mark.parametrize(
    ("outcome", "heard", "late", "over"),
    [
        ("paid", False, False, True),
        ("pending", True, True, False),
        ("failed", False, False, False),
        ("failed", True, False, True),
        ("failed", False, True, True),
        ("unknown", False, False, False),
        ("unknown", False, True, True),
        ("unknown", True, True, False),
    ],
)
def test_a_fate_is_for_good_when_nothing_can_change_it(
    outcome: Outcome, heard: bool, late: bool, over: bool
) -> None:
    assert rules.is_over(Fate(outcome), heard=heard, late=late) is over
