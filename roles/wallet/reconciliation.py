"""After a refusal: ask the mint what is true of each quote and each output, and go on from there.

A refusal may mean that one quote of a batch is poisoned, that an earlier, unanswered sending was carried
out after all, or that counters were used before (a second wallet on the same seed). The mint tells which:
it knows the state of each quote, and it restores each output that it ever signed.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from roles.runtime.storage import Connection
from roles.wallet import history, purse, quote, request
from roles.wallet.errors import MintRefused
from roles.wallet.kit import Kit
from roles.wallet.mint_api import QuoteState
from roles.wallet.purse import HeldProof
from roles.wallet.quote import Quote
from roles.wallet.request import MintRequest
from roles.wallet.scan import recover, scan_keyset

log = logging.getLogger(__name__)

_OUTPUTS_SIGNED = 11003
_KEYSET_CODES = {12001, 12002, 12003}
_BLAMELESS_CODES = {_OUTPUTS_SIGNED, 11015, 11017, *_KEYSET_CODES}
"""Refusals that no quote of the request is the cause of."""
_BLAMELESS_DELAY_MS = 1_000

Verdict = Literal["minted", "again", "culprit", "gone"]


def judge(item: Quote, state: QuoteState | None, *, signed: bool) -> Verdict:
    """What became of a quote; `signed` says that the mint signed every output of its request.

    A culprit is why a batch was refused: unknown to the mint, not paid, or other than the wallet thought. A
    quote is gone when its tokens were issued for outputs that are not ours.
    """
    if state is None:
        return "culprit"
    if state.mintable == 0:
        if state.issued == 0:
            return "culprit"
        return "minted" if signed else "gone"
    if state.mintable != item.amount or state.unit != item.unit:
        return "culprit"
    return "again"


@dataclass(frozen=True, slots=True)
class _Case:
    """One quote of the refused request, the mint's word of it, and the request that minted it if one did."""

    item: Quote
    state: QuoteState | None
    verdict: Verdict
    minted_by: int


class Reconciliation:
    """Settles refused requests so that every quote is minted, pending again, or dropped with an alarm."""

    def __init__(self, kit: Kit) -> None:
        self._database = kit.database
        self._mint = kit.mint
        self._keyring = kit.keyring
        self._keysets = kit.keysets
        self._meters = kit.meters
        self._clock_ms = kit.clock_ms

    async def after(self, kept: MintRequest, refusal: MintRefused) -> None:
        """Settle a request that the mint refused; raises MintError if the mint cannot be asked."""
        log.warning("mint request %d was refused: %s", kept.request_id, refusal)
        if refusal.code in _KEYSET_CODES:
            await self._keysets.refresh((await self._keysets.keyset(kept.keyset_id)).unit)
        quotes = await self._database.read(lambda c: quote.carried_by(c, kept.request_id))
        states = await self._states(quotes)
        proofs, next_counter = await self._find(kept, further=refusal.code == _OUTPUTS_SIGNED)
        signed = _complete(kept, proofs)
        cases = [
            await self._case(item, state, kept, signed=signed)
            for item, state in zip(quotes, states, strict=True)
        ]
        blameless = refusal.code in _BLAMELESS_CODES or any(
            case.verdict in {"culprit", "gone"} for case in cases
        )
        now = self._clock_ms()

        def settle(connection: Connection) -> tuple[int, int]:
            used = any(case.minted_by == kept.request_id for case in cases)
            total = purse.put(connection, proofs, kept.request_id if used else None, now)
            history.record_new(connection, "mint", [(kept.keyset_id, total)], now)
            request.advance(connection, kept.keyset_id, next_counter)
            dropped = sum(not _settle_case(connection, case, now, blameless=blameless) for case in cases)
            request.settle(connection, kept.request_id, "answered" if used else "abandoned", now)
            return total, dropped

        total, dropped = await self._database.write(settle)
        minted = sum(case.verdict == "minted" for case in cases)
        self._meters.requests.labels("recovered" if minted else "refused").inc()
        self._meters.quotes_minted.inc(minted)
        self._meters.minted.inc(total)
        self._meters.balance.inc(total)
        if dropped:
            log.error("%d quotes of request %d are dropped: %s", dropped, kept.request_id, refusal)
            self._meters.alarms.labels("dropped").inc(dropped)

    async def _states(self, quotes: Sequence[Quote]) -> list[QuoteState | None]:
        """The mint's word on each quote; None for one that it does not know."""
        ids = [item.quote_id or "" for item in quotes]
        if not ids:
            return []
        try:
            return list(await self._mint.check_quotes(ids))
        except MintRefused:
            # One unknown id refuses the whole check: ask for them one by one.
            return [await self._state(quote_id) for quote_id in ids]

    async def _state(self, quote_id: str) -> QuoteState | None:
        try:
            return await self._mint.quote(quote_id)
        except MintRefused:
            return None

    async def _find(self, kept: MintRequest, *, further: bool) -> tuple[list[HeldProof], int]:
        """The tokens that the mint has signed at the request's counters, and beyond when these were used
        before.
        """
        keyset = await self._keysets.keyset(kept.keyset_id)
        end = kept.first_counter + len(kept.amounts)
        if further:
            found = await scan_keyset(self._mint, self._keyring, keyset, kept.first_counter)
            return list(found.proofs), max(found.next_counter, end)
        counters = range(kept.first_counter, end)
        return await recover(self._mint, self._keyring, keyset, counters), end

    async def _case(self, item: Quote, state: QuoteState | None, kept: MintRequest, *, signed: bool) -> _Case:
        verdict = judge(item, state, signed=signed)
        if verdict != "gone":
            return _Case(item, state, verdict, kept.request_id if verdict == "minted" else 0)
        past = await self._database.read(lambda c: request.given_up(c, item.share_hash))
        for earlier in past:
            if await self._was_answered(earlier):
                return _Case(item, state, "minted", earlier.request_id)
        return _Case(item, state, verdict, 0)

    async def _was_answered(self, earlier: MintRequest) -> bool:
        """Whether a request that was given up was carried out after all; its tokens are stored then."""
        proofs, _ = await self._find(earlier, further=False)
        if not _complete(earlier, proofs):
            return False
        now = self._clock_ms()

        def keep(connection: Connection) -> int:
            put = purse.put(connection, proofs, earlier.request_id, now)
            history.record_new(connection, "mint", [(earlier.keyset_id, put)], now)
            return put

        total = await self._database.write(keep)
        self._meters.minted.inc(total)
        self._meters.balance.inc(total)
        return True


def _complete(kept: MintRequest, proofs: Sequence[HeldProof]) -> bool:
    """Whether the tokens found are those that the request asked for, all of them."""
    found = {held.counter: held.proof.amount for held in proofs}
    return all(found.get(kept.first_counter + offset) == amount for offset, amount in enumerate(kept.amounts))


def _settle_case(connection: Connection, case: _Case, now_ms: int, *, blameless: bool) -> bool:
    """Write what became of a quote; False when it is dropped."""
    share_hash = case.item.share_hash
    if case.verdict == "minted":
        quote.minted(connection, [share_hash], case.minted_by, now_ms)
        return True
    if case.verdict == "gone":
        quote.drop(connection, [share_hash])
        return False
    if case.verdict == "culprit" and case.state is not None and case.state.mintable > 0:
        quote.correct(connection, share_hash, case.state.mintable, case.state.unit)
    at_fault = case.verdict == "culprit" or not blameless
    return quote.release(connection, share_hash, now_ms, at_fault=at_fault, delay_ms=_BLAMELESS_DELAY_MS)
