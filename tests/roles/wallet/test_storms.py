"""Two wallets trade at random while answers are lost and lives end: nothing is lost, nothing is doubled."""

import asyncio
import os
import random
from functools import partial

import pytest

from protocols.cashu.lock import Lock
from roles.wallet import exchange, handout, history, purse
from roles.wallet.errors import MintError, WalletError
from roles.wallet.locking import drawing
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Home, Told
from tests.roles.wallet.fake_mint import UNIT, FakeMint, lose

STEPS = 40
SEEDS = 100 if os.environ.get("HASHPOOL_TEST_LONG") else 3


class Storm:
    """Two wallets on one mint, and the tokens that are between them."""

    def __init__(self, home: Home, mint: FakeMint, chance: random.Random) -> None:
        self._home = home
        self._mint = mint
        self._chance = chance
        self.wallets: list[Wallet] = []

    async def open(self) -> None:
        """Both wallets, as after a restart."""
        for wallet in self.wallets:
            await asyncio.to_thread(wallet.kit.database.close)
        self.wallets = [await self._home.open("first"), await self._home.open_stranger("second")]

    async def step(self) -> None:
        """One thing that a person does, in whatever weather."""
        self._mint.before = lose if self._chance.random() < 0.15 else None
        self._mint.after = lose if self._chance.random() < 0.25 else None
        self._mint.replays = self._chance.random() < 0.7
        giver, taker = self._chance.sample(self.wallets, 2)
        deeds = [self._give, self._give_locked, self._take, self._take_back, self._merge, self._live_on]
        try:
            await self._chance.choice(deeds)(giver, taker)
        except WalletError:
            pass

    async def settle(self) -> None:
        """Fair weather: everything that is open is carried out."""
        self._mint.before = self._mint.after = None
        await self.open()
        for wallet in self.wallets:
            await wallet.exchanger.settle_open()
        for wallet in self.wallets:
            await wallet.sender.look_after()

    async def _give(self, giver: Wallet, _: Wallet) -> None:
        await giver.sender.send(self._chance.randint(1, 30), "ehash")

    async def _give_locked(self, giver: Wallet, taker: Wallet) -> None:
        key = (await taker.key_for("shop")).public_key
        draw = drawing(Lock((key,)), giver.kit.entropy, blinded=self._chance.random() < 0.5)
        await giver.sender.send(self._chance.randint(1, 30), "ehash", lock=draw)

    async def _take(self, giver: Wallet, taker: Wallet) -> None:
        out = await giver.kit.database.read(handout.still_out)
        if out:
            await taker.receiver.receive(self._chance.choice(out).text or "")

    async def _take_back(self, giver: Wallet, _: Wallet) -> None:
        await self._take(giver, giver)

    async def _merge(self, giver: Wallet, _: Wallet) -> None:
        await giver.consolidation.consolidate(inputs=12, pause_s=0)

    async def _live_on(self, giver: Wallet, taker: Wallet) -> None:
        if self._chance.random() < 0.5:
            await self.open()
        for wallet in self.wallets:
            await wallet.exchanger.settle_open()


async def told_and_held(wallet: Wallet) -> tuple[int, int]:
    events = await wallet.kit.database.read(lambda c: history.events(c, 10_000))
    coins = await wallet.kit.database.read(lambda c: purse.coins(c, UNIT))
    return sum(event.amount for event in events), sum(coin.amount for coin in coins)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_is_lost_on_the_way_every_token_is_with_somebody(
    home: Home, mint: FakeMint, tell: Told, seed: int
) -> None:
    storm = Storm(home, mint, random.Random(seed))
    await storm.open()
    first, _ = storm.wallets
    for number in range(6):
        await tell(first, number, 50)
        await first.minter.mint_due()
    for _ in range(STEPS):
        await storm.step()
    try:
        await storm.settle()
    except MintError as error:
        pytest.fail(f"seed {seed}: {error}")
    whole = 0
    for wallet in storm.wallets:
        told, held = await told_and_held(wallet)
        assert told == held, seed
        assert not await wallet.kit.database.read(exchange.unsettled), seed
        for coin in await wallet.kit.database.read(lambda c: purse.coins(c, UNIT)):
            assert coin.y not in mint.spent, seed
        for out in await wallet.kit.database.read(handout.still_out):
            ys = await wallet.kit.database.read(partial(handout.pending_ys, token_id=out.token_id))
            assert not mint.spent.intersection(ys), seed
            whole += out.amount
        whole += held
    assert whole == mint.issued() == 300, seed
