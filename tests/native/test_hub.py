"""The hub in C by itself: sockets with any bytes on them, frames of any kind, and memory."""

import gc
import os
import random
import select
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from protocols.sv2.share_frame import SHARE_HEADERS, SUCCESS, read_share, success
from protocols.translation.share import find_plain
from protocols.translation.work import Draft, Tip, Work
from tests.native_kernel import native_kernel

NOW = 1_700_000_000
OWN = (b"\1\2\3\4", 8)
MASK = 0x1FFFE000
EASY = (1 << 256) - 1
LIMIT = 512


@dataclass(frozen=True)
class Job:
    work: Any
    hashes: float = 16.0


@dataclass
class Owner:
    """One miner's end, and what its session was told."""

    hub: Any
    number: int
    target: int = EASY
    unsent: int = 0
    most: int = 1_000
    said: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mine, self.theirs = socket.socketpair()
        self.mine.setblocking(False)
        kernel = native_kernel()
        tip = Tip(b"\x07" * 32, NOW - 100, 0x207FFFFF)
        draft = Draft(0x20000000, (b"\5" * 32,), b"\x01" * 60, b"\x02" * 40, maker=kernel.prover)
        self.jobs = {"1f": Job(Work(3, draft.on(tip), NOW - 100, b"\xaa" * 40, b"\0\0", self.target))}
        self.seen: dict[bytes, bool] = {}
        self.account = (0.0, 0.0, 0.01, 10.0)
        self.seat = self.sit()

    def sit(self) -> Any:
        return self.hub.sit(
            self,
            lambda: self.unsent,
            (self.theirs.fileno(), LIMIT),
            (self.number, 1, self.most),
            OWN,
            MASK,
            (self.jobs, self.seen, {}, {}, 1024),
            self.account,
        )

    def say(self, answer: bytes) -> None:
        self.said.append(answer)

    def heard(self) -> bytes:
        try:
            return self.mine.recv(1 << 16)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.mine.close()
        self.theirs.close()


class Hall:
    """A hub and those that sit there."""

    def __init__(self) -> None:
        maker = native_kernel().hub
        if maker is None:
            pytest.skip("without the processor's SHA extensions there is no hub")
        self.hub = maker(SHARE_HEADERS, SUCCESS)
        self.owners: list[Owner] = []

    def owner(self, **more: Any) -> Owner:
        owner = Owner(self.hub, len(self.owners) + 1, **more)
        self.owners.append(owner)
        return owner

    def look(self, now: float = 1.0, outlet: Any = None) -> Any:
        left = self.hub.look(now, NOW, outlet)
        shares, _, best = self.hub.found()
        return *left, shares, best

    def close(self) -> None:
        for owner in self.owners:
            if len(self.hub):
                owner.seat.leave()
            owner.close()


def line(number: int, nonce: int, bits: str = "") -> bytes:
    more = f',"{bits}"' if bits else ""
    text = f'{{"id":{number},"method":"mining.submit","params":["rig","1f","{nonce:016x}",'
    return f'{text}"{NOW:08x}","{nonce:08x}"{more}]}}\n'.encode()


def test_a_share_becomes_a_frame_and_success_its_answer(hall: Hall) -> None:
    owner = hall.owner()
    text = line(7, 5, "00006000")
    owner.mine.send(b" " + text + b"\r\n")
    frames, left, shares, best = hall.look()
    assert (left, shares) == ([], 1)
    found = find_plain(text.strip(), owner.jobs, OWN, MASK, NOW)
    assert found is not None
    submit, share, job = found
    [(header, payload)] = frames
    fields = (1, 1, job.work.job_id, submit.nonce, submit.ntime, share.version, share.extranonce)
    assert (header, read_share(payload)[0]) == (SHARE_HEADERS[14], fields)
    assert (best, owner.seen) == (share.share_hash, {share.share_hash: False})
    assert (owner.seat.pending, owner.seat.oldest, owner.seat.heard) == (1, 1.0, 1.0)
    assert hall.hub.settle([success(1, 1, 1, 1)], 0, 1.5) == (1, 1, 16.0, 256.0, [0.5], [])
    assert owner.heard() == b'{"id":7,"result":true,"error":null}\n'
    assert owner.seen == {share.share_hash: True}
    assert owner.seat.sums() == (1, 1.0, 16.0, share.share_hash, [(16.0, 256.0, 1, 1.5)])
    assert owner.seat.sums() is None
    assert owner.seat.leave() == (2, 1.0, 0.01, 1.0, [])
    assert len(hall.hub) == 0


def test_what_waits_is_given_back_in_order_and_told_when_it_is_late(hall: Hall) -> None:
    owner, other = hall.owner(), hall.owner()
    owner.mine.send(line(1, 1) + line(2, 2))
    frames, *_ = hall.look(1.0)
    other.mine.send(line(3, 3))
    hall.look(2.0)
    assert hall.hub.late(1.0) == []
    assert hall.hub.late(1.5) == [owner, owner]
    assert hall.hub.late(9.0) == [owner, owner, other]
    following, heard, _cost, _when, waiting = owner.seat.leave()
    assert (following, heard) == (3, 1.0)
    assert [(sequence, since, number) for sequence, since, number, *_ in waiting] == [
        (1, 1.0, 1),
        (2, 1.0, 2),
    ]
    assert [share for *_, share in waiting] == frames
    assert hall.hub.late(9.0) == [other]
    with pytest.raises(RuntimeError):
        owner.seat.leave()


@pytest.mark.parametrize(
    "answers",
    [
        [(9, 1, 1)],
        [(1, 0, 1)],
        [(1, 3, 1)],
        [(1, 2, 1)],
        [(1, 1, 2)],
        [(1, 2, 3)],
        [(1, 2, 0)],
        [(1, 2, 1 << 31)],
    ],
)
def test_answers_that_do_not_agree_with_what_waits_are_left(hall: Hall, answers: Any) -> None:
    owner = hall.owner()
    owner.mine.send(line(1, 1) + line(2, 2))
    hall.look()
    frames = [success(channel, last, count, 1) for channel, last, count in answers]
    assert hall.hub.settle(frames, 0, 1.0)[:2] == (0, 0)
    assert hall.hub.settle([(SUCCESS, b"short"), *frames], 0, 1.0)[:2] == (0, 0)
    assert hall.hub.settle([(b"header", b"")], 0, 1.0)[:2] == (0, 0)
    assert (owner.seat.pending, owner.heard()) == (2, b"")
    assert hall.hub.settle([success(1, 2, 2, 1), *frames], 0, 1.0)[:2] == (1, 2)


@pytest.mark.parametrize(
    "text",
    [
        b"{}\n",
        line(1, 1)[:-1],
        b"x" * (LIMIT + 1) + b"\n",
        line(1, 1)[:-3] + b" " * LIMIT + b"]}\n",
        b"\xff\0",
    ],
)
def test_what_is_no_share_is_left_with_all_that_follows(hall: Hall, text: bytes) -> None:
    owner = hall.owner()
    owner.mine.send(line(1, 1) + text + line(2, 2))
    frames, left, *_ = hall.look()
    assert len(frames) == 1
    assert left == [(owner, text + line(2, 2))]


def test_shares_that_are_known_too_hard_or_too_dear_are_left(hall: Hall) -> None:
    owner, hard = hall.owner(), hall.owner(target=1)
    owner.mine.send(line(1, 1) + line(2, 1))
    hard.mine.send(line(1, 1))
    _, left, *_ = hall.look()
    assert sorted(left, key=lambda entry: entry[0].number) == [(owner, line(2, 1)), (hard, line(1, 1))]
    owner.seat.leave()
    owner.account = (9.985, 1.0, 0.01, 10.0)
    owner.seat = owner.sit()
    owner.mine.send(line(3, 3) + line(4, 4))
    assert hall.look(1.0)[1] == [(owner, line(4, 4))]


def test_the_end_of_a_socket_is_left_to_the_event_loop(hall: Hall) -> None:
    owner = hall.owner()
    owner.mine.send(line(1, 1))
    assert hall.hub.ended() == []
    owner.mine.close()
    assert hall.hub.ended() == [owner]
    assert hall.look()[:2] == ([], [(owner, b"")])
    assert owner.theirs.recv(1 << 16) == line(1, 1)


def test_an_answer_waits_behind_what_is_unsent(hall: Hall) -> None:
    owner = hall.owner(unsent=3)
    owner.mine.send(line(1, 1))
    hall.look()
    assert hall.hub.settle([success(1, 1, 1, 1)], 0, 1.0)[1] == 1
    assert (owner.said, owner.heard()) == ([b'{"id":1,"result":true,"error":null}\n'], b"")


def test_of_an_answer_that_does_not_fit_the_rest_is_said(hall: Hall) -> None:
    owner = hall.owner()
    owner.theirs.setblocking(False)
    while True:
        try:
            owner.theirs.send(b"x" * 4096)
        except BlockingIOError:
            break
    owner.mine.send(b"".join(line(number, number) for number in range(60)))
    hall.look()
    assert hall.hub.settle([success(1, 60, 60, 1)], 0, 1.0)[1] == 60
    assert b"".join(owner.said).endswith(b'{"id":59,"result":true,"error":null}\n')


def test_as_many_shares_wait_as_there_is_room_for(hall: Hall) -> None:
    owner = hall.owner()
    owner.mine.send(b"".join(line(number, number) for number in range(70)))
    frames, left, *_ = hall.look()
    assert len(frames) == 64
    assert left[0][1].startswith(line(64, 64))


def test_no_more_wait_than_may(hall: Hall) -> None:
    owner = hall.owner(most=2)
    owner.mine.send(line(1, 1) + line(2, 2) + line(3, 3))
    assert hall.look()[1] == [(owner, line(3, 3))]


def test_a_log_that_is_full_is_told_and_loses_nothing(hall: Hall) -> None:
    owner = hall.owner()
    for number in range(1, 21):
        owner.mine.send(line(number, number))
        hall.look(float(number))
        full = hall.hub.settle([success(1, number, 1, 1)], 0, float(number))[-1]
        assert full == ([owner] if number >= 16 else [])
    found, when, work, _, log = owner.seat.sums()
    assert (found, when, work) == (20, 20.0, 320.0)
    assert [sum(column) for column in list(zip(*log, strict=True))[:3]] == [320.0, 5120.0, 20]


def test_a_seat_is_nobody_elses(hall: Hall) -> None:
    owner = hall.owner()
    with pytest.raises(ValueError, match="has a seat"):
        owner.sit()
    owner.number += 1
    with pytest.raises(ValueError, match="has a seat"):
        owner.sit()
    with pytest.raises(TypeError):
        type(owner.seat)()
    for wrong in ((), (None,) * 8):
        with pytest.raises(TypeError):
            hall.hub.sit(*wrong)
    with pytest.raises(OSError):
        owner.hub.sit(owner, int, (9_999, 1), (7, 1, 1), OWN, 0, ({}, {}, {}, {}, 1), owner.account)


def test_its_clock_can_be_watched(hall: Hall) -> None:
    fd = hall.hub.clock(0.001)
    assert select.select([fd], [], [], 30)[0] == [fd]
    assert hall.look() == ([], [], 0, bytes(32))
    assert hall.hub.clock(0.0) == fd
    for wrong in (-1.0, 2.0, float("nan")):
        with pytest.raises(ValueError, match="apart"):
            hall.hub.clock(wrong)


def test_a_tick_tells_only_what_is_left_to_do(hall: Hall) -> None:
    told: list[Any] = []
    hall.hub.serve(None, lambda *what: told.append(what), 1_000)
    owner, other = hall.owner(), hall.owner()
    hall.hub.tick()
    assert told == []
    owner.mine.send(line(1, 1))
    other.mine.send(b"more")
    hall.hub.tick()
    [(frames, left)] = told
    assert [read_share(payload)[0].channel_id for _, payload in frames] == [1]
    assert left == [(other, b"more")]
    hall.hub.tick()
    assert len(told) == 1
    shares, when, best = hall.hub.found()
    assert (shares, when, best) == (1, owner.seat.heard, next(iter(owner.seen)))
    assert hall.hub.found() == (0, when, bytes(32))


def test_ticks_in_a_row_that_find_nothing_are_told_of_once(hall: Hall) -> None:
    told: list[Any] = []
    hall.hub.serve(None, lambda *what: told.append(what), 3)
    owner = hall.owner()
    for _ in range(2):
        hall.hub.tick()
    owner.mine.send(line(1, 1))
    hall.hub.tick()
    del told[:]
    for _ in range(5):
        hall.hub.tick()
    assert told == [([], [])]


def test_a_tick_needs_somebody_to_tell(hall: Hall) -> None:
    with pytest.raises(RuntimeError, match="nobody"):
        hall.hub.tick()
    for wrong in ((object(), len, 1), (None, None, 1), (None, len, "1"), (None, len)):
        with pytest.raises(TypeError):
            hall.hub.serve(*wrong)


def piece(chance: random.Random) -> bytes:
    """Something that a miner may say."""
    kind = chance.randrange(6)
    share = bytearray(line(chance.randrange(1 << 32), chance.randrange(1 << 32)))
    if kind == 0:
        return chance.randbytes(chance.randrange(1, 300))
    if kind == 1:
        share[chance.randrange(len(share))] = chance.randrange(256)
    elif kind == 2:
        del share[chance.randrange(len(share)) :]
    elif kind == 3:
        share[:0] = b" \n\t\r\n"
    return bytes(share)


def test_any_bytes_become_frames_or_are_left_and_nothing_is_kept() -> None:
    rounds = 30 if not os.environ.get("HASHPOOL_TEST_LONG") else 2_000
    for seed in range(40):
        random_bytes(40, seed)
    gc.collect()
    before = sys.getallocatedblocks()
    for seed in range(rounds):
        random_bytes(40, seed)
    gc.collect()
    assert sys.getallocatedblocks() - before < 300


def random_bytes(acts: int, seed: int) -> None:
    """Play with a few miners at random: Python would find what C takes, and each share has one answer."""
    chance, hall = random.Random(seed), Hall()
    owners = [hall.owner() for _ in range(4)]
    given: dict[int, list[bytes]] = {owner.number: [] for owner in owners}
    for act in range(acts):
        owner = chance.choice(owners)
        data = b"".join(piece(chance) for _ in range(chance.randrange(1, 4)))
        owner.mine.send(data)
        frames, left, shares, _ = hall.look(float(act))
        assert len(frames) == shares
        for header, payload in frames:
            share, end = read_share(payload)
            assert (header, end) == (SHARE_HEADERS[14], len(payload))
            given[share.channel_id].append(payload)
        rest = {entry[0].number: entry[1] for entry in left}.get(owner.number, b"")
        taken = data[: len(data) - len(rest)]
        assert taken + rest == data
        told = [text for text in taken.split(b"\n") if text.strip()]
        assert len(told) == shares
        for text in told:
            assert find_plain(text.strip(), owner.jobs, OWN, MASK, NOW) is not None
        if chance.random() < 0.5:
            count = chance.randrange(1, 4)
            last = struct.unpack_from("<I", given[owner.number][-1], 4)[0] if given[owner.number] else 0
            before = owner.seat.pending
            _, accepted, *_ = hall.hub.settle([success(owner.number, last, count, 1)], 0, float(act))
            assert accepted == (count if count == before else 0)
            assert owner.heard().count(b"\n") == accepted
        if chance.random() < 0.1:
            following, _, cost, when, waiting = owner.seat.leave()
            owner.account = (cost, when, 0.01, 10.0)
            assert following == 1 + len(given[owner.number])
            given[owner.number].clear()
            assert len(waiting) <= 64
            owner.seat = owner.sit()
    hall.close()


def test_lines_of_others_go_to_the_miner_or_behind_what_waits(hall: Hall) -> None:
    owner = hall.owner()
    owner.seat.say(b"notify\n")
    assert (owner.heard(), owner.said) == (b"notify\n", [])
    owner.unsent = 1
    owner.seat.say(b"more\n")
    assert (owner.heard(), owner.said) == (b"", [b"more\n"])
    owner.unsent = 0
    owner.seat.leave()
    owner.seat.say(b"late\n")
    assert (owner.heard(), owner.said[1:]) == (b"", [b"late\n"])
    with pytest.raises(TypeError):
        owner.seat.say("text")
