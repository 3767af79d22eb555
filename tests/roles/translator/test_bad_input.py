"""What a careless or hostile SV1 peer may send: each is answered or cut, and nobody else notices."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from protocols.ehash.key_text import encode_key
from roles.stratum.cost import CostTerms
from tests.roles.translator.scripted_proxy import VERDICT_S

House = Any
Build = Callable[..., Any]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]
Leap = Callable[[float], None]
KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
OTHER = bytes.fromhex("02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5")


@pytest.mark.parametrize(
    ("line", "id", "code", "text"),
    [
        (b"hello\n", None, 20, "Not JSON"),
        (b'{"id":1,"method":"mining.authorize","params":["a"b","x"]}\n', None, 20, "Not JSON"),
        (b"{" + b"x" * 9000 + b"\n", None, 20, "Line too long"),
        (b"[1,2]\n", None, 20, "Not an object"),
        (b'{"id":5,"method":7}\n', 5, 20, "Method not a string"),
        (b'{"id":5,"method":"mining.submit","params":{"a":1}}\n', 5, 20, "Params not array"),
        (b'{"id":5,"method":"mining.unheard_of","params":[]}\n', 5, -3, "Method not found"),
        (b'{"id":5,"method":"mining.get_transactions","params":["1"]}\n', 5, 20, "Not supported."),
        (b'{"id":"5","method":"mining.authorize","params":[]}\n', "5", 20, "No user name"),
        (b'{"id":5,"method":"mining.submit","params":[]}\n', 5, 20, "Too few parameters"),
        (
            b'{"id":5,"method":"mining.submit","params":["a","1","zz","1","1"]}\n',
            5,
            20,
            "Invalid extranonce2",
        ),
        (
            b'{"id":5,"method":"mining.submit","params":["a","1","00","1","1"]}\n',
            5,
            20,
            "Wrong extranonce2 size",
        ),
        (b'{"id":5,"method":"mining.submit","params":["a","1",[],1,2,3]}\n', 5, 20, "Invalid extranonce2"),
        (
            b'{"id":5,"method":"mining.submit","params":["a","1","%016x","1","1"]}\n' % 1,
            5,
            20,
            "Ntime out of range",
        ),
        (b'{"id":5,"method":"mining.submit","params":["a",null,"00","1","1"]}\n', 5, 21, "Job not found"),
        (b'{"id":5,"method":"mining.submit","params":["a","zz","00","1","1"]}\n', 5, 21, "Job not found"),
    ],
)
async def test_a_bad_line_is_answered_and_both_miners_go_on(
    house: House, line: bytes, id: Any, code: int, text: str
) -> None:
    other, miner = await house.miner(), await house.miner()
    miner.write(line)
    reply = await miner.reply(id)
    assert reply == {"id": id, "result": None, "error": [code, text, None]}
    assert (await miner.mine())["result"] is True
    assert (await other.mine())["result"] is True
    assert not miner.is_gone
    assert len(house.proxy.opened[1].shares) == 1


async def test_shares_before_subscribe_and_authorize_are_refused(house: House) -> None:
    miner = await house.connect()
    miner.listen()
    share = ["a", "1", "00", "1", "1"]
    miner.write({"id": 1, "method": "mining.submit", "params": share})
    assert (await miner.reply(1))["error"] == [25, "Not subscribed", None]
    miner.write({"id": 2, "method": "mining.subscribe", "params": []})
    await miner.reply(2)
    miner.write({"id": 3, "method": "mining.submit", "params": share})
    assert (await miner.reply(3))["error"] == [24, "Unauthorized worker", None]
    assert house.count("translator_rejected_total", reason="unauthorized") == 1
    assert house.count("translator_rejected_total", reason="unsubscribed") == 1


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: pool\r\n\r\n", "wrong-protocol"),
        (b"\x16\x03\x01\x00\xf4\x01\x00\x00\xf0\x03\x03", "wrong-protocol"),
        (b"PROXY TCP4 1.1.1.1 2.2.2.2 5 6\r\n", "wrong-protocol"),
        (bytes(range(64)), "wrong-protocol"),
    ],
)
async def test_another_protocol_is_cut_without_a_word(house: House, head: bytes, reason: str) -> None:
    other, stray = await house.miner(), await house.connect()
    stray.write(head)
    stray.listen()
    await stray.until(lambda: stray.is_gone)
    assert stray.raw == []
    assert (await other.mine())["result"] is True


async def test_a_megabyte_without_a_line_end_costs_one_answer(house: House) -> None:
    other, miner = await house.miner(), await house.miner()
    miner.write(b"x" * 1_000_000)
    assert (await miner.reply(None))["error"] == [20, "Line too long", None]
    miner.write(b"\n")
    assert (await miner.mine())["result"] is True
    assert (await other.mine())["result"] is True


async def test_a_peer_that_only_sends_rubbish_is_cut_in_the_end(build: Build) -> None:
    house = await build(cost=CostTerms(hard_s=20.0))
    other, stray = await house.miner(), await house.connect()
    stray.write(b"rubbish\n" * 100)
    stray.listen()
    await stray.until(lambda: stray.is_gone)
    assert len(stray.lines) in {4, 5}
    assert (await other.mine())["result"] is True
    assert house.count("translator_faults_total", kind="bad-line") == len(stray.lines)


async def test_a_miner_whose_every_share_is_bad_is_slowed_and_cut_in_the_end(build: Build) -> None:
    house = await build(cost=CostTerms(rate=1e6, soft_s=1.0, hard_s=2.0, bad_share_s=0.3))
    miner, other = await house.miner(), await house.miner()
    low = miner.find(await miner.job(), good=False)
    miner.write(*({"id": n, "method": "mining.submit", "params": low} for n in range(100, 200)))
    await miner.until(lambda: miner.is_gone)
    assert all(miner.replies[key]["error"][0] == 23 for key in miner.replies if int(key) >= 100)
    assert 5 <= house.count("translator_faults_total", kind="bad-share") < 20
    assert house.count("translator_throttled_total")
    assert (await other.mine())["result"] is True
    assert house.translator.parked == 0


async def test_stale_shares_are_nobodys_fault(build: Build) -> None:
    house = await build(cost=CostTerms(hard_s=11.0, bad_share_s=5.0))
    miner = await house.miner()
    old = await miner.job()
    house.proxy.new_tip()
    await miner.until(lambda: miner.jobs[-1] is not old)
    for _ in range(5):
        assert (await miner.submit(miner.find(old)))["error"] == [21, "Stale", None]
    assert (await miner.mine())["result"] is True


async def test_ten_thousand_names_on_one_socket_end_it(build: Build) -> None:
    house = await build(workers=5, cost=CostTerms(rate=1e6, soft_s=1.0, hard_s=3.0))
    miner, other = await house.miner(), await house.miner()
    for n in range(10_000):
        miner.write({"id": n, "method": "mining.authorize", "params": [f"w{n}", "x"]})
    await miner.until(lambda: miner.is_gone)
    refused = [line for line in miner.lines if line.get("error")]
    assert 3 <= len(refused) <= 20
    assert {line["error"][1] for line in refused} == {"Too many workers on one connection"}
    assert len(house.proxy.opened) == 2
    assert (await other.mine())["result"] is True


async def test_a_peer_that_does_not_introduce_itself_is_cut(build: Build, leap: Leap) -> None:
    house = await build(handshake_s=10.0, tick_s=0.01)
    stray = await house.connect()
    stray.write({"id": 1, "method": "mining.subscribe", "params": []}, b"{}\n")
    stray.listen()
    await stray.reply(1)
    leap(10.0)
    await stray.until(lambda: stray.is_gone)
    assert [line["id"] for line in stray.lines] == [1]


async def test_a_miner_that_falls_silent_is_cut_after_the_idle_time(build: Build, leap: Leap) -> None:
    house = await build(idle_s=600.0, tick_s=0.01)
    silent, alive = await house.miner(), await house.miner()
    leap(400.0)
    assert (await alive.mine())["result"] is True
    leap(200.0)
    await silent.until(lambda: silent.is_gone)
    assert (await alive.mine())["result"] is True


async def test_who_finds_nothing_but_bad_shares_gets_its_work_anew_and_is_cut_in_the_end(
    build: Build,
) -> None:
    house = await build(bad_shares_s=0.6, tick_s=0.02, cost=CostTerms(bad_share_s=0.0))
    lost, cured, lucky = [await house.miner(user=name) for name in ("lost", "cured", "lucky")]
    old = lost.jobs[-1]

    def hand_in_a_bad_share(miner: Any) -> None:
        bad = miner.find(miner.jobs[-1], good=False)
        miner.write({"id": miner.next_id(), "method": "mining.submit", "params": bad})

    while not lost.is_gone:
        hand_in_a_bad_share(lost)
        hand_in_a_bad_share(lucky)
        assert (await lucky.mine())["result"] is True
        if cured.jobs[-1].id == "1":
            hand_in_a_bad_share(cured)
        else:
            assert (await cured.mine())["result"] is True
        await asyncio.sleep(0.01)
    assert lost.jobs[-1].params[1:7] == old.params[1:7]
    assert int(lost.jobs[-1].params[7], 16) > int(old.params[7], 16)
    assert lost.jobs[-1].params[8] is True
    assert [each.jobs[-1].id for each in (cured, lucky)] == ["2", "1"]
    for miner in (cured, lucky):
        assert (await miner.mine())["result"] is True


async def test_who_takes_for_ever_over_a_line_is_cut_and_who_pauses_within_one_is_not(build: Build) -> None:
    house = await build(line_s=1.0, tick_s=0.02)
    dripping, pausing, loud = await house.miner(), await house.miner(), await house.miner()
    loud.write(b"x" * 9_000)
    while not (dripping.is_gone and loud.is_gone):
        dripping.write(b"{") if not dripping.is_gone else None
        pausing.write(b'{"id":')
        await asyncio.sleep(0.05)
        pausing.write(b"null}\n{")
        await asyncio.sleep(0.05)
        pausing.write(b"}\n")
    assert not pausing.is_gone
    assert (await pausing.mine())["result"] is True


async def test_a_flood_is_slowed_down_and_nobody_else_is(build: Build) -> None:
    house = await build(cost=CostTerms(rate=2.0))
    flood, other = await house.miner(), await house.miner()
    flood.write(*({"id": n, "method": "mining.ping", "params": []} for n in range(100, 140)))
    await flood.reply(110)
    for _ in range(5):
        assert (await other.mine())["result"] is True
    assert json.dumps(139) not in flood.replies
    assert house.count("translator_throttled_total") > 0


async def test_no_more_requests_are_read_than_may_be_open(
    build: Build, eventually: Eventually, leap: Leap
) -> None:
    house = await build(open_requests=3)
    miner = await house.miner()
    house.proxy.verdict = lambda share: "silence"
    job = await miner.job()
    shares = [miner.find(job) for _ in range(5)]
    miner.write(
        *({"id": n, "method": "mining.submit", "params": share} for n, share in enumerate(shares, 10))
    )
    await eventually(lambda: len(house.proxy.opened[0].shares) == 3)
    await house.proxy.connection.expect_silence()
    assert len(house.proxy.opened[0].shares) == 3
    leap(VERDICT_S)
    await eventually(lambda: len(house.proxy.opened[0].shares) == 5)
    leap(VERDICT_S)
    assert (await miner.reply(14))["error"] == [20, "No verdict from pool", None]


async def test_names_on_one_socket_are_bounded(house: House) -> None:
    miner = await house.miner()
    miner.write(*({"id": n, "method": "mining.authorize", "params": [f"w{n}", "x"]} for n in range(100, 170)))
    last = await miner.reply(169)
    assert last["error"] == [24, "Too many workers on one connection", None]
    assert miner.replies["100"]["result"] is True
    assert len(house.proxy.opened) == 1
    assert (await miner.mine())["result"] is True


@pytest.mark.parametrize(
    ("user", "password", "text"),
    [
        (encode_key(KEY)[:-1] + "z", "x", "Invalid key"),
        (encode_key(KEY)[:-2] + ".rig", "x", "Invalid key"),
        ("k=nonsense", "x", "Invalid key"),
        ("alice", "k=" + encode_key(KEY)[:-1], "Invalid key"),
        ("alice", "k=" + "02" + "00" * 32, "Invalid key"),
        (encode_key(KEY), "k=" + OTHER.hex(), "different keys"),
        ("x" * 300, "x", "User name too long"),
        ("ü" * 128, "x", "User name too long"),
        ("x" * 210, "k=" + KEY.hex(), "User name too long"),
    ],
)
async def test_a_bad_name_or_key_is_refused_and_a_good_one_may_follow(
    house: House, user: str, password: str, text: str
) -> None:
    miner = await house.connect()
    miner.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": [user, password]},
    )
    miner.listen()
    reply = await miner.reply(2)
    assert reply["error"][0] == 24
    assert text in reply["error"][1]
    assert house.proxy.opened == []
    miner.write({"id": 3, "method": "mining.authorize", "params": ["alice", "x"]})
    assert (await miner.reply(3))["result"] is True


async def test_a_second_name_with_another_key_is_refused(house: House) -> None:
    miner = await house.miner(user=encode_key(KEY) + ".one")
    miner.write(
        {"id": 5, "method": "mining.authorize", "params": [KEY.hex() + ".two", "x"]},
        {"id": 6, "method": "mining.authorize", "params": [encode_key(OTHER), "x"]},
        {"id": 7, "method": "mining.authorize", "params": ["plain", "x"]},
    )
    await miner.reply(7)
    assert miner.replies["5"]["result"] is True
    assert miner.replies["6"]["error"] == [24, "Another key on the same connection", None]
    assert miner.replies["7"]["result"] is True


async def test_a_miner_that_does_not_read_holds_up_nobody(house: House) -> None:
    other, deaf = await house.miner(), await house.connect()
    deaf.writer.transport.pause_reading()
    deaf.write({"id": 1, "method": "mining.subscribe", "params": []})
    deaf.write(*({"id": 2, "method": "mining.ping", "params": []} for _ in range(900)))
    for _ in range(5):
        assert (await other.mine())["result"] is True
