"""What becomes of an issuer's rows: each is settled with a code, or the first that must wait holds all after
it.

Pure: the standing of the ledger goes in, verdicts and the new standing come out. The bound on work is
measured over the rows' own time, so that rows which waited for a mint that was down do not trip it: a level
rises with each row's work and falls by the bound each minute, and a row that lifts it above the bound waits.
It waits no longer than the level, had no row followed, would take to fall: a row worth more than the bound,
or a pool that has outgrown it, is slowed and never stopped for good.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from protocols.bitcoin.hashing import sha256d
from protocols.ehash.amount import Valuation, share_amount
from protocols.ehash.credit import Credit, check_credit
from protocols.ehash.errors import CreditCode, CreditRefusal
from protocols.ehash.messages import FLAG_BLOCK, CreditRow, Credits
from protocols.ehash.shift import Progress, ShiftRule, Unit
from roles.credit.errors import ShiftRefused, TimeReversed

MINUTE_MS = 60_000
MAX_AHEAD_MS = 600_000
"""How far a row's time may be ahead of the mint's clock."""
OK = 0


@dataclass(frozen=True, slots=True)
class LedgerState:
    """Where a ledger stands; `minimum` and `valuation` are None until the shift has its first row.

    `shift` is that of the last row, or before the first one the earliest that a row may be of.
    Times in ms; `work_level` in expected hashes at `last_time`.
    """

    ledger_no: int
    issuer_no: int
    acked_seq: int
    shift: int
    unit: str
    minimum: int | None
    valuation: int | None
    last_time: int
    work_level: int
    identity: bytes = b""
    progress: Progress | None = None
    """How far the shift is, None before its first row."""
    is_lenient: bool = False
    """Whether the shift may hold more than fills one: it comes from a time when shifts did not end."""
    newest: int | None = None
    """The issuer's newest shift that has rows, of whichever ledger."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A settled row: 0 with the credit and its quote's id, or a code that refuses it."""

    seq: int
    row: CreditRow
    share_hash: bytes
    code: int
    credit: Credit | None = None
    quote_id: str = ""


@dataclass(frozen=True, slots=True)
class Settlement:
    """The verdicts of a frame's new rows, the state after them, and why the next row waits (None if none
    does).
    """

    verdicts: tuple[Verdict, ...]
    state: LedgerState
    hold: CreditCode | None


def check_shift(state: LedgerState, credits_frame: Credits, time: int) -> LedgerState:
    """The state with the shift of a frame open and its price fixed; `time` is that of its first new row, ms.

    Raises ShiftRefused for a shift that is neither open nor may be opened, and for another price within one.
    """
    shift = credits_frame.shift
    if credits_frame.valuation not in {Valuation.TARGET, Valuation.ACHIEVED}:
        raise ShiftRefused(f"valuation {credits_frame.valuation} is not known")
    if not state.acked_seq:
        state = _begin(state, shift)
    elif state.newest != state.shift:
        raise ShiftRefused(
            f"shift {state.shift} was closed by another ledger of this issuer: it is at shift {state.newest}"
        )
    elif shift != state.shift:
        state = _next(state, shift, time)
    price = (credits_frame.minimum, credits_frame.valuation)
    if state.minimum is not None and price != (state.minimum, state.valuation):
        opened = (state.minimum, state.valuation)
        raise ShiftRefused(f"minimum and valuation {price} within shift {state.shift}, which has {opened}")
    return replace(state, minimum=credits_frame.minimum, valuation=credits_frame.valuation)


def settle(
    state: LedgerState,
    rows: Sequence[CreditRow],
    *,
    rule: ShiftRule,
    bound: int | None,
    now_ms: int,
    name_quote: Callable[[Credit], str],
) -> Settlement:
    """Judge the rows that follow `state.acked_seq`; raises TimeReversed, and ShiftRefused for a row that
    should have opened the next shift.

    `bound` is the most work a minute in expected hashes, None for any; `name_quote` makes the id of a share's
    quote.
    """
    assert state.minimum is not None
    assert state.valuation is not None
    minimum, valuation = state.minimum, Valuation(state.valuation)
    verdicts: list[Verdict] = []
    for row in rows:
        seq = state.acked_seq + 1
        if row.time < state.last_time:
            raise TimeReversed(f"row {seq} is earlier than the row before it")
        # A ledger whose clock was ahead stays at the time of its last row until its clock has come there.
        if row.time > max(now_ms + MAX_AHEAD_MS, state.last_time):
            return Settlement(tuple(verdicts), state, CreditCode.RETRY)
        progress = state.progress or Progress(rule.full_at(row.header), row.time)
        if progress.is_over(row.time) and not state.is_lenient:
            raise ShiftRefused(f"row {seq} should have opened shift {state.shift + 1}")
        level = _level(state, row.time, bound)
        try:
            credit = check_credit(row, minimum, valuation)
        except CreditRefusal as error:
            share_hash = sha256d(row.header)
            verdicts.append(Verdict(seq, row, share_hash, error.code))
            # The issuer has counted it, too, and both must find the same end of the shift.
            amount = share_amount(share_hash, row.target, minimum, valuation)
        else:
            amount = credit.amount
            level += credit.amount << minimum
            if bound is not None and level - _drained(bound, now_ms - row.time) > bound:
                return Settlement(tuple(verdicts), state, CreditCode.OVER_BOUND)
            verdicts.append(Verdict(seq, row, credit.share_hash, OK, credit, name_quote(credit)))
        progress = progress.with_row(amount << minimum, block=bool(row.flags & FLAG_BLOCK))
        state = replace(state, acked_seq=seq, last_time=row.time, work_level=level, progress=progress)
    return Settlement(tuple(verdicts), state, None)


def _begin(state: LedgerState, shift: int) -> LedgerState:
    """The state of a ledger whose first row is of `shift`, in which no other ledger has rows."""
    if shift < state.shift or (state.newest is not None and shift <= state.newest):
        raise ShiftRefused(f"a new ledger begins in shift {shift}, and shift {state.shift} is the next")
    if shift == state.shift:
        return state
    return _opened(state, shift)


def _next(state: LedgerState, shift: int, time: int) -> LedgerState:
    """The state with the next shift open, which must be the one and due."""
    if shift != state.shift + 1:
        raise ShiftRefused(f"rows of shift {shift}, open is shift {state.shift}")
    if not state.is_lenient and not (state.progress and state.progress.is_over(time)):
        raise ShiftRefused(f"shift {shift} is opened before shift {state.shift} is over")
    return _opened(state, shift)


def _opened(state: LedgerState, shift: int) -> LedgerState:
    return replace(
        state,
        shift=shift,
        unit=Unit(state.identity, shift).name,
        minimum=None,
        valuation=None,
        progress=None,
        is_lenient=False,
    )


def _level(state: LedgerState, time_ms: int, bound: int | None) -> int:
    if bound is None:
        return 0
    return max(0, state.work_level - _drained(bound, time_ms - state.last_time))


def _drained(bound: int, elapsed_ms: int) -> int:
    return bound * max(0, elapsed_ms) // MINUTE_MS
