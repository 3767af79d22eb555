"""Many clients at once, on one mint process with SQLite and on two with PostgreSQL: none is refused what is
its own, and whoever insists on a request gets its signatures, whatever is killed meanwhile.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from protocols.cashu.models import Proof
from tests.functional.mint_clients import MinerClient, SatClient
from tests.functional.mint_peer import Wallet
from tests.functional.mint_row import Engine, MintRow, mint_row
from tests.functional.sat_wallet import SatWallet, Send

LONG: Final = bool(os.environ.get("HASHPOOL_TEST_LONG"))
pytestmark = [pytest.mark.functional, pytest.mark.timeout(7200 if LONG else 180)]

KILLS: Final = 300 if LONG else 6
STEADY_S: Final = 600 if LONG else 1
CLIENTS: Final = 16
QUICK: Final = {"bolt11__call_s": "1", "bolt11__pay_s": "1"}
"""How long a payment that a killed process may have sent is waited for."""


def open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30)
    )


async def clients_of(
    row: MintRow, session: aiohttp.ClientSession, send: Send, chance: random.Random, number: int
) -> list[SatClient | MinerClient]:
    """One that mines, and others with sats."""
    sats = [
        SatClient(await SatWallet.begin(row, session, send), random.Random(chance.random()))
        for _ in range(number - 1)
    ]
    return [MinerClient(row, await row.wallet(session), send), *sats]


def drawn() -> random.Random:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    return random.Random(seed)


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_of_the_requests_of_sixteen_clients_none_fails(tmp_path: Path, engine: Engine) -> None:
    chance = drawn()
    with mint_row(tmp_path, engine, 2) as row:
        await row.start()
        async with open_session() as session:
            clients = await clients_of(row, session, partial(row.ask, session), chance, CLIENTS)
            over = asyncio.Event()
            asyncio.get_running_loop().call_later(STEADY_S, over.set)
            async with asyncio.TaskGroup() as working:
                for client in clients:
                    working.create_task(client.work(over))
            for client in clients:
                assert set(await client.states()) <= {"UNSPENT"}
        row.audit()
    print(f"{STEADY_S} s of {CLIENTS} clients on {engine}: {told(clients)}")


def told(clients: Sequence[SatClient | MinerClient]) -> dict[str, int]:
    """What they have done together."""
    return dict(sum((client.done for client in clients), Counter[str]()))


async def fresh_tokens(
    row: MintRow, session: aiohttp.ClientSession, wallet: Wallet, amounts: list[int]
) -> list[Proof]:
    share = await row.credit(row.issuers[0], sum(amounts), wallet.key)
    basket = wallet.basket(*amounts)
    body = wallet.claim(wallet.quote(share), basket)
    return wallet.open(basket, await row.insist(session, "/v1/mint/ehash", body))


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_kills_at_random_moments_under_load_lose_and_double_nothing(
    tmp_path: Path, engine: Engine
) -> None:
    chance = drawn()
    began = time.monotonic()
    with mint_row(tmp_path, engine, 2, settings=QUICK) as row:
        await row.start()
        async with open_session() as session:
            send = partial(row.insist, session)
            clients = await clients_of(row, session, send, chance, CLIENTS // 2)
            over = asyncio.Event()
            working = [asyncio.create_task(client.work(over)) for client in clients]
            for number in range(KILLS):
                await asyncio.sleep(chance.uniform(0.02, 0.4))
                await kill_something(row, chance, number)
                if number % 50 == 49:
                    seconds = time.monotonic() - began
                    print(f"{number + 1} kills in {seconds:.0f} s: {told(clients)}", flush=True)
            for mint in row.mints:
                # One that found no server when it started has said so and ended.
                if not mint.is_running:
                    mint.start()
            await asyncio.gather(*(mint.ready() for mint in row.mints))
            over.set()
            async with asyncio.timeout(60):
                await asyncio.gather(*working)
            for client in clients:
                assert client.answered
                for path, body, answer in client.answered:
                    assert await send(path, body) == answer
                assert set(await client.states()) <= {"UNSPENT"}
        row.audit()
        journal = (row.mints[0].state / "fake_lightning.jsonl").read_text().splitlines()
    paid = [json.loads(line)["hash"] for line in journal]
    assert len(set(paid)) == len(paid) == told(clients)["melt"], "each payment is sent once"
    print(f"{KILLS} kills on {engine}: {told(clients)}")


async def kill_something(row: MintRow, chance: random.Random, number: int) -> None:
    if row.postgres is not None and number % 3 == 2:
        await asyncio.to_thread(chance.choice([row.postgres.kill, row.postgres.stop_at_once]))
        await asyncio.sleep(chance.uniform(0, 0.3))
        await asyncio.to_thread(row.postgres.start)
        return
    mint = chance.choice(row.mints)
    assert mint.process is not None
    if mint.is_running:
        mint.process.send_signal(signal.SIGKILL)
        await mint.ended()
    mint.start()
    if chance.random() < 0.7:
        # Else it is killed while it starts.
        await mint.ready()


async def test_while_postgresql_is_away_a_mint_says_so_and_wallets_are_told_to_come_again(
    tmp_path: Path,
) -> None:
    with mint_row(tmp_path, "postgresql", 1) as row:
        await row.start()
        (mint,) = row.mints
        assert row.postgres is not None
        async with open_session() as session:
            wallet = await row.wallet(session)
            tokens = await fresh_tokens(row, session, wallet, [8])
            basket = wallet.basket(4, 4)
            body = wallet.swap(tokens, basket)
            await asyncio.to_thread(row.postgres.stop_at_once)
            async with session.post(f"{row.url(mint)}/v1/swap", data=json.dumps(body)) as reply:
                assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
            async for _ in mint.polls("to say that its store is away"):
                if "store" in await mint.reasons():
                    break
            assert "PostgreSQL" in (await mint.reasons())["store"]
            await asyncio.to_thread(row.postgres.start)
            await mint.ready()
            answer = await row.insist(session, "/v1/swap", body)
            assert len(wallet.open(basket, answer)) == 2
        row.audit()
