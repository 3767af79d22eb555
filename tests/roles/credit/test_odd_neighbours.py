"""Whatever a mint says to an issuer, or an issuer to a mint, neither fails."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from protocols.ehash.messages import ISSUANCE, CreditResults, Credits
from protocols.sv2.codec import Catalogue
from protocols.sv2.connection import MESSAGES as CONNECTION_MESSAGES
from roles.cli.stores import MintStore
from roles.runtime.storage import open_readonly
from tests.fuzz.odd_messages import odd_frame
from tests.roles.credit.money_path import START, World, entry
from tests.roles.credit.wallet import KEYS

ROUNDS: Final = 5_000 if os.environ.get("HASHPOOL_TEST_LONG") else 300
SEED: Final = int(os.environ.get("HASHPOOL_TEST_SEED") or 20_261_122)
RESULTS: Final = Catalogue([*CONNECTION_MESSAGES, CreditResults, Credits])
"""What may come after the hello, in which a mint may rightly move a ledger to another shift."""


def what_means_something(world: World) -> dict[str, list[Any]]:
    """Values of fields near those that are true."""
    last = world.pool.ledger.last_seq
    near = [0, 1, max(0, last - 1), last, last + 1, (1 << 64) - 1]
    return {
        "protocol": [0x45, 0],
        "min_version": [2],
        "max_version": [2],
        "flags": [0],
        "store_id": [world.pool.ledger.store_id],
        "next_seq": near,
        "acked_seq": near,
        "up_to_seq": near,
        "first_seq": near,
        "shift": [0, 0, 1, (1 << 32) - 1],
        "minimum": [2, 2, 0, 255],
        "valuation": [0, 0, 1, 2],
        "time": [0, int(START * 1000), (1 << 64) - 1],
    }


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, bound=None, window=2)
    made.is_honest = False
    await made.start_mint()
    await made.start_pool()
    yield made
    await made.kill_pool()
    await made.kill_mint()


async def play(world: World, side: int, catalogue: Catalogue) -> set[bytes]:
    """Shares come in while one side of the link hears odd messages; returns the shares."""
    print(f"seed {SEED}: {ROUNDS} rounds")
    chance = Random(SEED)
    entered = set()
    for number in range(ROUNDS):
        if number % 20 == 0:
            share = entry(number // 20, 4, KEYS[number % 3])
            entered.add(share.share_hash)
            await world.pool.ledger.append([share])
        if world.link is not None:
            likely = what_means_something(world)
            for _ in range(chance.randint(1, 3)):
                world.link[side].inject(odd_frame(chance, likely, catalogue))
        for _ in range(chance.randint(0, 20)):
            await asyncio.sleep(0)
        check(world)
    return entered


@pytest.mark.timeout(300 + ROUNDS // 20)
async def test_an_issuer_outlives_a_mint_that_says_anything_and_hands_over_when_it_makes_sense(
    world: World, tmp_path: Path
) -> None:
    entered = await play(world, 0, RESULTS)
    # What a mint has made the issuer believe is forgotten with the process at the latest.
    await world.kill_pool()
    await world.start_pool()
    async with asyncio.timeout(60):
        while quotes(tmp_path) != entered:
            check(world)
            await asyncio.sleep(0.01)


@pytest.mark.timeout(300 + ROUNDS // 20)
async def test_a_mint_outlives_an_issuer_that_says_anything(world: World) -> None:
    await play(world, 1, ISSUANCE)


def check(world: World) -> None:
    """Raise what has ended either."""
    world.pool.check()
    if world.mint is not None:
        world.mint.check()


def quotes(directory: Path) -> set[bytes]:
    """The shares that the mint has quotes for."""
    with open_readonly(directory / "mint" / MintStore.FILE) as store:
        return {quote.share_hash for quote in MintStore(store).quotes()}
