"""Memory that is not there for one moment: what was read is read once, and what is found is told once.

Each test goes through all allocations of a call in turn, and has one of them fail, or all from it on.
"""

import select
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from protocols.mining.share import SeenShares
from protocols.noise.frame_cipher import PythonCipher
from protocols.noise.handshake import Session
from protocols.sv2.share_frame import read_share
from tests.native.test_hub import NOW, Hall, line
from tests.native.test_inlet import OTHER, Mouth
from tests.native.test_lanes import A, B, Bench, opened, share
from tests.native.test_outlet import Way
from tests.native.test_reentrance import Pace, plain
from tests.native.test_reentrance import bench as plain_bench
from tests.native_kernel import native_cipher, native_kernel
from tests.native_shortage import MOST, shortages

LENGTHS = [pytest.param(1, id="one"), pytest.param(MOST, id="all")]


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    native_kernel()
    monkeypatch.setattr(sys, "unraisablehook", len)


@pytest.mark.parametrize("length", LENGTHS)
def test_what_a_look_without_memory_has_found_and_read_the_next_one_tells(length: int) -> None:
    failures = 0
    for short in shortages(length):
        hall = Hall()
        owners = [hall.owner() for _ in range(3)]
        for owner in owners:
            owner.mine.send(line(1, 1) + line(2, 2) + b"more" + line(3, 3))
        look = partial(hall.hub.look, 1.0, NOW, None)
        looks = [told] if (told := short(look)) is not None else []
        assert hall.hub.owes == (told is None)
        failures += told is None
        looks += [look(), look(), look()]
        assert looks[-1] == ([], [])
        frames = [read_share(payload)[0] for found, _ in looks for _, payload in found]
        assert hall.hub.found()[0] == len(frames)
        for owner in owners:
            left = b"".join(data for _, rest in looks for other, data in rest if other is owner)
            # A share that was left for want of memory is found by Python, which has not seen it.
            found = sum(share.channel_id == owner.number for share in frames)
            assert left == b"".join([line(1, 1), line(2, 2)][found:]) + b"more" + line(3, 3)
            assert found == len(owner.seen) == owner.seat.pending
        hall.close()
    assert 0 < failures < MOST


def test_after_a_look_without_memory_the_next_comes_by_itself() -> None:
    hall = Hall()
    hall.owner().mine.send(b"more")
    clock, (short, *_) = hall.hub.clock(0.0), shortages(MOST)
    assert short(partial(hall.hub.look, 1.0, NOW, None)) is None
    assert select.select([clock], [], [], 30)[0] == [clock]
    assert hall.look()[1] == [(hall.owners[0], b"more")]
    assert not select.select([clock], [], [], 0)[0]
    hall.close()


@pytest.mark.parametrize("length", LENGTHS)
def test_a_share_that_lanes_have_no_memory_for_is_left_as_if_it_had_not_come(length: int) -> None:
    failures = 0
    for short in shortages(length):
        bench = Bench()
        lane = bench.lane(5, pacing=(9.0, 1.0, 1.0, 9.0))
        frames = [share(5, number) for number in range(1, 10)]
        told = short(partial(bench.take, frames))
        sent = opened(bench.up)
        failures += len(sent) < len(frames)
        assert told is None or told[0] == len(sent)
        # What is left may come again, and as much of it as could have come before.
        assert bench.take(frames[len(sent) :])[0] == len(frames) - len(sent)
        following, waiting, seen, (tokens, _) = lane.give_back()
        assert (following, len(waiting), len(seen), tokens) == (10, 9, 9, 0.0)
    assert 0 < failures < MOST


@pytest.mark.parametrize("length", LENGTHS)
def test_a_share_that_its_judge_has_no_memory_for_is_new_when_it_comes_again(length: int) -> None:
    from hashpool_kernel import judge

    failures = 0
    for short in shortages(length):
        seen = SeenShares()
        bench, frames = plain_bench(Pace(int), seen), [plain(number) for number in range(1, 10)]
        found = judged, entries, _ = list[Any](), list[Any](), list[Any]()
        known = {7 << 32 | 9: bench}
        told = short(partial(judge, known, frames, 0, (20.0, 1.0), found))
        failures += told is None
        # What is in one of them is in all of them: a verdict, an entry for the ledger, a hash that was seen.
        assert [share_hash for share_hash, *_ in entries] == list(seen.recent)
        assert [entry for *_, entry in judged] == entries
        assert told in (None, len(judged))
        assert judge(known, frames, len(judged), (20.0, 1.0), found) == len(frames)
        assert len(seen.recent) == len(frames)
    assert 0 < failures < MOST


@pytest.mark.parametrize("length", LENGTHS)
def test_what_lanes_cannot_seal_for_want_of_memory_they_seal_later(length: int) -> None:
    failures = 0
    for short in shortages(length):
        bench = Bench()
        bench.lane(5)
        bench.take([share(5, 1), share(5, 2)])
        sender = native_cipher(Session(b"", None, A, B), lambda _: None)
        sealed = short(partial(bench.up.lanes.seal, sender)) or b""
        failures += not sealed
        sealed += bench.up.lanes.seal(sender)
        assert len(PythonCipher(Session(b"", None, B, A), lambda _: None).receive(sealed)) == 2
    assert 0 < failures < MOST


@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_read_natively_passes_or_ends_the_connection_where_memory_runs_out(length: int) -> None:
    breaks = 0
    for short in shortages(length):
        bench = Bench()
        lane = bench.lane(5)
        mouth = Mouth(bench.down.lanes)
        mouth.far.sendall(mouth.peer.send_many([share(5, 1), share(5, 2), OTHER, share(5, 3)]))
        short(partial(mouth.inlet.look, 20, 1.0))
        seen = mouth.told[:], mouth.left[:]
        mouth.say(share(5, 4))
        if mouth.ends:
            # Nothing follows what is lost.
            assert (mouth.told, mouth.left) == seen
        else:
            # What passes and what is left is in order, and all of it.
            passed, left = len(opened(bench.up)), [frame for frames in mouth.left for frame in frames]
            assert left[left.index(OTHER) :][1:] in ([share(5, 3)], [share(5, 3), share(5, 4)])
            assert passed + len(left) == 5
            assert sum(shares for shares, *_ in mouth.told) == passed == len(lane.give_back()[2])
        breaks += bool(mouth.ends)
        mouth.close()
    assert 0 < breaks < MOST


def fill(end: socket.socket) -> int:
    """Write until nothing more fits; how many bytes that took."""
    size = 0
    end.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            size += end.send(bytes(4096))
    return size


def drain(end: socket.socket) -> tuple[bytes, bool]:
    """What has arrived, and whether it is all that will."""
    data = b""
    while select.select([end], [], [], 0)[0]:
        piece = end.recv(1 << 20)
        if not piece:
            return data, True
        data += piece
    return data, False


@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_sealed_has_no_gap_but_an_end_where_memory_runs_out(length: int) -> None:
    ends = 0
    for short in shortages(length):
        hall, way = Hall(), Way()
        before = fill(way.near)
        owner = hall.owner()
        owner.mine.send(line(1, 1))
        looks = [short(partial(hall.hub.look, 1.0, NOW, way.outlet))]
        data, _ = drain(way.far)
        owner.mine.send(line(2, 2))
        looks += [hall.hub.look(1.0, NOW, way.outlet) for _ in range(3)]
        more, is_ended = drain(way.far)
        sealed = b"".join(way.rest) + data[before:] + more
        left = sum(len(frames) + len(lines) for frames, lines in filter(None, looks))
        assert is_ended or len(way.peer.receive(sealed)) + left == 2
        assert sealed == b"" or not is_ended
        ends += is_ended
        way.close()
        hall.close()
    assert 0 < ends < MOST


@pytest.mark.parametrize("length", LENGTHS)
def test_what_a_miner_is_told_has_no_gap_but_an_end_where_memory_runs_out(length: int) -> None:
    ends = 0
    for short in shortages(length):
        hall = Hall()
        owner = hall.owner()
        before = fill(owner.theirs)
        short(partial(owner.seat.say, b"first\n"))
        data, _ = drain(owner.mine)
        with suppress(OSError):
            owner.seat.say(b"second\n")
        more, is_ended = drain(owner.mine)
        told = b"".join(owner.said) + data[before:] + more
        assert told == b"first\nsecond\n" or is_ended
        ends += is_ended
        hall.close()
    assert 0 < ends < MOST
