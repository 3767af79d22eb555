"""A wallet of many keys looks for quotes beside the work of its miners."""

import asyncio
import hashlib
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from protocols.cashu import lookup
from roles.wallet import discovery
from roles.wallet.errors import MintRefused
from tests.roles.wallet.conftest import Home
from tests.roles.wallet.fake_mint import FakeMint

KEYS = 60
PORTION = 50
PAUSE_S = 0.05


async def test_others_have_their_turn_while_a_wallet_of_many_keys_signs_its_look_up(
    home: Home, mint: FakeMint, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await home.open()
    workers = [await wallet.key_for(f"worker{number}") for number in range(KEYS)]
    mint.pay(workers[-1].public_key, hashlib.sha256(b"1").digest(), 5)
    turn, signed = 0, Counter[int]()
    sign = lookup.sign

    def counting(secret: bytes, mint_key: bytes, key: bytes, timestamp: int, entropy: bytes) -> bytes:
        signed[turn] += 1
        return sign(secret, mint_key, key, timestamp, entropy)

    async def take_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(lookup, "sign", counting)
    turns = asyncio.create_task(take_turns())
    assert await wallet.discovery.look_up_all() == (KEYS, 1)
    turns.cancel()
    await asyncio.wait({turns})
    assert sum(signed.values()) == KEYS
    assert max(signed.values()) <= KEYS // 2


async def test_a_wallet_of_many_keys_asks_for_a_few_at_a_time_and_finds_what_no_notice_told_of(
    home: Home, mint: FakeMint, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await home.open(lookup_interval=PAUSE_S)
    workers = [await wallet.key_for(f"worker{number}") for number in range(KEYS)]
    loop, asked = asyncio.get_running_loop(), list[tuple[float, int]]()
    look_up = wallet.kit.mint.look_up

    async def noting(signed: list[tuple[bytes, bytes]], *arguments: Any, **named: Any) -> Any:
        asked.append((loop.time(), len(signed)))
        return await look_up(signed, *arguments, **named)

    monkeypatch.setattr(wallet.kit.mint, "look_up", noting)
    monkeypatch.setattr(discovery, "_KEYS_PER_SECOND", PORTION / PAUSE_S)
    looking = asyncio.create_task(wallet.discovery.run())
    async with asyncio.timeout(20):
        while len(asked) < 4:
            await asyncio.sleep(0.001)
        mint.pay(workers[-1].public_key, hashlib.sha256(b"1").digest(), 5)
        while not home.metric("quotes_found_total"):
            await asyncio.sleep(0.001)
    looking.cancel()
    await asyncio.wait({looking})
    at_start, after = asked[:2], asked[1:]
    assert sum(count for _, count in at_start) == KEYS
    assert {count for _, count in after} == {PORTION, KEYS - PORTION}
    assert all(later - earlier > 0.9 * PAUSE_S for (earlier, _), (later, _) in pairwise(after))


async def test_keys_that_the_mint_refuses_keep_no_others_from_being_asked_for(
    home: Home, mint: FakeMint, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await home.open(lookup_interval=PAUSE_S)
    workers = [await wallet.key_for(f"worker{number}") for number in range(KEYS)]
    first, look_up = workers[0].public_key, wallet.kit.mint.look_up

    async def refusing(signed: list[tuple[bytes, bytes]], *arguments: Any, **named: Any) -> Any:
        if any(key == first for key, _ in signed):
            raise MintRefused(0, "not these")
        return await look_up(signed, *arguments, **named)

    monkeypatch.setattr(wallet.kit.mint, "look_up", refusing)
    monkeypatch.setattr(discovery, "_KEYS_PER_SECOND", PORTION / PAUSE_S)
    mint.pay(workers[-1].public_key, hashlib.sha256(b"1").digest(), 5)
    looking = asyncio.create_task(wallet.discovery.run())
    async with asyncio.timeout(20):
        while not home.metric("quotes_found_total"):
            await asyncio.sleep(0.001)
    looking.cancel()
    await asyncio.wait({looking})
