"""Many clients at once, on one mint process with SQLite and on two with PostgreSQL: every token is spent
once, and whoever insists on a request gets its signatures, whatever is killed meanwhile.
"""

import asyncio
import json
import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from protocols.cashu.curve import secret_point
from protocols.cashu.models import Proof
from tests.functional.mint_peer import Basket, Wallet
from tests.functional.mint_row import Engine, MintRow, mint_row

LONG: Final = bool(os.environ.get("HASHPOOL_TEST_LONG"))
pytestmark = [pytest.mark.functional, pytest.mark.timeout(7200 if LONG else 180)]

CROWD: Final = 200
ROUNDS: Final = 1000 if LONG else 3
KILLS: Final = 300 if LONG else 6
CLIENTS: Final = 6
SPENT: Final = {11001, 11002}


def open_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=30)
    )


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_of_200_swaps_of_one_token_at_once_exactly_one_succeeds(tmp_path: Path, engine: Engine) -> None:
    with mint_row(tmp_path, engine, 2) as row:
        await row.start()
        async with open_session() as session:
            wallet = await row.wallet(session)
            left: list[Proof] = []
            for _ in range(ROUNDS):
                if not left:
                    left = await fresh_tokens(row, session, wallet, [1] * min(ROUNDS, 100))
                await race(row, session, wallet, left.pop())
        row.audit()


async def fresh_tokens(
    row: MintRow, session: aiohttp.ClientSession, wallet: Wallet, amounts: list[int]
) -> list[Proof]:
    share = await row.credit(row.issuers[0], sum(amounts), wallet.key)
    basket = wallet.basket(*amounts)
    body = wallet.claim(wallet.quote(share), basket)
    return wallet.open(basket, await row.insist(session, "/v1/mint/ehash", body))


async def race(row: MintRow, session: aiohttp.ClientSession, wallet: Wallet, proof: Proof) -> None:
    async def swap(number: int, body: bytes) -> tuple[int, Any]:
        url = row.url(row.mints[number % len(row.mints)])
        while True:
            async with session.post(f"{url}/v1/swap", data=body) as reply:
                if reply.status != 503:
                    return reply.status, await reply.json()
            await asyncio.sleep(0.05)

    bodies = [json.dumps(wallet.swap([proof], wallet.basket(1))).encode() for _ in range(CROWD)]
    answers = await asyncio.gather(*(swap(number, body) for number, body in enumerate(bodies)))
    granted = [number for number, (status, _) in enumerate(answers) if status == 200]
    assert len(granted) == 1, granted
    codes = {answer["code"] for status, answer in answers if status != 200}
    assert codes <= SPENT, codes
    # The identical request is no second swap.
    again = await swap(granted[0] + 1, bodies[granted[0]])
    assert again == (200, answers[granted[0]][1])


@dataclass
class Client:
    """Swaps what it has, again and again, and remembers what it was answered."""

    row: MintRow
    session: aiohttp.ClientSession
    wallet: Wallet
    tokens: list[Proof]
    answered: list[tuple[object, Any]] = field(default_factory=list)

    async def work(self, over: asyncio.Event) -> None:
        shapes = [(4, 4), (8,), (4, 2, 1, 1)]
        number = 0
        while not over.is_set():
            basket: Basket = self.wallet.basket(*shapes[number % len(shapes)])
            number += 1
            body = self.wallet.swap(self.tokens, basket)
            answer = await self.row.insist(self.session, "/v1/swap", body)
            self.tokens = self.wallet.open(basket, answer)
            self.answered.append((body, answer))


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_kills_at_random_moments_under_load_lose_and_double_nothing(
    tmp_path: Path, engine: Engine
) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    with mint_row(tmp_path, engine, 2) as row:
        await row.start()
        async with open_session() as session:
            wallet = await row.wallet(session)
            clients = [
                Client(row, session, wallet, await fresh_tokens(row, session, wallet, [8]))
                for _ in range(CLIENTS)
            ]
            over = asyncio.Event()
            working = [asyncio.create_task(client.work(over)) for client in clients]
            for number in range(KILLS):
                await asyncio.sleep(chance.uniform(0.02, 0.4))
                await kill_something(row, chance, number)
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
                for body, answer in client.answered[-10:]:
                    assert await row.insist(session, "/v1/swap", body) == answer
            held = [proof for client in clients for proof in client.tokens]
            assert sum(proof.amount for proof in held) == 8 * CLIENTS
            points = [secret_point(proof.secret).hex() for proof in held]
            states = (await row.insist(session, "/v1/checkstate", {"Ys": points}))["states"]
            assert {state["state"] for state in states} == {"UNSPENT"}
        row.audit()


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
