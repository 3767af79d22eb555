"""Each class of miners starts where it should, is asked what it can do, and is warned of what it cannot."""

from collections.abc import Awaitable, Callable
from fractions import Fraction
from typing import Any

import pytest

from protocols.bitcoin.target import MAX_TARGET, from_difficulty
from protocols.ehash.key_text import encode_key
from protocols.sv2.mining import OpenMiningChannelError
from roles.stratum import lodger as lodger_module
from tests.roles.translator import scripted_proxy

House = Any
Build = Callable[..., Any]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
Leap = Callable[[float], None]
KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
DIFFICULTY_RATE = 2**32 / 10
"""Hashes a second of a miner that finds a share of difficulty 1 in ten seconds."""


async def introduce(house: House, agent: str, *more: dict[str, Any], password: str = "x") -> Any:
    """A miner that is let in, whose work may be too hard for it."""
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": [agent]},
        *more,
        {"id": 2, "method": "mining.authorize", "params": ["rig", password]},
        {"id": 9, "method": "mining.ping", "params": []},
    )
    miner.listen()
    await miner.reply(9)
    assert (await miner.reply(2))["result"] is True
    return miner


def suggest(difficulty: Any) -> dict[str, Any]:
    return {"id": 3, "method": "mining.suggest_difficulty", "params": [difficulty]}


@pytest.mark.parametrize(
    ("agent", "start", "least"),
    [
        ("bitaxe/BM1370/v2.15.0", 1024, 0),
        ("bitaxe/BM1370/v2.13.0", 1024, 1),
        ("NerdMinerV2/V1.8.3", 0.0005, 0),
        ("cpuminer/2.5.1", 0.02, 0),
        ("Antminer S19/1", 16384, 0),
        ("NiceHash/1.0.0", 524288, 524288),
        ("unheard of", 1024, 0),
    ],
)
async def test_without_one_start_for_all_a_miner_starts_where_its_class_does(
    build: Build, agent: str, start: float, least: int
) -> None:
    house = await build(start_difficulty=None)
    await introduce(house, agent)
    channel = house.proxy.opened[0]
    assert channel.hash_rate == pytest.approx(start * DIFFICULTY_RATE, rel=1e-6)
    assert channel.max_target == (from_difficulty(Fraction(least)) if least else MAX_TARGET)


async def test_one_start_for_all_is_for_all(build: Build) -> None:
    house = await build(start_difficulty=0.5)
    for agent in ("NiceHash/1.0.0", "NerdMinerV2/V1.8.3", ""):
        await introduce(house, agent)
        channel = house.proxy.opened[-1]
        assert channel.hash_rate == pytest.approx(0.5 * DIFFICULTY_RATE, rel=1e-6)
        assert channel.max_target == MAX_TARGET


@pytest.mark.parametrize("start", [None, 0.5])
async def test_the_first_suggestion_is_start_and_floor_and_later_ones_are_signs_of_life(
    build: Build, start: float | None
) -> None:
    house = await build(start_difficulty=start)
    miner = await introduce(house, "bitaxe/BM1370/v2.15.0", suggest(8), suggest(64))
    channel = house.proxy.opened[0]
    assert channel.hash_rate == pytest.approx(8 * DIFFICULTY_RATE, rel=1e-6)
    assert channel.max_target == from_difficulty(Fraction(8))
    miner.write(suggest(2), {"id": 10, "method": "mining.ping", "params": []})
    await miner.reply(10)
    await house.proxy.connection.expect_silence()
    assert channel.updates == []


async def test_a_suggestion_after_the_opening_changes_rate_and_floor_at_once(build: Build) -> None:
    house = await build(start_difficulty=None)
    miner = await introduce(house, "NerdMinerV2/V1.8.3")
    miner.write(suggest(0.00015), suggest(0.00015), {"id": 10, "method": "mining.ping", "params": []})
    await miner.reply(10)
    await house.proxy.connection.expect_silence()
    (update,) = house.proxy.opened[0].updates
    assert update.nominal_hash_rate == pytest.approx(0.00015 * DIFFICULTY_RATE, rel=1e-6)
    assert update.maximum_target == from_difficulty(Fraction(0.00015))


async def test_the_password_goes_before_a_suggestion(build: Build) -> None:
    house = await build(start_difficulty=None)
    await introduce(house, "bitaxe/BM1370/v2.15.0", password="x,d=4096")
    channel = house.proxy.opened[0]
    assert channel.hash_rate == pytest.approx(4096 * DIFFICULTY_RATE, rel=1e-6)
    assert channel.max_target == from_difficulty(Fraction(4096))


async def test_buyers_of_hash_rate_start_high_whatever_they_suggest(build: Build) -> None:
    house = await build(start_difficulty=None)
    await introduce(house, "NiceHash/1.0.0", suggest(1))
    channel = house.proxy.opened[0]
    assert channel.hash_rate == pytest.approx(524_288 * DIFFICULTY_RATE, rel=1e-6)
    assert channel.max_target == from_difficulty(Fraction(524_288))


async def test_a_least_difficulty_that_upstream_cannot_give_is_given_up(build: Build) -> None:
    house = await build(start_difficulty=None)
    opened = house.proxy._open
    house.proxy._open = lambda message: (
        opened(message)
        if message.max_target == MAX_TARGET
        else house.proxy.connection.say(OpenMiningChannelError(message.request_id, "max-target-out-of-range"))
    )
    await introduce(house, "NiceHash/1.0.0")
    assert house.proxy.opened[0].max_target == MAX_TARGET


async def test_a_coinbase_too_long_for_a_miner_is_said_once_and_counted(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await build()
    output = bytes.fromhex("00f2052a01000000") + b"\xc8" + b"\x51" * 200
    suffix = bytes.fromhex("feffffff" + "01") + output + bytes(4)
    monkeypatch.setattr(scripted_proxy, "SUFFIX", suffix)
    small = await house.miner(agent="NerdMinerV2/V1.8.3")
    large = await house.miner(agent="whatsminer/1")
    house.proxy.new_job()
    for miner in (small, large):
        await miner.until(lambda miner=miner: len(miner.jobs) == 2)
        assert (await miner.mine())["result"] is True
    shown = [line["params"] for line in small.lines if line.get("method") == "client.show_message"]
    size = len(scripted_proxy.PREFIX) + 20 + len(suffix)
    assert shown == [[f"The pool's coinbase has {size} bytes; this miner may take 255 only"]]
    assert all(line.get("method") != "client.show_message" for line in large.lines)
    assert house.count("translator_outgrown_total") == 1


async def test_miners_are_told_why_they_are_released(build: Build, upstream: Any) -> None:
    house = await build(hold_s=0.1)
    miner = await house.miner()
    upstream.is_down = True
    house.proxy.restart()
    await miner.until(lambda: miner.is_gone)
    assert miner.lines[-1]["method"] == "client.show_message"


async def test_a_person_is_told_of_a_hold_that_lasts_and_of_no_short_one(
    build: Build, upstream: Any, eventually: Eventually, leap: Leap
) -> None:
    house = await build(hold_s=None)
    miner = await house.miner()

    def shown() -> list[dict[str, Any]]:
        return [line for line in miner.lines if line.get("method") == "client.show_message"]

    old = miner.jobs[-1].id
    house.proxy.restart()
    await miner.until(lambda: miner.jobs[-1].id != old)
    assert not shown()
    upstream.is_down = True
    house.proxy.restart()
    await eventually(lambda: not house.client.is_connected)
    leap(lodger_module.HOLD_TOLD_S)
    await miner.until(shown)
    assert "The pool is away" in shown()[0]["params"][0]
    upstream.is_down = False
    old = miner.jobs[-1].id
    await miner.until(lambda: miner.jobs[-1].id != old)
    assert (await miner.mine())["result"] is True
    assert len(shown()) == 1


async def test_a_person_is_told_once_why_a_name_may_not_mine(house: House) -> None:
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["k=nonsense", "x"]},
        {"id": 3, "method": "mining.authorize", "params": ["k=nonsense", "x"]},
    )
    miner.listen()
    assert (await miner.reply(3))["error"][0] == 24
    assert [line.get("method") for line in miner.lines] == [None, None, "client.show_message", None]
    assert miner.lines[2]["params"][0].startswith("This name may not mine: Invalid key")
    early = await house.connect()
    early.write({"id": 2, "method": "mining.authorize", "params": ["k=nonsense", "x"]})
    early.listen()
    await early.reply(2)
    assert [line.get("method") for line in early.lines] == [None]


async def test_a_peer_whose_names_are_all_refused_is_cut(build: Build, leap: Leap) -> None:
    house = await build(authorize_s=60.0, tick_s=0.01)
    working = await house.miner()
    stray = await house.connect()
    stray.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["k=nonsense", "x"]},
    )
    stray.listen()
    assert (await stray.reply(2))["error"][0] == 24
    leap(60.0)
    await stray.until(lambda: stray.is_gone)
    assert (await working.mine())["result"] is True


@pytest.mark.parametrize("user", [f"{encode_key(KEY)}%2Erig", f"{encode_key(KEY)}.rig"])
async def test_a_percent_encoded_name_is_read_as_it_was_meant(house: House, user: str) -> None:
    await house.miner(user=user, agent="whatsminer/v1.1")
    assert house.proxy.opened[0].identity == f"{encode_key(KEY)}.rig"
    (miner,) = house.translator
    assert miner.identity.key == KEY
