"""A wallet of many keys looks for quotes beside the work of its miners."""

import asyncio
import hashlib
from collections import Counter

import pytest

from protocols.cashu import lookup
from tests.roles.wallet.conftest import Home
from tests.roles.wallet.fake_mint import FakeMint

KEYS = 60


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
