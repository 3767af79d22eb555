"""Sending: tokens of a sum for somebody else, a token for each unit that they are taken from.

Ehash has a unit for each shift; it is taken from the oldest shifts first. Where tokens of exactly the sum
are held and need no lock they are handed out as they are; else the mint swaps them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from protocols.cashu.keyset import Keyset
from protocols.ehash.shift import is_ehash
from roles.runtime import crash
from roles.runtime.storage import Connection
from roles.wallet import handout, history, purse, selection
from roles.wallet.amount import EHASH, age
from roles.wallet.consolidation import Consolidation
from roles.wallet.errors import MintRefused, NotEnoughError
from roles.wallet.exchange import Exchange, Wanted
from roles.wallet.exchanging import Exchanger, check_states, token_text
from roles.wallet.handout import Handout
from roles.wallet.kit import Kit
from roles.wallet.locking import Draw
from roles.wallet.purse import Coin
from roles.wallet.signatures import denominations
from roles.wallet.swap import fees_ppk, keep_swap

TOKEN_PROOFS = 64
"""Most tokens that are handed out as they are; more are swapped for fewer."""
INPUTS = 200
"""Most tokens that one request spends; more are put together first."""
ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Sent:
    """Tokens that are handed out, in the order of their units, and what making them has cost."""

    tokens: tuple[Handout, ...]
    fee: int

    @property
    def amount(self) -> int:
        """All together."""
        return sum(token.amount for token in self.tokens)


class Sender:
    """Makes tokens for others out of a wallet's own."""

    def __init__(self, kit: Kit, exchanger: Exchanger) -> None:
        self._kit = kit
        self._exchanger = exchanger
        self._consolidation = Consolidation(kit, exchanger)
        self.inputs = INPUTS

    async def send(
        self, amount: int, unit: str, *, memo: str | None = None, lock: Draw | None = None
    ) -> Sent:
        """Hand out `amount` of a unit, or of all ehash; raises NotEnoughError and MintError.

        A sum that takes several units is either handed out whole or not at all, as far as what is held goes.
        """
        shares = await self._kit.database.read(lambda c: _shares(c, amount, unit))
        tokens: list[Handout] = []
        fee = 0
        for each, part in shares:
            token, cost = await self._send_one(part, each, memo, lock)
            tokens.append(token)
            fee += cost
        return Sent(tuple(tokens), fee)

    async def look_after(self, limit: int = 1_000) -> list[Handout]:
        """Ask the mint what has become of the tokens that are out; the newest of all. Raises MintError."""
        for out in await self._kit.database.read(handout.still_out):
            ys = await self._kit.database.read(partial(handout.pending_ys, token_id=out.token_id))
            states = await check_states(self._kit, ys)
            spent = [y for y in ys if states[y] == "spent"]
            if spent:
                await self._kit.database.write(partial(self._taken, out, spent))
        return await self._kit.database.read(lambda c: handout.newest(c, limit))

    def _taken(self, out: Handout, spent: Sequence[bytes], connection: Connection) -> None:
        purse.mark_spent(connection, spent)
        handout.settle(connection, out.token_id, "claimed", self._kit.clock_ms())

    async def _send_one(
        self, amount: int, unit: str, memo: str | None, lock: Draw | None
    ) -> tuple[Handout, int]:
        for attempt in range(ATTEMPTS):
            if lock is None:
                url = await self._kit.keysets.url(unit)
                token = await self._kit.database.write(partial(self._as_they_are, amount, unit, memo, url))
                if token is not None:
                    return token, 0
            await self.make_room(amount, unit)
            try:
                return await self._swap(amount, unit, memo, lock)
            except MintRefused:
                # Tokens that others of the same seed have spent, or a keyset that has been closed, are
                # known now.
                if attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError

    def _as_they_are(
        self, amount: int, unit: str, memo: str | None, url: str, connection: Connection
    ) -> Handout | None:
        """Hand out tokens of exactly the sum, None if they are not there."""
        chosen = selection.exact(purse.coins(connection, unit), amount, TOKEN_PROOFS)
        if chosen is None:
            return None
        ys = [coin.y for coin in chosen]
        held = [self._with_blinding(item) for item in purse.by_ys(connection, ys)]
        now = self._kit.clock_ms()
        text = token_text(url, unit, held, memo)
        token = handout.add(connection, unit, amount, text, now, memo=memo, locked=False)
        purse.give(connection, ys, token.token_id)
        history.record(connection, "send", unit, -amount, now, note=memo, token_id=token.token_id)
        return token

    def _with_blinding(self, held: purse.HeldProof) -> purse.HeldProof:
        if held.counter is None:
            return held
        blinding = self._kit.keyring.blinding(held.proof.keyset_id, held.counter)
        return purse.HeldProof(held.proof, held.counter, held.state, blinding)

    async def make_room(self, amount: int, unit: str) -> None:
        """Put small tokens together while it would take too many of them to pay a sum."""
        while True:
            chosen = await self._kit.database.read(partial(cover, amount, unit))
            if len(chosen) <= self.inputs:
                return
            await self._consolidation.merge(unit, _smallest(chosen, self.inputs))

    async def _swap(self, amount: int, unit: str, memo: str | None, lock: Draw | None) -> tuple[Handout, int]:
        keyset = await self._kit.keysets.active(unit)
        parts = denominations(amount, keyset.keys)
        given = [Wanted(part, given=True) if lock is None else lock(part) for part in parts]
        plan = {"memo": memo, "locked": lock is not None}
        kept = await self._kit.database.write(partial(self._keep, amount, keyset, given, plan))
        crash.at("wallet.exchange-stored")
        settled = await self._exchanger.carry_out(kept)
        assert settled.token is not None
        return settled.token, settled.fee

    def _keep(
        self,
        amount: int,
        keyset: Keyset,
        given: Sequence[Wanted],
        plan: Mapping[str, object],
        connection: Connection,
    ) -> Exchange:
        chosen = cover(amount, keyset.unit, connection)
        fee = selection.fee_of(chosen, fees_ppk(connection, keyset.unit))
        change = sum(coin.amount for coin in chosen) - fee - amount
        ours = denominations(change, keyset.keys) if change else ()
        return keep_swap(
            self._kit, connection, keyset, chosen, ours=ours, given=given, fee=fee, kind="send", plan=plan
        )


def _shares(connection: Connection, amount: int, unit: str) -> list[tuple[str, int]]:
    """What is taken of which unit, the oldest first; raises NotEnoughError."""
    held = purse.balances(connection)
    units = [item.unit for item in held if (is_ehash(item.unit) if unit == EHASH else item.unit == unit)]
    shares: list[tuple[str, int]] = []
    rest = amount
    for each in sorted(units, key=age):
        coins = purse.coins(connection, each)
        most = sum(coin.amount for coin in coins)
        if most < rest or selection.exact(coins, rest, TOKEN_PROOFS) is None:
            most = selection.spendable(coins, fees_ppk(connection, each))
        part = min(rest, most)
        if part:
            shares.append((each, part))
            rest -= part
        if not rest:
            return shares
    sums: dict[str, int] = {}
    for item in held:
        if item.unit not in units:
            name = EHASH if is_ehash(item.unit) else item.unit
            sums[name] = sums.get(name, 0) + item.amount
    others = ", ".join(f"{total:,} {name[:40]}" for name, total in sums.items())
    raise NotEnoughError(
        f"{amount:,} {unit if unit == EHASH else unit[:40]} are to be sent, {amount - rest:,} can be",
        hint=f"there are {others} besides: name the unit with --unit" if others else "",
    )


def _smallest(coins: Sequence[Coin], count: int) -> list[bytes]:
    return [coin.y for coin in sorted(coins, key=lambda coin: coin.amount)[:count]]


def cover(amount: int, unit: str, connection: Connection) -> list[Coin]:
    """The tokens that pay a sum and their own fee; raises NotEnoughError."""
    fees = fees_ppk(connection, unit)
    coins = purse.coins(connection, unit)
    chosen = selection.cover(coins, amount, fees)
    if chosen is None:
        most = selection.spendable(coins, fees)
        raise NotEnoughError(f"{amount:,} {unit[:40]} are to be spent, {most:,} can be, fees apart")
    return chosen
