from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.target import from_work
from protocols.ehash.amount import Valuation
from protocols.ehash.errors import CreditCode
from protocols.ehash.messages import Credits
from roles.credit.errors import ShiftRefused, TimeReversed
from roles.mint.settlement import MAX_AHEAD_MS, MINUTE_MS, OK, LedgerState, Settlement, check_shift, settle
from tests.roles.mint.house import LONG_SHIFTS, NOW, mine

NOW_MS = NOW * 1000
START = LedgerState(
    ledger_no=1,
    issuer_no=1,
    acked_seq=0,
    shift=0,
    unit="u",
    minimum=0,
    valuation=0,
    last_time=0,
    work_level=0,
)
EIGHT = [mine(8, nonce=number) for number in range(40)]


def _settle(
    state: LedgerState, rows: list[tuple[int, int]], bound: int | None = None, now_ms: int = NOW_MS
) -> Settlement:
    """Rows are (index into EIGHT, time in ms)."""
    return settle(
        state,
        [replace(EIGHT[index], time=time) for index, time in rows],
        rule=LONG_SHIFTS,
        bound=bound,
        now_ms=now_ms,
        name_quote=lambda credit: credit.share_hash.hex(),
    )


def test_rows_that_prove_their_work_are_settled_in_order() -> None:
    settlement = _settle(START, [(0, NOW_MS), (1, NOW_MS)])
    assert [(verdict.seq, verdict.code) for verdict in settlement.verdicts] == [(1, OK), (2, OK)]
    assert [verdict.credit.amount for verdict in settlement.verdicts if verdict.credit] == [8, 8]
    assert settlement.hold is None
    assert (settlement.state.acked_seq, settlement.state.last_time) == (2, NOW_MS)


def test_a_row_that_does_not_prove_its_work_is_settled_as_bad_and_the_next_goes_on() -> None:
    hard = replace(EIGHT[0], target=from_work(1 << 60), time=NOW_MS)
    off_curve = replace(EIGHT[1], locking_key=b"\x02" + b"\xff" * 32, time=NOW_MS)
    false_block = replace(EIGHT[2], flags=1, time=NOW_MS)
    good = replace(EIGHT[3], time=NOW_MS)
    settlement = settle(
        START,
        [hard, off_curve, good, false_block],
        rule=LONG_SHIFTS,
        bound=None,
        now_ms=NOW_MS,
        name_quote=lambda _: "id",
    )
    codes = [verdict.code for verdict in settlement.verdicts]
    assert codes == [CreditCode.BAD_WORK, CreditCode.BAD_KEY, OK, CreditCode.BAD_WORK]
    assert settlement.state.acked_seq == 4


def test_work_that_is_worth_nothing_or_too_much_is_bad() -> None:
    nothing = settle(
        replace(START, minimum=40),
        [EIGHT[0]],
        rule=LONG_SHIFTS,
        bound=None,
        now_ms=NOW_MS,
        name_quote=lambda _: "id",
    )
    lottery = settle(
        replace(START, minimum=0, valuation=Valuation.ACHIEVED),
        [EIGHT[0]],
        rule=LONG_SHIFTS,
        bound=None,
        now_ms=NOW_MS,
        name_quote=lambda _: "id",
    )
    assert nothing.verdicts[0].code == CreditCode.BAD_WORK
    assert lottery.verdicts[0].code == OK


def test_rows_never_go_back_in_time_and_one_from_the_future_waits() -> None:
    state = replace(START, last_time=NOW_MS)
    with pytest.raises(TimeReversed):
        _settle(state, [(0, NOW_MS - 1)])
    ahead = _settle(state, [(0, NOW_MS), (1, NOW_MS + MAX_AHEAD_MS + 1), (2, NOW_MS)])
    assert (len(ahead.verdicts), ahead.hold) == (1, CreditCode.RETRY)
    assert _settle(state, [(0, NOW_MS + MAX_AHEAD_MS)]).hold is None


def test_a_ledger_whose_clock_was_ahead_goes_on_at_the_time_of_its_last_row() -> None:
    day = 24 * 60 * MINUTE_MS
    ahead = _settle(START, [(0, NOW_MS + day)], now_ms=NOW_MS + day)
    assert ahead.hold is None
    assert _settle(ahead.state, [(1, NOW_MS + day)]).hold is None
    assert _settle(ahead.state, [(1, NOW_MS + day + 1)]).hold is CreditCode.RETRY


def test_work_beyond_the_bound_waits_until_there_is_room_for_it() -> None:
    held = _settle(START, [(number, NOW_MS) for number in range(4)], bound=16)
    assert (held.state.acked_seq, held.hold) == (2, CreditCode.OVER_BOUND)
    early = _settle(held.state, [(2, NOW_MS)], bound=16, now_ms=NOW_MS + MINUTE_MS // 2 - 1)
    assert early.hold is CreditCode.OVER_BOUND
    late = _settle(held.state, [(2, NOW_MS)], bound=16, now_ms=NOW_MS + MINUTE_MS // 2)
    assert late.hold is None


def test_a_row_worth_more_than_a_minute_allows_is_delayed_and_does_not_block_its_ledger() -> None:
    assert _settle(START, [(0, NOW_MS)], bound=2).hold is CreditCode.OVER_BOUND
    settled = _settle(START, [(0, NOW_MS), (1, NOW_MS)], bound=2, now_ms=NOW_MS + 3 * MINUTE_MS)
    assert (settled.state.acked_seq, settled.hold) == (1, CreditCode.OVER_BOUND)
    assert _settle(settled.state, [(1, NOW_MS)], bound=2, now_ms=NOW_MS + 7 * MINUTE_MS).hold is None


def test_work_beyond_the_bound_waits_and_goes_on_when_the_bound_is_raised() -> None:
    rows = [(number, NOW_MS) for number in range(5)]
    held = _settle(START, rows, bound=20)
    assert (held.state.acked_seq, held.hold) == (2, CreditCode.OVER_BOUND)
    assert _settle(held.state, rows[2:], bound=20).state == held.state
    assert _settle(held.state, rows[2:], bound=40).hold is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, MINUTE_MS), min_size=1, max_size=40), st.integers(8, 200))
def test_over_any_stretch_of_rows_time_no_more_is_settled_than_the_bound_allows(
    gaps: list[int], bound: int
) -> None:
    times = [sum(gaps[: index + 1]) + NOW_MS - 40 * MINUTE_MS for index in range(len(gaps))]
    state, settled = START, []
    for row in enumerate(times):
        settlement = _settle(state, [row], bound=bound, now_ms=row[1])
        if settlement.hold:
            break
        state = settlement.state
        settled.append(row[1])
    for first in range(len(settled)):
        for last in range(first, len(settled)):
            elapsed = settled[last] - settled[first]
            assert 8 * (last - first + 1) <= bound + -(-bound * elapsed // MINUTE_MS) + (last - first + 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10), st.integers(0, 3_600_000))
def test_a_mint_that_was_down_judges_rows_as_if_they_had_come_in_time(count: int, delay: int) -> None:
    rows = [(number, NOW_MS - delay - 1000 * (10 - number)) for number in range(count)]
    one_by_one = START
    for row in rows:
        one_by_one = _settle(one_by_one, [row], bound=100).state
    assert _settle(START, rows, bound=100).state == one_by_one


def _frame(shift: int = 0, minimum: int = 0, valuation: int = 0) -> Credits:
    return Credits(1, shift, minimum, valuation, ())


def test_the_first_rows_fix_the_price_of_a_shift_and_later_ones_must_keep_it() -> None:
    fixed = check_shift(replace(START, minimum=None, valuation=None), _frame(minimum=8, valuation=1), NOW_MS)
    assert (fixed.minimum, fixed.valuation) == (8, 1)
    assert check_shift(fixed, _frame(minimum=8, valuation=1), NOW_MS) == fixed
    for wrong in (_frame(minimum=7, valuation=1), _frame(minimum=8), _frame(shift=1), _frame(valuation=2)):
        with pytest.raises(ShiftRefused):
            check_shift(replace(fixed, acked_seq=1, newest=0), wrong, NOW_MS)
