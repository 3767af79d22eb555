"""One token, 200 requests at once that spend it: swaps, and melts whose payments succeed, fail or take their
time. Exactly one is granted, on one mint process with SQLite and on two with PostgreSQL.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import pytest

from protocols.cashu.models import Proof
from tests.functional.mint_row import Engine, MintRow, mint_row
from tests.functional.sat_wallet import SatWallet, points

LONG: Final = bool(os.environ.get("HASHPOOL_TEST_LONG"))
pytestmark = [pytest.mark.functional, pytest.mark.timeout(7200 if LONG else 180)]

CROWD: Final = 200
ROUNDS: Final = 1000 if LONG else 3
SPENT: Final = {11001, 11002}
FAILED: Final = 20004
PAYING: Final = ("", "fake: pending 0.02")
FAILING: Final = ("fake: failed", "fake: pending 0.02 failed")
NO_FEES: Final = {
    "bolt11__fee_reserve_ppm": "0",
    "bolt11__fee_reserve_min": "0",
    "bolt11__melt_quote_s": "86400",
}


@dataclass(frozen=True)
class Attempt:
    """A request that wants the token: a swap for an output, or a melt for a quote; `kind` is what the fake
    node is told, None for a swap.
    """

    kind: str | None
    what: str
    body: bytes

    @property
    def path(self) -> str:
        return "/v1/swap" if self.kind is None else "/v1/melt/bolt11"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any

    @property
    def granted(self) -> bool:
        if self.status == 200 and "state" in self.body:
            assert self.body["state"] == "PAID", self.body
        return self.status == 200


class Arena:
    """Sends crowds to a row; outputs and quotes of those who lose are used again, as they were never."""

    def __init__(self, row: MintRow, session: aiohttp.ClientSession, wallet: SatWallet) -> None:
        self.row = row
        self.wallet = wallet
        self.seen: Counter[str] = Counter()
        self._session = session
        self._urls = [row.url(mint) for mint in row.mints]
        self._free: dict[str | None, list[str]] = {kind: [] for kind in (None, *PAYING, *FAILING)}

    async def crowd(self, proof: Proof, kinds: Sequence[str | None]) -> list[Attempt]:
        """An attempt of each kind upon a token."""
        await self._provide(Counter(kinds))
        token = orjson.dumps(proof.to_json()).decode()
        crowd = []
        for kind in kinds:
            what = self._free[kind].pop()
            rest = f'"outputs":[{what}]' if kind is None else f'"quote":"{what}"'
            crowd.append(Attempt(kind, what, f'{{"inputs":[{token}],{rest}}}'.encode()))
        return crowd

    async def race(self, crowd: Sequence[Attempt]) -> tuple[Attempt, Answer] | None:
        """Send all at once; who was granted the token, if anybody was."""
        answers = await asyncio.gather(*(self.send(number, each) for number, each in enumerate(crowd)))
        granted = []
        for attempt, answer in zip(crowd, answers, strict=True):
            if answer.granted:
                assert attempt.kind not in FAILING, answer
                granted.append((attempt, answer))
                self.seen["swapped" if attempt.kind is None else "paid"] += 1
                continue
            assert answer.status == 400, answer
            code = answer.body["code"]
            assert code in (SPENT | {FAILED} if attempt.kind in FAILING else SPENT), (attempt.kind, answer)
            self.seen[str(code)] += 1
            self._free[attempt.kind].append(attempt.what)
        assert len(granted) <= 1, granted
        return granted[0] if granted else None

    async def send(self, number: int, attempt: Attempt) -> Answer:
        """The answer of one of the processes, which may ask to come again."""
        url = self._urls[number % len(self._urls)] + attempt.path
        while True:
            async with self._session.post(url, data=attempt.body) as reply:
                if reply.status != 503:
                    return Answer(reply.status, orjson.loads(await reply.read()))
            await asyncio.sleep(0.05)

    async def _provide(self, kinds: Counter[str | None]) -> None:
        for kind, number in kinds.items():
            free = self._free[kind]
            missing = max(0, number - len(free))
            if kind is None:
                outputs = self.wallet.wallet.basket(*[1] * missing).to_json()
                free += [orjson.dumps(output).decode() for output in outputs]
            else:
                quotes = await asyncio.gather(*(self.wallet.melt_quote(1, kind) for _ in range(missing)))
                free += [quote["quote"] for quote in quotes]


def draw(chance: random.Random, number: int) -> list[str | None]:
    """Who takes part in a round, in the order of sending: first swaps alone, then payments, then failures;
    later anybody. A swap is the faster one, so that melts are often ahead.
    """
    if number == 0:
        return [None] * CROWD
    if number == 1:
        return chance.choices(PAYING, k=CROWD)
    if number == 2:
        return chance.choices(FAILING, k=CROWD)
    melts = chance.choice([0, CROWD // 2, CROWD - 10, CROWD])
    kinds: list[str | None] = [None] * (CROWD - melts)
    kinds += chance.choices(chance.sample([*PAYING, *FAILING], 3), k=melts)
    if chance.random() < 0.5:
        chance.shuffle(kinds)
    else:
        kinds.reverse()
    return kinds


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_of_200_swaps_and_melts_of_one_token_at_once_exactly_one_succeeds(
    tmp_path: Path, engine: Engine
) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    began = time.monotonic()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=60)
    with mint_row(tmp_path, engine, 2, settings=NO_FEES) as row:
        await row.start()
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            wallet = await SatWallet.begin(row, session, lambda path, body: row.insist(session, path, body))
            arena = Arena(row, session, wallet)
            left: list[Proof] = []
            for number in range(ROUNDS):
                if not left:
                    left = await wallet.tokens(*[1] * min(ROUNDS, 100))
                await play(arena, left.pop(), draw(chance, number))
                if number % 100 == 99:
                    print(
                        f"{number + 1} rounds in {time.monotonic() - began:.0f} s: {dict(arena.seen)}",
                        flush=True,
                    )
        row.audit()
    assert arena.seen["swapped"] + arena.seen["paid"] == ROUNDS
    # That somebody meets a token which is pending is likely, and certain only in many rounds.
    certain = ["swapped", "paid", "freed", "11001", *(["11002"] if LONG else [])]
    assert min(arena.seen[each] for each in certain) > 0, arena.seen
    print(f"{ROUNDS} rounds of {CROWD} on {engine}: {dict(arena.seen)}")


async def play(arena: Arena, proof: Proof, kinds: Sequence[str | None]) -> None:
    """One round: exactly one is granted, and only the same request is ever granted again."""
    crowd = await arena.crowd(proof, kinds)
    won = await arena.race(crowd)
    if won is None:
        # A payment held the token and failed: it is free again, and another one gets it.
        assert set(kinds) & set(FAILING)
        arena.seen["freed"] += 1
        assert await state(arena, proof) == "UNSPENT"
        crowd = await arena.crowd(proof, [None, *PAYING] * 4)
        won = await arena.race(crowd)
    assert won is not None
    attempt, answer = won
    assert await arena.send(1 + crowd.index(attempt), attempt) == answer
    late = next(each for each in crowd if each is not attempt)
    refused = await arena.send(0, late)
    assert (refused.status, refused.body["code"]) == (400, 11001)
    assert await state(arena, proof) == "SPENT"


async def state(arena: Arena, proof: Proof) -> str:
    (told,) = (await arena.wallet.send("/v1/checkstate", {"Ys": points([proof])}))["states"]
    return str(told["state"])
