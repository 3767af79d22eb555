import json
import random

import pytest

from roles.wallet import history, purse
from roles.wallet.consolidation import Consolidation
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Home, Told
from tests.roles.wallet.fake_mint import UNIT, FakeMint


async def held(wallet: Wallet) -> list[int]:
    return [coin.amount for coin in await wallet.kit.database.read(lambda c: purse.coins(c, UNIT))]


async def many(home: Home, tell: Told, count: int) -> Wallet:
    wallet = await home.open(batch=1)
    for number in range(count):
        await tell(wallet, number, 1 + number % 7)
    await wallet.minter.mint_due()
    return wallet


@pytest.mark.parametrize("seed", range(3))
async def test_many_tokens_become_few_in_bounded_requests_at_random_times(
    home: Home, mint: FakeMint, tell: Told, seed: int
) -> None:
    wallet = await many(home, tell, 60)
    before = await held(wallet)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    chance = random.Random(seed)
    consolidation = Consolidation(wallet.kit, wallet.exchanger, chance=chance, sleep=sleep)
    told: list[str] = []
    done = await consolidation.consolidate(inputs=20, pause_s=3.0, progress=told.append)
    after = await held(wallet)
    assert sum(after) == sum(before)
    assert (done.before, done.after) == (len(before), len(after))
    assert len(after) < len(before) / 3
    sizes = [len(json.loads(body)["inputs"]) for path, body in mint.seen if path == "/v1/swap"]
    assert len(sizes) == done.requests == len(told)
    assert max(sizes) <= 20
    assert len(set(sizes)) > 1
    assert len(pauses) == done.requests - 1
    assert len(set(pauses)) == len(pauses)
    events = await wallet.kit.database.read(lambda c: history.events(c, 1000))
    assert sum(event.amount for event in events) == sum(after)
    assert sum(event.kind == "consolidate" for event in events) == done.requests
    assert (await consolidation.consolidate(inputs=20)).requests == 0


async def test_it_ends_where_requests_of_few_tokens_gain_nothing(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    wallet = await many(home, tell, 20)
    done = await wallet.consolidation.consolidate(inputs=2, pause_s=0)
    assert done.requests == 0
    assert done.before == done.after


async def test_a_unit_that_the_mint_refuses_is_left_alone_and_one_that_was_closed_goes_on(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    wallet = await many(home, tell, 40)
    (keyset,) = mint.keysets.values()
    keyset.active = False
    told: list[str] = []
    done = await wallet.consolidation.consolidate(pause_s=0, progress=told.append)
    assert done.requests == 0
    assert "stays as it is" in told[-1]
    assert done.before == done.after
    mint.add_keyset(UNIT, index=1)
    done = await wallet.consolidation.consolidate(pause_s=0)
    assert done.after < done.before / 3
