"""Clients that keep a row of mint processes busy and check every answer: sats are minted, swapped, melted,
restored and looked at; shares are credited, minted and swapped.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from protocols.cashu.denominations import split
from protocols.cashu.models import Proof
from tests.functional.mint_peer import Basket, Wallet
from tests.functional.mint_row import MintRow, is_pending
from tests.functional.sat_wallet import SatWallet, Send, points

Answered = tuple[str, object, Any]
"""Path, body and answer of a request that changed something."""

KEPT: Final = 10
"""How many answers each client remembers, to ask again at the end."""
MELTED: Final = 3
"""Sats of each payment."""
PAYING_S: Final = 60.0
"""A mint that has no turn for longer than `respond_s` tells a payment as pending; then it is asked again."""


@dataclass
class SatClient:
    """Does what `chance` says with its sats, and counts them; `done` tells how often it did what."""

    wallet: SatWallet
    chance: random.Random
    tokens: list[Proof] = field(default_factory=list)
    owned: int = 0
    done: Counter[str] = field(default_factory=Counter)
    answered: list[Answered] = field(default_factory=list)
    _last: tuple[Basket, Any] | None = None

    async def work(self, over: asyncio.Event) -> None:
        """Until it is over."""
        while not over.is_set():
            if self.owned < 4 * MELTED:
                await self._mint()
            else:
                await self.chance.choice(
                    [self._mint, self._swap, self._swap, self._melt, self._restore, self._check]
                )()
            assert sum(proof.amount for proof in self.tokens) == self.owned

    async def _mint(self) -> None:
        self.tokens += await self.wallet.tokens(1, 2, 4, 8)
        self.owned += 15
        self.done["mint"] += 1

    async def _swap(self) -> None:
        given, self.tokens = self.tokens[:8], self.tokens[8:]
        amounts = list(split(sum(proof.amount for proof in given)))
        # A part is changed into small ones.
        big = amounts.pop()
        amounts += [big] if big == 1 or self.chance.random() < 0.5 else [big // 2] * 2
        basket = self.wallet.wallet.basket(*sorted(amounts))
        body = self.wallet.wallet.swap(given, basket)
        answer = await self._send("/v1/swap", body)
        self.tokens += self.wallet.wallet.open(basket, answer)
        self._last = basket, answer
        self.done["swap"] += 1

    async def _melt(self) -> None:
        quote = await self.wallet.melt_quote(MELTED)
        self.tokens.sort(key=lambda proof: proof.amount, reverse=True)
        given: list[Proof] = []
        while sum(proof.amount for proof in given) < MELTED + quote["fee_reserve"]:
            given.append(self.tokens.pop())
        basket = self.wallet.wallet.basket(1, 1, 1, 1)
        body = self.wallet.wallet.swap(given, basket) | {"quote": quote["quote"]}
        answer = await self._send("/v1/melt/bolt11", body)
        async with asyncio.timeout(PAYING_S):
            while is_pending(answer):
                self.done["pending"] += 1
                answer = await self._send("/v1/melt/bolt11", body)
        assert answer["state"] == "PAID", answer
        back = self.wallet.change(basket, answer)
        self.owned -= sum(proof.amount for proof in given) - sum(proof.amount for proof in back)
        self.tokens += back
        self.done["melt"] += 1

    async def _restore(self) -> None:
        if self._last is not None:
            basket, answer = self._last
            found = await self.wallet.send("/v1/restore", {"outputs": basket.to_json()})
            assert found["signatures"] == answer["signatures"]
            self.done["restore"] += 1

    async def _check(self) -> None:
        assert set(await self.states()) == {"UNSPENT"}
        self.done["check"] += 1

    async def states(self) -> list[str]:
        """What the mint says of its tokens."""
        told = await self.wallet.send("/v1/checkstate", {"Ys": points(self.tokens)})
        return [each["state"] for each in told["states"]]

    async def _send(self, path: str, body: object) -> Any:
        answer = await self.wallet.send(path, body)
        self.answered = [*self.answered[1 - KEPT :], (path, body, answer)]
        return answer


@dataclass
class MinerClient:
    """Has shares credited, one after the other, mints and swaps them."""

    row: MintRow
    wallet: Wallet
    send: Send
    tokens: list[Proof] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    answered: list[Answered] = field(default_factory=list)

    async def work(self, over: asyncio.Event) -> None:
        """Until it is over."""
        while not over.is_set():
            share = await self.row.credit(self.row.issuers[0], 8, self.wallet.key)
            minted = self.wallet.basket(4, 4)
            claim = self.wallet.claim(self.wallet.quote(share), minted)
            tokens = self.wallet.open(minted, await self._send("/v1/mint/ehash", claim))
            fresh = self.wallet.basket(8)
            answer = await self._send("/v1/swap", self.wallet.swap(tokens, fresh))
            self.tokens += self.wallet.open(fresh, answer)
            self.done["share"] += 1

    async def states(self) -> list[str]:
        """What the mint says of its newest tokens."""
        told = await self.send("/v1/checkstate", {"Ys": points(self.tokens[-500:])})
        return [each["state"] for each in told["states"]]

    async def _send(self, path: str, body: object) -> Any:
        answer = await self.send(path, body)
        self.answered = [*self.answered[1 - KEPT :], (path, body, answer)]
        return answer
