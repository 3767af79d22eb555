"""What a miner hears of its shares is what the pool said of each: under its own id, once, and in time."""

import asyncio
import json
import os
import random
from collections.abc import Callable
from typing import Any, Final

from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from roles.stratum.cost import CostTerms

Build = Callable[..., Any]

LONG: Final = bool(os.environ.get("HASHPOOL_TEST_LONG"))
SHARES: Final = 10_000 if LONG else 1_000
AT_ONCE: Final = 50
SEED: Final = int(os.environ.get("HASHPOOL_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
HEARD: Final = {
    "": None,
    "stale-share": [21, "Stale", None],
    "duplicate-share": [22, "Duplicate share", None],
    "difficulty-too-low": [23, "Above target", None],
    "invalid-share": [20, "Ntime out of range", None],
    "ledger-full": [20, "ledger-full", None],
}
NO_VERDICT: Final = [20, "No verdict from pool", None]


def share_key(extranonce: bytes, nonce: int) -> tuple[bytes, int]:
    """What tells a share from all others of one connection."""
    return extranonce[-8:], nonce


async def batch(house: Any, miner: Any, count: int) -> dict[Any, tuple[bytes, int]]:
    """Submits shares in one segment, under ids of every kind; returns which id is which share."""
    job = await miner.job()
    asked: dict[Any, tuple[bytes, int]] = {}
    lines = []
    for _ in range(count):
        params = miner.find(job)
        number = miner.next_id()
        id = number if number % 3 else f"share {number}"
        asked[id] = share_key(bytes.fromhex(params[2]), int(params[4], 16))
        lines.append({"id": id, "method": "mining.submit", "params": params})
    miner.write(*lines)
    for id in asked:
        await miner.reply(id)
    return asked


async def test_each_share_gets_the_pools_own_verdict_under_its_own_id(build: Build) -> None:
    print(f"seed {SEED} (HASHPOOL_TEST_SEED)")
    chance = random.Random(SEED)
    house = await build(verdict_s=20.0, cost=CostTerms(1e6))
    said: dict[tuple[bytes, int], str] = {}

    def verdict(share: Any) -> str | None:
        code = chance.choice(list(HEARD)[1:]) if chance.randrange(3) == 0 else ""
        said[share_key(share.extranonce, share.nonce)] = code
        return code or None

    house.proxy.verdict = verdict
    miner = await house.miner()
    heard: dict[tuple[bytes, int], Any] = {}
    for round_number in range(SHARES // AT_ONCE):
        asked = await batch(house, miner, AT_ONCE)
        heard |= {share: miner.replies[json.dumps(id)] for id, share in asked.items()}
        if round_number % 10 == 9:
            before = miner.jobs[-1].id
            house.proxy.new_job(target=(1 << 252 - round_number % 2) - 1)
            await miner.until(lambda before=before: miner.jobs[-1].id != before)
    assert heard.keys() == said.keys()
    for share, code in said.items():
        assert heard[share]["error"] == HEARD[code]
        assert heard[share]["result"] is (None if code else True)
    refused = sum(1 for code in said.values() if code)
    assert len([line for line in miner.lines if line.get("id")]) == SHARES + 2
    assert house.count("translator_shares_total", result="accepted") == SHARES - refused
    assert house.count("translator_shares_total", result="rejected") == refused
    assert house.proxy.bad == []


async def test_no_share_is_answered_true_and_rejected_later(build: Build) -> None:
    """An upstream that stalls, and makes up its mind when its miner has been answered already."""
    print(f"seed {SEED} (HASHPOOL_TEST_SEED)")
    chance = random.Random(SEED)
    house = await build(verdict_s=0.2, cost=CostTerms(1e6))
    silent: dict[tuple[bytes, int], int] = {}
    prompt: set[tuple[bytes, int]] = set()

    def verdict(share: Any) -> str | None:
        key = share_key(share.extranonce, share.nonce)
        # Once it is silent it stays so until the end: its answers come in order.
        if silent or chance.randrange(2 * AT_ONCE) == 0:
            silent[key] = share.sequence_number
            return "silence"
        prompt.add(key)
        return None

    house.proxy.verdict = verdict
    miner = await house.miner()
    heard: dict[tuple[bytes, int], Any] = {}
    for _ in range(SHARES // AT_ONCE // 4):
        asked = await batch(house, miner, AT_ONCE)
        heard |= {share: miner.replies[json.dumps(id)] for id, share in asked.items()}
        channel = house.proxy.opened[0]
        late = dict(silent)
        silent.clear()
        if late:
            accepted = chance.randrange(len(late) + 1)
            for number, sequence in enumerate(late.values()):
                answer = (
                    SubmitSharesSuccess(channel.id, sequence, 1, 1)
                    if number < accepted
                    else SubmitSharesError(channel.id, sequence, "stale-share")
                )
                house.proxy.connection.say(answer)
        for share in late:
            assert heard[share]["error"] == NO_VERDICT
    async with asyncio.timeout(30):
        while house.count("translator_shares_total", result="accepted") + house.count(
            "translator_shares_total", result="rejected"
        ) < len(heard):
            await asyncio.sleep(0.01)
    for share in heard.keys() & prompt:
        # A verdict may come in time and be heard too late on a busy machine, never the other way round.
        assert heard[share]["result"] is True or heard[share]["error"] == NO_VERDICT
    answered = [line["id"] for line in miner.lines if line.get("id")]
    assert len(answered) == len(set(answered)) == len(heard) + 2
    assert house.proxy.bad == []
