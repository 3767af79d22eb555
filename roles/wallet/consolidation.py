"""Consolidation: many small tokens become few, in swaps that tell the mint little.

A mint that sees all tokens of a wallet in one request knows that they are one wallet's. Here each request
spends a random choice of a bounded size, requests are apart by random times, and what comes of one is not
put into the next by preference.
"""

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from protocols.cashu.keyset import Keyset
from roles.runtime import crash
from roles.runtime.storage import Connection
from roles.wallet import purse, selection
from roles.wallet.errors import MintRefused, NoKeysetError
from roles.wallet.exchange import Exchange
from roles.wallet.exchanging import Exchanger
from roles.wallet.kit import Kit
from roles.wallet.purse import Coin
from roles.wallet.signatures import denominations
from roles.wallet.swap import fees_ppk, keep_swap

ENOUGH = 4
"""A request is worth its while when it leaves this many tokens fewer, at least."""
TRIES = 20
FAILURES = 3
"""So often a unit is refused until it is left alone."""


@dataclass(frozen=True, slots=True)
class Consolidated:
    """What it came to, of all units."""

    requests: int
    before: int
    after: int
    fee: int


class Consolidation:
    """Swaps tokens of one unit for fewer; `chance` decides, from the system's entropy."""

    def __init__(
        self,
        kit: Kit,
        exchanger: Exchanger,
        *,
        chance: random.Random | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._kit = kit
        self._exchanger = exchanger
        self._chance = chance or random.SystemRandom()
        self._sleep = sleep

    async def consolidate(
        self,
        unit: str | None = None,
        *,
        inputs: int = 50,
        pause_s: float = 3.0,
        progress: Callable[[str], None] = lambda _: None,
    ) -> Consolidated:
        """Put tokens together, of one unit or of each, until no request is worth its while.

        A request spends up to `inputs` tokens, at least half as many where there are so many; between two are
        `pause_s` seconds on average. Raises MintError; what was done until then stands.
        """
        before = await self._kit.database.read(_count)
        requests = fee = 0
        done: set[str] = set()
        failures: Counter[str] = Counter()
        while units := await self._kit.database.read(partial(_units, unit, done)):
            # Units take turns by chance, too.
            chosen_unit = self._chance.choice(units)
            ys = await self._kit.database.read(partial(self._choose, chosen_unit, inputs))
            if not ys:
                done.add(chosen_unit)
                continue
            if requests:
                await self._sleep(self._chance.expovariate(1 / pause_s) if pause_s > 0 else 0)
            try:
                fee += await self.merge(chosen_unit, ys)
            except (MintRefused, NoKeysetError) as refusal:
                # A keyset may have closed, or somebody of the same seed spent; then it works the next time.
                failures[chosen_unit] += 1
                if failures[chosen_unit] == FAILURES:
                    done.add(chosen_unit)
                    progress(f"{chosen_unit} stays as it is: {refusal}")
                continue
            requests += 1
            left = await self._kit.database.read(_count)
            progress(f"swap {requests:,}: {left:,} of {before:,} tokens left")
        after = await self._kit.database.read(_count)
        return Consolidated(requests, before, after, fee)

    async def merge(self, unit: str, ys: Sequence[bytes]) -> int:
        """Swap these tokens for the fewest; returns the fee."""
        keyset = await self._kit.keysets.active(unit)
        kept = await self._kit.database.write(partial(self._keep, keyset, ys))
        if kept is None:
            return 0
        crash.at("wallet.exchange-stored")
        return (await self._exchanger.carry_out(kept)).fee

    def _keep(self, keyset: Keyset, ys: Sequence[bytes], connection: Connection) -> Exchange | None:
        held = purse.by_ys(connection, ys)
        chosen = [
            Coin(item.y, item.proof.keyset_id, item.proof.amount) for item in held if item.state == "unspent"
        ]
        fee = selection.fee_of(chosen, fees_ppk(connection, keyset.unit))
        rest = sum(coin.amount for coin in chosen) - fee
        if rest <= 0:
            return None
        ours = denominations(rest, keyset.keys)
        return keep_swap(
            self._kit, connection, keyset, chosen, ours=ours, fee=fee, kind="consolidate", plan={}
        )

    def _choose(self, unit: str, inputs: int, connection: Connection) -> list[bytes]:
        """Tokens for one request, none when there is nothing to gain any more."""
        coins = purse.coins(connection, unit)
        fees = fees_ppk(connection, unit)
        if _gain(coins, fees) < ENOUGH:
            return []
        most = min(inputs, len(coins))
        for _ in range(TRIES):
            sample = self._chance.sample(coins, self._chance.randint(math.ceil(most / 2), most))
            if _gain(sample, fees) >= max(ENOUGH, len(sample) // 4):
                return [coin.y for coin in sample]
        smallest = coins[-most:]
        return [coin.y for coin in smallest] if _gain(smallest, fees) >= ENOUGH else []


def _units(unit: str | None, done: Collection[str], connection: Connection) -> list[str]:
    units = [item.unit for item in purse.balances(connection)]
    return [each for each in units if each and unit in {None, each} and each not in done]


def _gain(coins: Sequence[Coin], fees: Mapping[str, int]) -> int:
    """How many tokens fewer it makes to swap these."""
    rest = sum(coin.amount for coin in coins) - selection.fee_of(coins, fees)
    return len(coins) - rest.bit_count() if rest > 0 else 0


def _count(connection: Connection) -> int:
    return sum(item.proofs for item in purse.balances(connection))
