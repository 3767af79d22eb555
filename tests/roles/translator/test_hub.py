"""Miners at the hub hear, and are counted, as their sessions would have had it."""

import asyncio
import json
import random
import select
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from roles.runtime.line_connection import ServedLines
from roles.stratum.cost import CostTerms
from roles.stratum.tally import Tally
from roles.translator import hub as hub_module
from roles.translator import translator
from roles.translator.hub import hub_maker
from tests.native_kernel import native_kernel
from tests.native_shortage import MOST, shortages

House = Any
Miner = Any
Build = Callable[..., Any]


@pytest.fixture(autouse=True)
def native() -> None:
    native_kernel()
    if hub_maker() is None:
        pytest.skip("there is no hub without the processor's SHA extensions, and where it is not wanted")


def seated(house: House) -> int:
    count: int = house.translator.seated
    return count


async def at_hub(house: House, **attributes: Any) -> Miner:
    """A miner that has sat down: its first share has been accepted."""
    before = seated(house)
    miner = await house.miner(**attributes)
    assert (await miner.mine())["result"] is True
    assert seated(house) == before + 1
    return miner


def tally(house: House) -> Tally:
    found: Tally = next(iter(house.translator)).session.desk.tally
    return found


async def test_a_miner_sits_down_with_its_first_share_and_stays(house: House) -> None:
    miner = await at_hub(house)
    for _ in range(20):
        assert (await miner.mine())["result"] is True
    assert seated(house) == 1
    assert not house.proxy.bad
    assert [share.sequence_number for share in house.proxy.opened[0].shares] == list(range(1, 22))
    assert (tally(house).accepted, tally(house).rate.sums[2]) == (21, 21)
    assert house.translator.totals.accepted == 21
    assert house.translator.totals.best == tally(house).best
    assert house.translator.totals.last == tally(house).last


async def test_shares_of_one_segment_are_answered_in_order(house: House) -> None:
    miner = await at_hub(house)
    shares = [
        {"id": miner.next_id(), "method": "mining.submit", "params": miner.find(await miner.job())}
        for _ in range(5)
    ]
    miner.write(*shares)
    await miner.reply(miner.last_id)
    assert [line["id"] for line in miner.lines[-5:]] == [share["id"] for share in shares]
    assert seated(house) == 1


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b" \r\n",
        b'{"id":77,"method":"mining.ping","params":[]}\n',
        b"nonsense\n",
        b'{"id":',
        b"x" * 9000,
    ],
)
async def test_what_is_no_share_is_heard_by_the_session(house: House, line: bytes) -> None:
    miner = await at_hub(house)
    share = {"id": 50, "method": "mining.submit", "params": miner.find(await miner.job())}
    miner.write(share, line)
    assert (await miner.reply(50))["result"] is True
    if b"ping" in line:
        assert (await miner.reply(77))["result"] == "pong"
    miner.write(b"\n" if not line.endswith(b"\n") else b"")
    assert (await miner.mine())["result"] is True
    assert (await miner.mine())["result"] is True
    assert seated(house) == 1
    assert house.translator.totals.accepted == 4


async def test_a_share_in_two_segments_is_one(house: House, eventually: Any) -> None:
    miner = await at_hub(house)
    text = json.dumps({"id": 9, "method": "mining.submit", "params": miner.find(await miner.job())}).encode()
    miner.write(text[:40])
    await eventually(lambda: seated(house) == 0)
    miner.write(text[40:] + b"\n")
    assert (await miner.reply(9))["result"] is True
    assert seated(house) == 1


async def test_a_refusal_is_passed_on_and_those_around_it_are_accepted(house: House) -> None:
    miner = await at_hub(house)
    house.proxy.verdict = lambda share: "stale-share" if share.sequence_number == 3 else None
    ids = [miner.next_id() for _ in range(4)]
    job = await miner.job()
    miner.write(*({"id": id, "method": "mining.submit", "params": miner.find(job)} for id in ids))
    await miner.reply(ids[-1])
    told = [(line["id"], line["error"]) for line in miner.lines[-4:]]
    assert told == [(id, [21, "Stale", None] if id == ids[1] else None) for id in ids]
    assert (tally(house).accepted, tally(house).rejected["stale"]) == (4, 1)


async def test_a_repetition_is_refused_here_wherever_it_was_found_first(house: House) -> None:
    miner = await at_hub(house)
    share = miner.find(await miner.job())
    assert (await miner.submit(share))["result"] is True
    assert (await miner.submit(share))["error"] == [22, "Duplicate share", None]
    assert seated(house) == 0
    assert len(house.proxy.opened[0].shares) == 2


async def test_what_the_upstream_does_not_answer_is_answered_in_time(build: Build) -> None:
    house = await build(verdict_s=0.2)
    miner = await at_hub(house)
    house.proxy.verdict = lambda _share: "silence"
    assert (await miner.mine())["error"] == [20, "No verdict from pool", None]
    assert tally(house).unanswered == 1
    assert house.translator.pending == 1


async def test_shares_of_a_lost_upstream_are_unknown_and_the_miner_sits_down_again(
    house: House, eventually: Any
) -> None:
    miner = await at_hub(house)
    house.proxy.verdict = lambda _share: "silence"
    id = miner.next_id()
    miner.write({"id": id, "method": "mining.submit", "params": miner.find(await miner.job())})
    await eventually(lambda: len(house.proxy.opened[0].shares) == 2)
    assert house.translator.pending == 1
    jobs = len(miner.lines)
    house.proxy.verdict = lambda _share: None
    house.proxy.restart()
    assert (await miner.reply(id))["error"] == [20, "No verdict from pool", None]
    assert tally(house).unknown == 1
    await miner.until(lambda: any(line.get("method") == "mining.notify" for line in miner.lines[jobs:]))
    assert (await miner.mine())["result"] is True
    assert seated(house) == 1


async def test_a_miner_that_goes_while_it_sits_is_let_go(house: House, eventually: Any) -> None:
    miner = await at_hub(house)
    await miner.close()
    await eventually(lambda: len(house.translator) == 0)
    assert seated(house) == 0


async def test_what_a_look_without_memory_has_read_is_heard_before_the_miner_stands_up(
    house: House, eventually: Any
) -> None:
    miner = await at_hub(house)
    house.proxy.verdict = lambda _share: "silence"
    miner.write(good(miner, random.Random(1))[0])
    await eventually(lambda: len(house.proxy.opened[0].shares) == 2)
    native = house.translator._hub._native
    miner.write({"id": 77, "method": "mining.ping", "params": []})
    assert select.select([native.fileno()], [], [], 30)[0]
    for short in shortages(MOST):
        short(lambda: native.look(1.0, 1, None))
        if not select.select([native.fileno()], [], [], 0)[0]:
            break
    assert native.owes
    [place] = native.late(float("inf"))
    place.leave()
    assert seated(house) == 0
    assert (await miner.reply(77))["result"] == "pong"


async def test_a_hub_that_gathers_hears_of_who_speaks_after_a_while(build: Build, eventually: Any) -> None:
    house = await build(gather=0.001)
    miner = await at_hub(house)
    hub, waits = house.translator._hub, []
    wait = hub._wait

    def noted() -> None:
        waits.append(hub)
        wait()

    hub._wait = noted
    for times in range(3):
        assert (await miner.mine())["result"] is True
        await eventually(lambda times=times: len(waits) > times)
    assert seated(house) == 1


async def test_a_loop_that_has_bytes_for_a_miner_goes_on_looking_at_its_socket(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsent, lend = 5, ServedLines.lend
    forgotten: list[int] = []

    def lending(self: ServedLines, recall: Callable[[], None]) -> Any:
        lent = lend(self, recall)
        return lent and lent._replace(unsent=lambda: unsent)

    poll = SimpleNamespace(unregister=forgotten.append)
    monkeypatch.setattr(hub_module, "_poll_of", lambda _loop: poll)
    monkeypatch.setattr(ServedLines, "lend", lending)
    house = await build()
    await at_hub(house)
    assert forgotten == []
    unsent = 0
    await at_hub(house)
    assert len(forgotten) == 1


def test_the_epoll_that_is_told_is_uvloops_own() -> None:
    other = asyncio.SelectorEventLoop()
    assert hub_module._poll_of(other) is None
    other.close()
    loop = uvloop.new_event_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    heard: list[bytes] = []

    def hear() -> None:
        heard.append(near.recv(9))
        loop.stop()

    loop.add_reader(near, hear)
    far.send(b"one")
    loop.run_forever()
    poll = hub_module._poll_of(loop)
    assert poll is not None
    poll.unregister(near)
    with pytest.raises(FileNotFoundError):
        poll.unregister(near)
    poll.close()
    loop.remove_reader(near)
    loop.close()
    near.close()
    far.close()
    assert heard == [b"one"]


async def test_work_that_comes_meanwhile_counts_and_what_it_ends_does_not(house: House) -> None:
    miner = await at_hub(house)
    old = miner.find(await miner.job())
    house.proxy.new_job()
    await miner.until(lambda: len(miner.jobs) == 2)
    assert (await miner.mine())["result"] is True
    assert (await miner.submit(old))["result"] is True
    old = miner.find(miner.jobs[0])
    assert seated(house) == 1
    house.proxy.new_tip()
    await miner.until(lambda: len(miner.jobs) == 1)
    assert (await miner.submit(old))["error"] == [21, "Stale", None]
    assert (await miner.mine())["result"] is True
    assert not house.proxy.bad


async def test_a_share_is_judged_by_the_target_of_its_work(house: House) -> None:
    miner = await at_hub(house)
    easy = miner.jobs[-1]
    house.proxy.new_job(target=(1 << 246) - 1)
    await miner.until(lambda: len(miner.jobs) == 2)
    for _ in range(20):
        assert (await miner.submit(miner.find(easy)))["result"] is True
    assert seated(house) == 1
    assert (await miner.submit(miner.find(miner.jobs[-1], good=False)))["error"] == [23, "Above target", None]
    assert not house.proxy.bad


# Both ways do the same


def good(miner: Miner, _chance: random.Random) -> list[bytes]:
    return [submit(miner, miner.find(miner.jobs[-1]))]


def submit(miner: Miner, params: list[Any], **more: Any) -> bytes:
    return (
        json.dumps({"id": miner.next_id(), "method": "mining.submit", "params": params} | more).encode()
        + b"\n"
    )


def several(miner: Miner, chance: random.Random) -> list[bytes]:
    return [b"".join(good(miner, chance)[0] for _ in range(chance.randrange(2, 6)))]


def cut(miner: Miner, chance: random.Random) -> list[bytes]:
    line = several(miner, chance)[0]
    at = chance.randrange(1, len(line))
    return [line[:at], line[at:]]


def low(miner: Miner, _chance: random.Random) -> list[bytes]:
    return [submit(miner, miner.find(miner.jobs[-1], good=False))]


def twice_over(miner: Miner, _chance: random.Random) -> list[bytes]:
    share = miner.find(miner.jobs[-1])
    return [submit(miner, share) + submit(miner, share)]


def damaged(miner: Miner, chance: random.Random) -> list[bytes]:
    line = bytearray(good(miner, chance)[0])
    for _ in range(chance.randrange(1, 4)):
        # Within the parameters: the id stays what the test waits for.
        at = chance.randrange(line.index(b"[") + 1, len(line) - 3)
        line[at] = chance.choice(b'0123456789abcdefg"\\,[]{}x \x7f')
    return [bytes(line)]


def mixed(miner: Miner, chance: random.Random) -> list[bytes]:
    ping = json.dumps({"id": miner.next_id(), "method": "mining.ping", "params": []}).encode() + b"\n"
    return [good(miner, chance)[0] + ping + good(miner, chance)[0] + b"\r\n  \n"]


def garbage(_miner: Miner, chance: random.Random) -> list[bytes]:
    return [chance.randbytes(chance.randrange(1, 200)).replace(b"\n", b"") + b"\n"]


ACTS = (good, good, good, several, cut, low, twice_over, damaged, mixed, garbage)


async def play(house: House, seed: int, acts: int) -> tuple[list[Any], dict[str, Any]]:
    """What a miner hears that does these things, and what is counted."""
    chance = random.Random(seed)
    house.proxy.verdict = lambda share: "stale-share" if share.sequence_number % 7 == 0 else None
    miner = await house.miner()
    assert (await miner.mine())["result"] is True
    begin = len(miner.lines)
    for number in range(acts):
        act = chance.choice(ACTS)
        for piece in act(miner, chance):
            miner.write(piece)
            await asyncio.sleep(0)
        mark = f"m{number}"
        miner.write({"id": mark, "method": "mining.ping", "params": []})
        await miner.reply(mark)
        if number % 2:
            # It sits down again, so that most is done from there.
            miner.write(good(miner, chance)[0])
            await miner.reply(miner.last_id)
    heard = [(line["id"], line["result"], line["error"]) for line in miner.lines[begin:] if "result" in line]
    desk = next(iter(house.translator)).session.desk
    counted = {
        "accepted": desk.tally.accepted,
        "rejected": dict(desk.tally.rejected),
        "work": desk.tally.rate.sums,
        "best": desk.tally.best < 1 << 256,
        "totals": (house.translator.totals.accepted, house.translator.totals.rate.sums[0]),
        "faults": dict(house.translator.totals.faults),
        "pending": house.translator.pending,
        "sequence": [share.sequence_number for share in house.proxy.opened[0].shares],
        "bad": house.proxy.bad,
    }
    return heard, counted


@pytest.mark.parametrize("seed", range(4))
async def test_the_same_bytes_are_answered_and_counted_alike_either_way(
    build: Build, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    assert hub_maker() is not None
    monkeypatch.setattr("secrets.randbits", lambda _bits: 7)
    patient = CostTerms(rate=1e6, soft_s=1e9, hard_s=1e9)
    by_hub = await play(await build(cost=patient, gather=seed % 2 * 0.002), seed, 30)
    monkeypatch.setattr(translator, "hub_maker", lambda: None)
    by_session = await play(await build(cost=patient), seed, 30)
    assert by_hub[1] == by_session[1]
    assert by_hub[0] == by_session[0]
