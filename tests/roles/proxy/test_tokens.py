import hashlib
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp.test_utils import BaseTestServer, TestServer

from protocols.ehash.messages import QuoteNotice
from protocols.sv2.mining import SubmitSharesSuccess
from roles.runtime.storage import open_readonly
from roles.wallet import purse
from roles.wallet.wallet import STORE_NAME
from tests.roles.proxy.conftest import House, Start, until
from tests.roles.proxy.scripted_pool import ScriptedPool
from tests.roles.wallet.fake_mint import UNIT, FakeMint


@pytest.fixture
async def mint() -> AsyncIterator[tuple[FakeMint, BaseTestServer]]:
    mint = FakeMint(time.time)
    async with TestServer(mint.app()) as server:
        yield mint, server


def balance(house: House) -> int:
    with open_readonly(house.daemon.state / STORE_NAME) as connection:
        return sum(item.amount for item in purse.balances(connection))


async def test_a_share_that_the_pool_gives_notice_of_is_a_token_in_the_wallet(
    start: Start, pool: ScriptedPool, mint: tuple[FakeMint, BaseTestServer]
) -> None:
    fake, server = mint
    house = await start(mint=str(server.make_url("")))
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    share_hash = pool.channel.accepted[0].share_hash
    assert pool.channel.key is not None
    fake.pay(pool.channel.key, share_hash, 16)
    pool.send(QuoteNotice(pool.channel.channel_id, share_hash, 16, UNIT))
    await until(lambda: house.metric("wallet_quotes_minted_total") == 1)
    assert balance(house) == fake.issued() == 16
    assert house.daemon.readiness.ready


async def test_what_the_pool_could_not_tell_of_is_found_when_the_pool_is_back(
    start: Start, pool: ScriptedPool, mint: tuple[FakeMint, BaseTestServer]
) -> None:
    fake, server = mint
    house = await start(mint=str(server.make_url("")))
    miner = await house.miner()
    await miner.open_extended()
    await miner.first_work()
    key = pool.channel.key
    assert key is not None
    await until(lambda: house.metric("wallet_mint_up") == 1)
    await pool.stop()
    for number in range(5):
        fake.pay(key, hashlib.sha256(bytes([number])).digest(), 3)
    await pool.start()
    await until(lambda: house.metric("wallet_quotes_minted_total") == 5)
    assert house.metric("wallet_quotes_found_total") == 5
    assert balance(house) == 15


async def test_a_pool_with_another_mint_is_told_of_and_its_quotes_are_not_asked_of_the_wallets(
    start: Start, pool: ScriptedPool, mint: tuple[FakeMint, BaseTestServer]
) -> None:
    fake, server = mint
    ours = str(server.make_url("")).rstrip("/")
    pool.mint_url = "http://elsewhere.example"
    house = await start(mint=ours)
    miner = await house.miner()
    await miner.open_extended()
    job, tip = await miner.first_work()
    await until(lambda: house.daemon.readiness.ready)
    assert "wallet restore --mint http://elsewhere.example" in house.daemon.readiness.notes["mint"]
    assert house.metric("proxy_other_mint") == 1
    miner.send(miner.mine(job, tip))
    await miner.expect(SubmitSharesSuccess)
    pool.send(QuoteNotice(pool.channel.channel_id, pool.channel.accepted[0].share_hash, 16, UNIT))
    await until(lambda: house.metric("proxy_notices_total", key="wallet") == 1)
    assert house.metric("wallet_notices_total", result="new") == 0
    await pool.stop()
    pool.mint_url = f"{ours}/"
    await pool.start()
    await miner.first_work()
    assert house.metric("proxy_other_mint") == 0
    assert "mint" not in house.daemon.readiness.notes
    assert fake.issued() == 0
