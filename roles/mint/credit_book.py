"""Settles the rows of issuers: checked off the event loop, stored in one transaction a frame, answered when
durable.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import is_point
from protocols.cashu.subscription import mint_quote_kind
from protocols.ehash.credit import Credit
from protocols.ehash.errors import CreditCode
from protocols.ehash.messages import CreditResult, CreditResults, CreditRow, Credits
from protocols.ehash.quote_id import quote_id, shared_secret
from protocols.ehash.shift import DENOMINATIONS, METHOD, ShiftRule
from roles.credit.acceptor import Standing
from roles.credit.errors import LedgerForked
from roles.mint import ledger_rows
from roles.mint.errors import SettledElsewhere
from roles.mint.keysets import KeysetBook, derive
from roles.mint.ledger_rows import Again
from roles.mint.meters import Meters
from roles.mint.notice_board import NoticeBoard
from roles.mint.seed import MintSeed
from roles.mint.settlement import OK, LedgerState, Settlement, check_shift, settle
from roles.mint.signatory import Signatory
from roles.runtime import crash
from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Database

CACHED_KEYS = 16_384
DAY_S = 86_400
NO_BOUNDS: Mapping[bytes, int] = MappingProxyType({})
MAX_TURNS = 8
"""How often a frame is judged that meets another process."""

_log = logging.getLogger(__name__)


class MintCreditBook:
    """The `CreditBook` of the mint; `bounds`: each issuer's most work a minute in hashes, None for any;
    `shifts_per_day`: how many it may open, any number without.
    """

    def __init__(
        self,
        database: Database,
        seed: MintSeed,
        signatory: Signatory,
        meters: Meters,
        bounds: Mapping[bytes, int | None],
        *,
        book: KeysetBook,
        rule: ShiftRule,
        clock: Callable[[], float],
        board: NoticeBoard | None = None,
        shifts_per_day: Mapping[bytes, int] = NO_BOUNDS,
    ) -> None:
        self._database = database
        self._board = board or NoticeBoard()
        self._signatory = signatory
        self._meters = meters
        self._bounds = bounds
        self._shifts_per_day = shifts_per_day
        self._seed = seed
        self._book = book
        self._rule = rule
        self._clock = clock
        self._latest = 0.0
        self._locks = {identity: asyncio.Lock() for identity in bounds}
        secret = seed.quote_secret
        # A key comes again with each share of its miner, and the multiplication is the dearest part of a row.
        self._shared = lru_cache(maxsize=CACHED_KEYS)(lambda key: shared_secret(secret, key))

    async def open_ledger(self, identity: bytes, store_id: bytes, next_seq: int) -> Standing:
        """See `CreditBook`; raises LedgerBehind."""
        # A frame of a link that has just died may still be on its way into the store.
        async with self._locks[identity]:
            return await self._database.write(
                lambda c: ledger_rows.open_ledger(c, identity, store_id, next_seq)
            )

    async def settle(self, identity: bytes, store_id: bytes, credits_frame: Credits) -> CreditResults:
        """See `CreditBook`; raises ShiftRefused, TimeReversed, LedgerForked."""
        for _ in range(MAX_TURNS):
            # Another process may have a link of the same issuer: what it settles meanwhile is looked at anew.
            with contextlib.suppress(SettledElsewhere):
                return await self._settle(identity, store_id, credits_frame)
        raise CommitFailed("rows of the issuer's ledger are settled elsewhere all the time")

    async def _settle(self, identity: bytes, store_id: bytes, credits_frame: Credits) -> CreditResults:
        async with self._locks[identity]:
            state = await self._database.read(lambda c: ledger_rows.state(c, identity, store_id))
            last = credits_frame.first_seq + len(credits_frame.rows) - 1
            if credits_frame.first_seq > state.acked_seq + 1:
                # Rows behind one that waits were under way already.
                return _results(state.acked_seq, [], CreditCode.RETRY)
            old = await self._replayed(state, credits_frame)
            if last <= state.acked_seq:
                return _results(last, old, None)
            rows = credits_frame.rows[state.acked_seq + 1 - credits_frame.first_seq :]
            priced = check_shift(state, credits_frame, rows[0].time)
            now = self._now(state.last_time)
            if priced.progress is None and await self._opens_too_many(priced, int(now)):
                self._wait(identity, state.acked_seq, CreditCode.OVER_BOUND, _MANY_SHIFTS)
                return _results(state.acked_seq, old, CreditCode.OVER_BOUND)
            settlement = await self._signatory.run_own(lambda: self._judge(priced, rows, int(now * 1000)))
            if not settlement.verdicts:
                self._count(identity, settlement, [], [])
                return _results(state.acked_seq, old, settlement.hold)
            crash.at("mint.credits-judged")
            verdicts, opened = await self._database.write(
                lambda c: ledger_rows.store(
                    c, state, settlement, int(now), seed=self._seed, ring=self._book.ring
                )
            )
        crash.at("mint.credits-durable")
        if opened is not None:
            self._meters.shifts.inc()
            self._book.add(opened)
            _log.info("a shift is open", extra={"issuer": identity.hex()[:16], "unit": opened.unit})
        made = (verdict.quote_id for verdict in verdicts if verdict.code == OK)
        self._board.post(mint_quote_kind(METHOD), made)
        codes = [(verdict.seq, int(verdict.code)) for verdict in verdicts if verdict.code != OK]
        self._count(identity, settlement, [verdict.credit for verdict in verdicts], codes)
        return _results(settlement.state.acked_seq, old + codes, settlement.hold)

    async def _opens_too_many(self, state: LedgerState, now: int) -> bool:
        """Whether the issuer has to wait until it may open the shift that a state has no row of yet."""
        bound = self._shifts_per_day.get(state.identity)
        if bound is None:
            return False
        opened = await self._database.read(lambda c: ledger_rows.opened_in_turn(c, state.issuer_no, bound))
        return opened is not None and opened > now - DAY_S

    def _judge(self, state: LedgerState, rows: Sequence[CreditRow], now_ms: int) -> Settlement:
        if state.progress is None and self._book.ring is not None:
            # The keys of a unit that may be new: derived here, they cost the store's writer nothing.
            derive(self._book.ring, state.unit, 0, len(DENOMINATIONS))
        return settle(
            state,
            rows,
            rule=self._rule,
            bound=self._bounds[state.identity],
            now_ms=now_ms,
            name_quote=self._name_quote,
        )

    def _now(self, last_ms: int) -> float:
        """The latest time that the mint has known: a clock that is set back must not keep rows waiting that
        were made before, for as long as it was set back.
        """
        self._latest = max(self._latest or last_ms / 1000, self._clock())
        return self._latest

    async def _replayed(self, state: LedgerState, credits_frame: Credits) -> list[tuple[int, int]]:
        """Seq and code of the refused rows of a frame that were settled before; raises LedgerForked."""
        first, last = credits_frame.first_seq, credits_frame.first_seq + len(credits_frame.rows) - 1
        if first > state.acked_seq:
            return []
        last = min(last, state.acked_seq)
        again = dict(zip(range(first, last + 1), credits_frame.rows, strict=False))
        known = await self._database.read(lambda c: ledger_rows.settled(c, state.ledger_no, first, last))
        codes = {}
        for seq, (header, key, code) in known.items():
            if (header, key) == (again[seq].header, again[seq].locking_key):
                codes[seq] = code
        if len(known) < len(again):
            codes |= await self._compacted(state, {seq: again[seq] for seq in again.keys() - known.keys()})
        forked = sorted(again.keys() - codes.keys())
        if forked:
            raise LedgerForked(f"row {forked[0]} is not the one that was settled under this number")
        return [(seq, codes[seq]) for seq in again if codes[seq] != OK]

    async def _compacted(self, state: LedgerState, again: Mapping[int, CreditRow]) -> dict[int, int]:
        """Seq to code of rows that are compacted, of those that are what they were."""

        def name() -> list[Again]:
            return [self._again(seq, row) for seq, row in sorted(again.items()) if is_point(row.locking_key)]

        rows = await self._signatory.run_own(name)
        return await self._database.read(lambda c: ledger_rows.compacted(c, state, rows))

    def _again(self, seq: int, row: CreditRow) -> Again:
        share_hash, key = sha256d(row.header), row.locking_key
        name = quote_id(self._shared(key), share_hash)
        return Again(seq, share_hash, row.header[ledger_rows.PREVIOUS], key, name)

    def _name_quote(self, credit: Credit) -> str:
        return quote_id(self._shared(credit.key), credit.share_hash)

    def _count(
        self,
        identity: bytes,
        settlement: Settlement,
        credits_made: list[Credit | None],
        codes: list[tuple[int, int]],
    ) -> None:
        amounts = [credit.amount for credit in credits_made if credit is not None]
        self._meters.quotes.inc(len(amounts))
        self._meters.paid.inc(sum(amounts))
        issuer = identity.hex()[:16]
        for seq, code in codes:
            label = CreditCode(code).label
            self._meters.refused.labels(label).inc()
            _log.error("a credit is refused", extra={"issuer": issuer, "seq": seq, "code": label})
        if settlement.hold is not None:
            self._wait(identity, settlement.state.acked_seq, settlement.hold, _HINTS[settlement.hold])

    def _wait(self, identity: bytes, acked_seq: int, code: CreditCode, hint: str) -> None:
        """Say that the row behind `acked_seq` waits, and why."""
        self._meters.refused.labels(code.label).inc()
        told = {"issuer": identity.hex()[:16], "seq": acked_seq + 1, "code": code.label, "hint": hint}
        _log.warning("an issuer's rows wait", extra=told)


_MANY_SHIFTS = "more shifts within 24 hours than its shifts_per_day in [[issuers]] allows"
_HINTS = {
    CreditCode.RETRY: "the row's time is far ahead of this machine's clock: see that both clocks are right",
    CreditCode.OVER_BOUND: "more work a minute than its work_per_minute in [[issuers]] allows",
}


def _results(acked_seq: int, codes: list[tuple[int, int]], hold: CreditCode | None) -> CreditResults:
    results = [CreditResult(seq, code) for seq, code in codes]
    if hold is not None:
        results.append(CreditResult(acked_seq + 1, hold))
    return CreditResults(acked_seq, tuple(results))
