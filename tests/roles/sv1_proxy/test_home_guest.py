"""Miners of the miner-side instance: their keys, and their names at pools that give ehash and at others."""

import asyncio
from collections.abc import Awaitable, Callable
from fractions import Fraction
from functools import partial
from hashlib import sha256
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry, Counter

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.key_text import decode_key, encode_key
from protocols.sv1.errors import ErrorCode, Rejection
from roles.runtime.errors import StorageError
from roles.stratum.errors import NamesFull
from roles.stratum.miner_identity import MinerIdentity
from roles.sv1_proxy.accounts import Accounts
from roles.sv1_proxy.home_guest import Home, HomeGuest
from roles.wallet.errors import IdentityLimitError
from roles.wallet.gleaning import Gleaning
from roles.wallet.key_desk import KeyDesk, Owner
from shared_config.address import Address
from shared_config.sv1_upstream import Sv1PoolSettings
from tests.roles.translator.test_resume import Returning

Build = Callable[..., Any]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
FOREIGN = public_key(b"\x07" * 32)


class FakeKeys:
    """A wallet's keys, made of names; it refuses and waits as a test has it."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.is_free = asyncio.Event()
        self.is_free.set()

    def key(self, user: str) -> bytes:
        return public_key(sha256(user.encode()).digest())

    async def owner(self, user: str, key: bytes | None) -> Owner:
        await self.is_free.wait()
        if self.fault is not None:
            raise self.fault
        return Owner(self.key(user or "miner"), 1) if key is None else Owner(key, None)


class FakeGleaning:
    """Hears whose shares went to a pool."""

    def __init__(self) -> None:
        self.heard: list[Owner] = []

    def worked(self, owner: Owner) -> None:
        self.heard.append(owner)


class Family:
    """What the miners of a house have in common, in fakes."""

    def __init__(self) -> None:
        self.keys = FakeKeys()
        self.gleaning = FakeGleaning()
        pools = (
            Sv1PoolSettings(address=Address("127.0.0.1", 1), name="first"),
            Sv1PoolSettings(address=Address("127.0.0.1", 2), name="plain", user="us.{worker}", password="y"),
            Sv1PoolSettings(address=Address("127.0.0.1", 3), name="alone", user="account"),
        )
        accounts = Accounts(pools, "miner")
        refused = Counter("refused", "names", registry=CollectorRegistry())
        self.home = Home(cast("KeyDesk", self.keys), accounts, cast("Gleaning", self.gleaning), refused)


@pytest.fixture
def family() -> Family:
    return Family()


@pytest.fixture
async def house(build: Build, family: Family) -> Any:
    return build(make=partial(HomeGuest, family.home), own_shares_per_minute=0.0)


async def test_each_worker_is_let_in_by_its_own_name_with_a_key_of_its_own(
    house: Any, family: Family
) -> None:
    for user in ("rig1", "rig2"):
        miner = await house.miner(user=user)
        assert (await miner.mine())["result"] is True
        assert house.trunk.shares[-1][0] == user
    keys = {user: decode_key(word.removeprefix("k=")) for user, word in house.trunk.names.items()}
    assert keys == {user: family.keys.key(user) for user in ("rig1", "rig2")}
    assert [owner.key for owner in family.gleaning.heard] == list(keys.values())


async def test_a_miner_that_brings_its_key_has_it_in_its_name_too(house: Any, family: Family) -> None:
    ours = await house.miner(user="rig")
    theirs = await house.miner(user="rig", password=f"k={FOREIGN.hex()}")
    for miner in (ours, theirs):
        assert (await miner.mine())["result"] is True
    text = encode_key(FOREIGN)
    assert house.trunk.names == {
        "rig": f"k={encode_key(family.keys.key('rig'))}",
        f"{text}.rig": f"k={text}",
    }
    assert family.gleaning.heard[-1] == Owner(FOREIGN, None)


async def test_two_connections_of_one_worker_share_its_name_until_both_have_left(
    house: Any, eventually: Eventually
) -> None:
    house.trunk.answers_names = False
    first, second = await house.connect(user="rig"), await house.connect(user="rig")
    for miner in (first, second):
        miner.write(
            {"id": 1, "method": "mining.subscribe", "params": []},
            {"id": 2, "method": "mining.authorize", "params": ["rig", "x"]},
        )
        miner.listen()
    await eventually(lambda: sum(guest.owner is not None for guest in house.relay) == 2)
    assert len(house.trunk.waiting) == 1
    house.trunk.answer()
    for miner in (first, second):
        assert (await miner.reply(2))["result"] is True
    house.relay.keep_sessions(0, 0)
    await first.close()
    await eventually(lambda: len(house.relay) == 1)
    assert "rig" in house.trunk.names
    await second.close()
    await eventually(lambda: not house.trunk.names)


async def test_a_late_connection_of_a_worker_hears_the_pools_word_at_once(house: Any) -> None:
    await house.miner(user="rig")
    house.trunk.answers_names = False
    await house.miner(user="rig")
    house.trunk.refusals["mallory"] = Rejection(ErrorCode.UNAUTHORIZED, "go away")
    house.trunk.answers_names = True
    bad = await house.connect()
    bad.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["mallory", "x"]},
    )
    bad.listen()
    assert (await bad.reply(2))["error"] == [24, "Refused upstream: go away", None]


async def test_another_pool_knows_miners_by_the_account_there_and_gives_nothing_to_look_for(
    house: Any, family: Family
) -> None:
    miner = await house.miner(user="rig")
    assert (await miner.mine())["result"] is True
    house.trunk.lose()
    house.trunk.come_back(pool="plain")
    old = miner.jobs[-1].params
    await miner.until(lambda: miner.jobs[-1].params != old)
    assert (await miner.mine())["result"] is True
    assert house.trunk.names == {"us.rig": "y"}
    assert house.trunk.shares[-1][0] == "us.rig"
    assert len(family.gleaning.heard) == 1
    house.trunk.lose()
    house.trunk.come_back(pool="alone")
    await miner.until(lambda: house.trunk.names == {"account": "x"})


async def test_a_name_that_is_let_in_no_more_keeps_its_socket(house: Any, eventually: Eventually) -> None:
    miner = await house.miner(user="rig")
    house.trunk.refusals["rig"] = Rejection(ErrorCode.UNAUTHORIZED, "no more")
    (entry,) = house.relay
    entry.told(house.trunk.refusals["rig"])
    await eventually(lambda: any(b"show_message" in line for line in miner.raw))
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (IdentityLimitError("the wallet keeps keys for 3 user identities and no more"), "no more"),
        (StorageError("disk full"), "store does not work"),
    ],
)
async def test_without_a_key_nobody_works(house: Any, family: Family, fault: Exception, text: str) -> None:
    family.keys.fault = fault
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["rig", "x"]},
    )
    miner.listen()
    assert text in (await miner.reply(2))["error"][1]
    await miner.until(lambda: miner.is_gone)


async def test_more_names_than_the_pool_may_be_told_of_are_refused(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise NamesFull("the pool was told of 3 workers on one connection")

    monkeypatch.setattr(house.trunk, "authorize", full)
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["rig", "x"]},
    )
    miner.listen()
    assert "3 workers" in (await miner.reply(2))["error"][1]


async def test_a_miner_that_leaves_while_its_key_is_looked_for_leaves_nothing(
    house: Any, family: Family, eventually: Eventually
) -> None:
    family.keys.is_free.clear()
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["rig", "x"]},
    )
    miner.listen()
    await eventually(lambda: any(guest.identity for guest in house.relay))
    await miner.close()
    await eventually(lambda: not len(house.relay))
    family.keys.is_free.set()
    await eventually(lambda: not house.trunk.seats_taken)
    assert house.trunk.names == {}


async def test_a_resumed_miner_keeps_its_name_and_another_on_its_session_does_not(
    house: Any, eventually: Eventually
) -> None:
    first = await house.miner(Returning, user="alice")
    assert (await first.mine())["result"] is True
    await first.close()
    await eventually(lambda: house.relay.parked == 1)
    second = await house.miner(Returning, session=first.session, user="alice", counter=100)
    assert (await second.mine())["result"] is True
    assert list(house.trunk.names) == ["alice"]
    await second.close()
    await eventually(lambda: house.relay.parked == 1)
    third = await house.miner(Returning, session=first.session, user="bob", counter=200)
    assert (await third.mine())["result"] is True
    assert list(house.trunk.names) == ["bob"]


async def test_two_keys_on_one_connection_are_one_too_many(house: Any) -> None:
    miner = await house.miner(user="rig")
    miner.write({"id": 9, "method": "mining.authorize", "params": ["rig2", "x"]})
    assert (await miner.reply(9))["result"] is True
    miner.write({"id": 10, "method": "mining.authorize", "params": ["rig3", f"k={FOREIGN.hex()}"]})
    assert (await miner.reply(10))["error"][1] == "Another key on the same connection"


async def test_shares_that_meet_the_miners_own_difficulty_alone_are_answered_here(
    build: Build, family: Family
) -> None:
    house = build(make=partial(HomeGuest, family.home), own_shares_per_minute=300.0)
    house.trunk.difficulty = Fraction(1, 1 << 12)
    house.trunk.work()
    miner = await house.miner(user="rig")
    assert miner.difficulty < house.trunk.difficulty
    for _ in range(5):
        assert (await miner.mine())["result"] is True
    tally = house.relay.totals
    assert tally.local + tally.accepted == 5
    assert tally.local > 0
    assert len(house.trunk.shares) == tally.accepted


def test_names_hold_what_a_pool_takes_and_passwords_are_not_shown(family: Family) -> None:
    long = MinerIdentity("é" * 127, None, key_in_user=False, floor=None)
    name = family.home.accounts.name("plain", long, FOREIGN)
    assert len(name.user.encode()) <= 255
    assert "k=" not in repr(family.home.accounts.name("first", long, FOREIGN))
    nobody = MinerIdentity("", None, key_in_user=False, floor=None)
    assert family.home.accounts.name("plain", nobody, FOREIGN).user == "us.miner"
