"""Claiming what keys have earned elsewhere, and what is kept of workers and strangers."""

import asyncio
import hashlib
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.secp256k1 import public_key
from roles.runtime.storage import Database
from roles.wallet import identity, readout
from roles.wallet.claiming import Claimed, claim
from roles.wallet.errors import KeyNotHeld
from roles.wallet.readout import Stranger, Worker
from roles.wallet.schema import MIGRATIONS
from roles.wallet.strangers import Strangers
from roles.wallet.worker_meters import WorkerMeters
from tests.roles.wallet.conftest import Home, Told
from tests.roles.wallet.fake_mint import FakeMint

BROUGHT = bytes(31) + b"\x2a"
KEY = public_key(BROUGHT)


def pay(mint: FakeMint, key: bytes, number: int, amount: int) -> None:
    mint.pay(key, hashlib.sha256(number.to_bytes(4, "big")).digest(), amount)


async def test_what_the_keys_of_the_seed_have_earned_elsewhere_is_minted(home: Home, mint: FakeMint) -> None:
    wallet = await home.open()
    alice, bob = await wallet.key_for("alice"), await wallet.key_for("bob")
    for number, key in enumerate((alice, alice, bob)):
        pay(mint, key.public_key, number, 5)
    told: list[str] = []
    assert await claim(wallet, progress=told.append) == Claimed(2, 3, 15, 0, 15)
    assert told[0].startswith("asking http")
    assert told[1] == "3 new quotes"
    assert await claim(wallet) == Claimed(2, 0, 0, 0, 15)
    workers = await wallet.kit.database.read(readout.workers)
    assert [(worker.name, worker.minted, worker.shares) for worker in workers] == [
        ("alice", 10, 2),
        ("bob", 5, 1),
    ]


async def test_a_key_that_is_none_of_the_seeds_is_brought_for_once(home: Home, mint: FakeMint) -> None:
    wallet = await home.open()
    pay(mint, KEY, 1, 9)
    assert await claim(wallet) == Claimed(0, 0, 0, 0, 0)
    assert await claim(wallet, BROUGHT) == Claimed(1, 1, 9, 0, 9)
    pay(mint, KEY, 2, 4)
    assert await claim(wallet, BROUGHT) == Claimed(1, 1, 4, 0, 13)
    (worker,) = await wallet.kit.database.read(readout.workers)
    assert (worker.key_index, worker.name, worker.minted) == (-1, None, 13)
    alice = await wallet.key_for("alice")
    assert alice.key_index == 0
    assert await wallet.is_of_its_seed()
    assert (await claim(wallet, bytes(31) + b"\x2b")).minted == 0
    assert await wallet.kit.database.read(identity.next_index) == 1


async def test_a_key_of_the_seed_may_be_brought_too(home: Home, mint: FakeMint) -> None:
    wallet = await home.open()
    alice = await wallet.key_for("alice")
    pay(mint, alice.public_key, 1, 3)
    assert await claim(wallet, wallet.kit.keyring.quote_secret(0)) == Claimed(1, 1, 3, 0, 3)


async def test_quotes_of_a_key_that_was_brought_wait_until_it_is_brought_again(
    home: Home, mint: FakeMint
) -> None:
    wallet = await home.open()
    pay(mint, KEY, 1, 9)
    brought = await wallet.kit.database.write(lambda c: identity.bring(c, KEY, 0))
    wallet.kit.keyring.bring(brought.key_index, BROUGHT)
    assert await wallet.discovery.look_up_all() == (1, 1)
    wallet.kit.database.close()
    wallet = await home.open()
    with pytest.raises(KeyNotHeld, match="brought before") as refused:
        await claim(wallet)
    assert "--secret" in refused.value.hint
    assert BROUGHT.hex() not in str(refused.value)
    assert (await claim(wallet, BROUGHT)).minted == 9


async def test_a_store_of_the_first_schema_has_its_workers_sums_added_up(tmp_path: Path) -> None:
    path = tmp_path / "wallet.sqlite"
    async with Database.open(path, MIGRATIONS[:1]):
        pass
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("INSERT INTO identity VALUES (0, ?, ?, 0)", (b"alice", KEY))
        old.execute("INSERT INTO identity VALUES (1, ?, ?, 0)", (b"bob", b"\x02" * 33))
        for number, state in enumerate(("minted", "minted", "pending", "dropped")):
            old.execute(
                "INSERT INTO quote (share_hash, key_index, amount, unit, source, state, due_ms, noticed_ms)"
                " VALUES (?, 0, ?, 'u', 'notice', ?, 0, 0)",
                (bytes((number,)) * 32, number + 1, state),
            )
    async with Database.open(path, MIGRATIONS) as database:
        alice, bob = await database.read(readout.workers)
        assert (alice.minted, alice.waiting, alice.shares) == (3, 3, 3)
        assert (bob.minted, bob.waiting, bob.shares) == (0, 0, 0)


async def test_what_strangers_earned_is_added_up_over_restarts(home: Home) -> None:
    wallet = await home.open()
    for ehash in (5, 6):
        wallet.strangers.heard(KEY, "rig", ehash)
    await wallet.strangers.keep(1)
    await wallet.strangers.keep(2)
    wallet.strangers.heard(KEY, "rig", 1)
    wallet.strangers.heard(KEY, "other", 2)
    await wallet.strangers.keep(3)
    wallet.kit.database.close()
    wallet = await home.open()
    told = await wallet.kit.database.read(readout.strangers)
    assert [(each.name, each.ehash, each.shares) for each in told] == [("rig", 12, 3), ("other", 2, 1)]


async def test_what_strangers_earned_last_is_kept_when_the_wallet_ends(home: Home) -> None:
    wallet = await home.open(worker_metrics=5)
    running = asyncio.create_task(wallet.run())
    wallet.strangers.heard(KEY, "rig", 5)
    await asyncio.sleep(0)
    wallet.strangers.heard(KEY, "rig", 6)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (told,) = await wallet.kit.database.read(readout.strangers)
    assert (told.ehash, told.shares) == (11, 2)


async def test_a_running_wallet_shows_its_workers(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open(worker_metrics=5)
    await tell(wallet, 1, 7)
    await wallet.minter.mint_due()
    running = asyncio.create_task(wallet.run())
    while home.metric("worker_ehash", worker="alice", state="minted") != 7:
        await asyncio.sleep(0.005)
    running.cancel()


async def test_only_so_many_strangers_are_kept_apart(home: Home) -> None:
    wallet = await home.open()
    strangers = Strangers(wallet.kit.database, 2)
    for name in ("a", "b", "c", "a"):
        strangers.heard(KEY, name, 1)
    await strangers.keep(1)
    strangers.heard(KEY, "d", 1)
    await strangers.keep(2)
    told = await wallet.kit.database.read(readout.strangers)
    assert {each.name: each.shares for each in told} == {"a": 2, "b": 1}


async def test_what_strangers_earned_is_not_lost_when_the_store_fails(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    wallet = await home.open()
    strangers = wallet.strangers

    async def fail(_: object) -> None:
        strangers.heard(KEY, "rig", 2)
        raise OSError

    strangers.heard(KEY, "rig", 1)
    with monkeypatch.context() as failing:
        failing.setattr(wallet.kit.database, "write", fail)
        with pytest.raises(OSError):
            await strangers.keep(1)
    await strangers.keep(1)
    (told,) = await wallet.kit.database.read(readout.strangers)
    assert (told.ehash, told.shares) == (3, 2)


def test_the_workers_that_earned_most_have_metrics_of_their_own() -> None:
    registry = CollectorRegistry()
    meters = WorkerMeters(registry, 2)

    def value(worker: str, state: str) -> float | None:
        labels = {"worker": worker, "state": state}
        return registry.get_sample_value("hashpool_wallet_worker_ehash", labels)

    workers = [Worker(index, f"w{index}", "", 10 * index, 1, 1) for index in range(4)]
    strangers = [Stranger("\x1bevil", "", 1_000, 1), Stranger("", "", 1, 1)]
    for _ in range(2):
        meters.show(workers, strangers)
        assert value("?evil", "foreign") == 1_000
        assert (value("w3", "minted"), value("w3", "waiting")) == (30, 1)
        assert (value("(others)", "minted"), value("(others)", "waiting")) == (30, 3)
        assert value("(others)", "foreign") == 1
        assert value("w1", "minted") is None
    meters.show([], [])
    assert value("w3", "minted") is None


def test_no_worker_has_metrics_where_none_are_wanted() -> None:
    registry = CollectorRegistry()
    WorkerMeters(registry, 0).show([Worker(0, "a", "", 1, 1, 1)], [])
    assert (
        registry.get_sample_value("hashpool_wallet_worker_ehash", {"worker": "a", "state": "minted"}) is None
    )
