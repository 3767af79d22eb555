"""Quotes of keys that have just worked are found soon, without a word from the pool."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence

import pytest

from protocols.bitcoin.secp256k1 import public_key
from roles.wallet import purse
from roles.wallet.errors import MintUnreachable
from roles.wallet.gleaning import Gleaning
from roles.wallet.identity import Identity
from roles.wallet.key_desk import KeyDesk, Owner
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Home
from tests.roles.wallet.fake_mint import FakeMint

PATIENCE = 30.0


async def balance(wallet: Wallet) -> int:
    return sum(item.amount for item in await wallet.kit.database.read(purse.balances))


@pytest.fixture
async def wallet(home: Home) -> AsyncIterator[Wallet]:
    """A wallet that mints, and looks up by itself once in an hour."""
    opened = await home.open(lookup_interval=3_600.0)
    minting = asyncio.create_task(opened.minter.run())
    yield opened
    minting.cancel()
    await asyncio.wait({minting})


async def until_balance(wallet: Wallet, wanted: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while await balance(wallet) != wanted:
            await asyncio.sleep(0.005)


async def test_what_a_miner_has_earned_is_minted_soon_after_it_worked(wallet: Wallet, mint: FakeMint) -> None:
    desk, gleaning = KeyDesk(wallet, "miner"), Gleaning(wallet, 0.01)
    owner = await desk.owner("alice", None)
    running = asyncio.create_task(gleaning.run())
    mint.pay(owner.key, hashlib.sha256(b"1").digest(), 5)
    gleaning.worked(owner)
    await until_balance(wallet, 5)
    mint.pay(owner.key, hashlib.sha256(b"2").digest(), 7)
    gleaning.worked(owner)
    await until_balance(wallet, 12)
    running.cancel()
    await asyncio.wait({running})


async def test_credit_that_comes_behind_the_first_look_is_found_by_the_second(
    wallet: Wallet, mint: FakeMint, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = await KeyDesk(wallet, "miner").owner("", None)
    assert (await wallet.key_for("miner")).public_key == owner.key
    looks = 0
    look_up = wallet.discovery.look_up

    async def late(identities: Sequence[Identity]) -> int:
        nonlocal looks
        found = await look_up(identities)
        looks += 1
        if looks == 1:
            mint.pay(owner.key, hashlib.sha256(b"3").digest(), 9)
        return found

    monkeypatch.setattr(wallet.discovery, "look_up", late)
    gleaning = Gleaning(wallet, 0.01)
    running = asyncio.create_task(gleaning.run())
    gleaning.worked(owner)
    await until_balance(wallet, 9)
    assert looks == 2
    running.cancel()
    await asyncio.wait({running})


async def test_keys_of_others_are_not_asked_for(wallet: Wallet) -> None:
    key = public_key(b"\x05" * 32)
    owner = await KeyDesk(wallet, "miner").owner("rig", key)
    assert owner == Owner(key, None)
    gleaning = Gleaning(wallet, 0.01)
    gleaning.worked(owner)
    assert not gleaning._looks


async def test_a_mint_that_is_away_is_no_error(wallet: Wallet, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = asyncio.Event()

    async def away(_: object) -> int:
        failed.set()
        raise MintUnreachable("away")

    monkeypatch.setattr(wallet.discovery, "look_up", away)
    gleaning = Gleaning(wallet, 0.01)
    running = asyncio.create_task(gleaning.run())
    gleaning.worked(await KeyDesk(wallet, "miner").owner("alice", None))
    await asyncio.wait_for(failed.wait(), PATIENCE)
    await asyncio.sleep(0)
    assert not running.done()
    running.cancel()
    await asyncio.wait({running})
