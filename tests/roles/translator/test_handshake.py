"""Every order in which firmware introduces itself, and what it may not be surprised by."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from protocols.ehash.key_text import encode_key
from protocols.ehash.messages import EXTENSION
from protocols.sv2.tlv import Tlv

House = Any
Build = Callable[..., Any]
Profile = Any
KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")

CONFIGURE = {
    "id": "c",
    "method": "mining.configure",
    "params": [["version-rolling"], {"version-rolling.mask": "ffffffff"}],
}
SUBSCRIBE = {"id": "s", "method": "mining.subscribe", "params": ["x/1"]}
AUTHORIZE = {"id": "a", "method": "mining.authorize", "params": ["alice", "x"]}
SUGGEST = {"id": "d", "method": "mining.suggest_difficulty", "params": [1e-12]}
XNSUB = {"id": "x", "method": "mining.extranonce.subscribe", "params": []}


@pytest.mark.parametrize("split", [False, True], ids=["one-segment", "line-by-line"])
@pytest.mark.parametrize(
    "order",
    list(itertools.permutations([CONFIGURE, SUBSCRIBE, AUTHORIZE, XNSUB])),
    ids=lambda order: "".join(m["id"] for m in order),
)
async def test_any_order_of_requests_ends_in_work(
    house: House, order: tuple[dict[str, Any], ...], split: bool
) -> None:
    miner = await house.connect()
    miner.listen()
    if split:
        for message in order:
            miner.write(message)
            await miner.writer.drain()
    else:
        miner.write(*order)
    miner.subscribed(await miner.reply("s"))
    assert (await miner.reply("a"))["result"] is True
    assert (await miner.reply("c"))["result"] == {
        "version-rolling": True,
        "version-rolling.mask": "1fffe000",
    }
    miner.mask = 0
    assert (await miner.mine())["result"] is True
    ids = [line["id"] for line in miner.lines if line["id"] is not None]
    methods = [line.get("method") for line in miner.lines]
    # Nothing unasked for comes before the subscription, and a name is never answered before it.
    assert ids.index("s") < ids.index("a")
    first_notice = next(n for n, method in enumerate(methods) if method)
    assert first_notice > next(n for n, line in enumerate(miner.lines) if line["id"] == "s")
    others = [message["id"] for message in order if message["id"] != "a"]
    assert [id for id in ids if id in others] == others
    assert house.proxy.bad == []


async def test_a_name_that_waits_for_its_answer_before_subscribing_gets_one(house: House) -> None:
    miner = await house.connect()
    miner.listen()
    miner.write(AUTHORIZE)
    assert (await miner.reply("a"))["result"] is True
    miner.write(SUBSCRIBE)
    miner.subscribed(await miner.reply("s"))
    assert (await miner.mine())["result"] is True


async def test_names_before_a_subscription_are_bounded(house: House) -> None:
    miner = await house.connect()
    miner.listen()
    miner.write(*({**AUTHORIZE, "id": n} for n in range(10)), SUBSCRIBE)
    await miner.reply(7)
    assert miner.replies["8"]["error"] == miner.replies["9"]["error"] == [25, "Not subscribed", None]
    assert all(miner.replies[str(n)]["result"] is True for n in range(8))


async def test_the_failback_probe_of_bitaxe_finds_what_it_looks_for(house: House) -> None:
    """One read of at most 1,023 bytes after subscribe and authorize, searched for `mining.notify`."""
    house.proxy._open = lambda message: None
    miner = await house.connect()
    miner.write(SUBSCRIBE, AUTHORIZE)
    assert b"mining.notify" in await miner.reader.read(1023)


async def test_a_second_subscribe_gets_the_same_values(house: House) -> None:
    miner = await house.miner()
    miner.write({**SUBSCRIBE, "id": 8})
    assert (await miner.reply(8))["result"] == miner.replies["1"]["result"]
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize(
    "id", [0, -1, 34406, 1 << 31, 1 << 64, "abc", "", None, 1.5, True], ids=lambda id: json.dumps(id)
)
async def test_any_id_comes_back_as_it_was(house: House, id: Any) -> None:
    miner = await house.miner()
    miner.write({"id": id, "method": "mining.ping", "params": []})
    reply = await miner.reply(id)
    assert reply["result"] == "pong"
    assert type(reply["id"]) is type(id)


async def test_configure_answers_what_was_asked_for_and_nothing_else(house: House) -> None:
    miner = await house.miner()
    miner.write(
        {
            "id": 9,
            "method": "mining.configure",
            "params": [
                ["minimum-difficulty", "subscribe-extranonce", "info", "mystery", "version-rolling"],
                {
                    "minimum-difficulty.value": 4,
                    "version-rolling.mask": "00c00000",
                    "version-rolling.min-bit-count": 2,
                },
            ],
        }
    )
    assert (await miner.reply(9))["result"] == {
        "minimum-difficulty": True,
        "subscribe-extranonce": True,
        "info": True,
        "mystery": False,
        "version-rolling": True,
        "version-rolling.mask": "00c00000",
    }
    assert house.proxy.connection is not None
    miner.write(
        {
            "id": 10,
            "method": "mining.configure",
            "params": [["version-rolling"], {"version-rolling.mask": "0000001f"}],
        }
    )
    assert (await miner.reply(10))["result"] == {"version-rolling": False}


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":4,"method":"mining.suggest_difficulty","params":[0.00015]}\n',
        b'{"id":4,"method":"mining.suggest_difficulty(1024","params":[]}\n',
        b'{"id":4,"method":"mining.suggest_target","params":["' + b"0" * 63 + b'1"]}\n',
        b'{"id":4,"method":"mining.suggest_difficulty","params":["what"]}\n',
        b'{"id":4,"method":"client.get_version","params":[]}\n',
        b'{"id":4,"method":"pong","params":[]}\n',
        b'{"id":4,"result":"cgminer/4.12","error":null}\n',
        b"{}\n",
        b"\r\n",
    ],
)
async def test_some_lines_want_no_answer_and_get_none(house: House, line: bytes) -> None:
    miner = await house.miner()
    miner.write(line, {"id": 77, "method": "mining.multi_version", "params": [1]})
    assert (await miner.reply(77))["result"] is True
    assert "4" not in miner.replies


async def test_old_bitaxes_are_told_whole_difficulties_only(house: House, bitaxe: Profile) -> None:
    old = await house.connect(bitaxe, agent="bitaxe/BM1366/v2.13.2")
    old.write(SUBSCRIBE | {"params": [old.agent]}, AUTHORIZE)
    old.listen = lambda: None
    lines = [json.loads(await old.reader.readline()) for _ in range(4)]
    assert lines[2]["params"] == [1]
    new = await house.miner(bitaxe)
    assert new.jobs[-1].difficulty < 1


async def test_a_key_travels_with_the_channel(house: House) -> None:
    text = encode_key(KEY)
    tlv = (Tlv(EXTENSION, 1, KEY),)
    for user, password, tlvs in (
        (f"{text}.rig", "x", tlv),
        ("rig", f"x,k={text}", tlv),
        ("rig", f"d=1;k={KEY.hex()}", tlv),
        ("rig", "x", ()),
    ):
        seen: list[Any] = []
        opened = house.proxy._open
        house.proxy._open = lambda message, opened=opened, seen=seen: (
            seen.append(house.proxy.connection.tlvs),
            opened(message),
        )
        house.proxy.target = (1 << 256) - 1
        miner = await house.connect()
        miner.write(SUBSCRIBE, AUTHORIZE | {"params": [user, password]})
        miner.listen()
        await miner.reply("a")
        house.proxy._open = opened
        assert seen == [tlvs]
        assert house.proxy.opened[-1].identity == user


async def test_without_the_extension_a_key_from_the_password_goes_as_text(build: Build) -> None:
    house = await build()
    house.client._session.extensions = frozenset()
    text = encode_key(KEY)
    await house.miner(user="rig", password=f"k={KEY.hex()}")
    await house.miner(user=f"{text}.two", password="x")
    assert [channel.identity for channel in house.proxy.opened] == [f"{text}.rig", f"{text}.two"]


async def test_a_password_is_in_no_log_and_no_metric(house: House, caplog: pytest.LogCaptureFixture) -> None:
    from prometheus_client import generate_latest

    caplog.set_level("DEBUG")
    await (await house.miner(password="hunter2,d=1e-12")).mine()
    house.proxy.restart()
    assert "hunter2" not in caplog.text
    assert b"hunter2" not in generate_latest(house.registry)
