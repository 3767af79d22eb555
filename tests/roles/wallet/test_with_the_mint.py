"""The wallet against the project's own mint over HTTP: notices, look-up, poison, restore."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256d
from roles.wallet import purse
from roles.wallet.restore import restore
from roles.wallet.wallet import Wallet
from tests.roles.mint.conftest import url
from tests.roles.mint.house import NOW, House, open_house
from tests.roles.wallet.conftest import Clock, Home

__all__ = ["url"]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A mint; the wallet does not see which engine it has."""
    opened = await open_house(tmp_path)
    yield opened
    opened.signatory.close()
    await asyncio.to_thread(opened.database.close)


@pytest.fixture
async def home(tmp_path: Path, url: str) -> AsyncIterator[Home]:
    async with AsyncExitStack() as stack:
        yield Home(tmp_path, url, Clock(NOW * 1000), stack)


async def credit(house: House, wallet: Wallet, *amounts: int, told: bool = True) -> None:
    """Shares of alice's, credited by the issuer and told of by the pool."""
    alice = await wallet.key_for("alice")
    rows = [house.row(amount, key=alice.public_key) for amount in amounts]
    await house.settle(house.frame(rows))
    for row, amount in zip(rows, amounts, strict=True):
        if told:
            wallet.notice(alice.key_index, sha256d(row.header), amount, house.unit)


async def balance(wallet: Wallet) -> int:
    return sum(item.amount for item in await wallet.kit.database.read(purse.balances))


async def test_credits_become_tokens_in_one_request(house: House, home: Home) -> None:
    wallet = await home.open()
    await credit(house, wallet, 1, 2, 5, 9)
    await wallet.minter.mint_due()
    assert await balance(wallet) == 17
    assert home.metric("requests_total", result="answered") == 1


async def test_untold_credits_are_found_and_minted(house: House, home: Home) -> None:
    wallet = await home.open()
    await credit(house, wallet, *[3] * 30, told=False)
    assert await wallet.discovery.look_up_all() == (1, 30)
    await wallet.minter.mint_due()
    assert await balance(wallet) == 90
    assert await wallet.discovery.look_up_all() == (1, 0)


async def test_a_poisoned_notice_spoils_nothing_but_itself(house: House, home: Home) -> None:
    wallet = await home.open()
    await credit(house, wallet, 4, 4)
    wallet.notice(0, b"\xee" * 32, 7, house.unit)
    await wallet.minter.mint_due()
    for _ in range(4):
        home.clock.advance(70)
        await wallet.minter.mint_due()
    assert await balance(wallet) == 8
    assert home.metric("alarms_total", kind="dropped") == 1


async def test_an_answer_lost_with_the_store_is_found_again_by_the_seed(house: House, home: Home) -> None:
    wallet = await home.open("first")
    await credit(house, wallet, 6, 7)
    await wallet.minter.mint_due()
    await credit(house, wallet, 8, told=False)
    second = await home.open("second")
    result = await restore(second)
    assert (result.balance, result.quotes) == (21, 1)
    assert await balance(second) == 21


async def test_two_wallets_of_one_seed_pass_each_others_counters(house: House, home: Home) -> None:
    first, second = await home.open("first"), await home.open("second")
    await credit(house, first, 3)
    await first.minter.mint_due()
    await credit(house, second, 5)
    await second.minter.mint_due()
    home.clock.advance(2)
    await second.minter.mint_due()
    assert await balance(second) == 8
