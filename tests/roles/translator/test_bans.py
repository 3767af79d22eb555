"""Miners that the operator turns away, by name and by key."""

from collections.abc import Awaitable, Callable
from typing import Any

from protocols.bitcoin.secp256k1 import public_key
from roles.runtime.ban_list import Bans

Build = Callable[..., Any]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
KEY = public_key(b"\x05" * 32)


async def refused(house: Any, **attributes: str) -> str:
    miner = await house.connect(**attributes)
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": ["fake/1.0"]},
        {"id": 2, "method": "mining.authorize", "params": [miner.user, miner.password]},
    )
    miner.listen()
    reply = await miner.reply(2)
    await miner.until(lambda: miner.is_gone)
    assert reply["error"][0] == 24
    return str(reply["error"][1])


async def test_a_banned_name_or_key_is_told_and_let_go_and_others_are_not(build: Build) -> None:
    house = await build()
    house.translator.bans.replace(Bans(names=frozenset({"mallory"}), keys=frozenset({KEY})))
    assert "operator" in await refused(house, user="mallory.rig")
    assert "operator" in await refused(house, user="bob", password=f"k={KEY.hex()}")
    assert (await (await house.miner(user="bob")).mine())["result"] is True
    assert len(house.proxy.opened) == 1


async def test_a_name_that_is_not_the_first_of_its_connection_is_banned_all_the_same(build: Build) -> None:
    house = await build()
    miner = await house.miner(user="bob")
    miner.write({"id": 77, "method": "mining.authorize", "params": ["mallory.rig", "x"]})
    assert (await miner.reply(77))["result"] is True
    house.translator.bans.replace(Bans(names=frozenset({"mallory"})))
    house.translator.cut_barred()
    await miner.until(lambda: miner.is_gone)


async def test_who_comes_to_be_turned_away_upstream_is_let_go_and_not_held(
    build: Build, eventually: Eventually
) -> None:
    house = await build(hold_s=None)
    miner = await house.miner(user="mallory")
    house.proxy.refusal = "banned-by-operator"
    house.proxy.close_all("banned-by-operator")
    await miner.until(lambda: miner.is_gone)
    await eventually(lambda: len(house.translator) == 0)
    assert house.translator.parked == 0


async def test_who_is_banned_while_mining_is_let_go(build: Build, eventually: Eventually) -> None:
    house = await build()
    bad, good = await house.miner(user="mallory.rig"), await house.miner(user="bob")
    house.translator.bans.replace(Bans(names=frozenset({"mallory"})))
    house.translator.cut_barred()
    await bad.until(lambda: bad.is_gone)
    await eventually(lambda: len(house.translator) == 1)
    assert (await good.mine())["result"] is True
    assert house.translator.parked == 0
