"""Frames that C has made leave by a socket, or are left to the event loop."""

import fcntl
import gc
import os
import select
import socket
import sys
from typing import Any

import pytest

from protocols.noise.frame_cipher import PythonCipher
from protocols.noise.handshake import Session
from tests.native.test_hub import Hall, line
from tests.native.test_lanes import Bench, opened, share
from tests.native_kernel import native_cipher, native_kernel

A, B = b"a" * 32, b"b" * 32


class Way:
    """A connection, with what its event loop would know."""

    def __init__(self) -> None:
        maker = native_kernel().outlet
        if maker is None:
            pytest.skip("without the processor's SHA extensions there is no outlet")
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.unsent: Any = 0
        self.rest: list[bytes] = []
        self.cipher: Any = native_cipher(Session(b"", None, A, B), lambda _: None)
        self.outlet = maker(self.cipher, self.near.fileno(), lambda: self.unsent, self.rest.append)
        self.peer = PythonCipher(Session(b"", None, B, A), lambda _: None)

    def heard(self) -> list[tuple[bytes, bytes]]:
        data = b""
        while select.select([self.far], [], [], 0)[0] and (piece := self.far.recv(1 << 16)):
            data += piece
        return self.peer.receive(data + b"".join(self.rest))

    def close(self) -> None:
        self.outlet.close()
        self.near.close()
        self.far.close()


def look(hall: Hall, way: Way) -> Any:
    return hall.look(1.0, way.outlet)


def test_shares_of_a_look_leave_together_and_wait_for_their_verdict(hall: Hall, way: Way) -> None:
    owners = [hall.owner() for _ in range(3)]
    for number, owner in enumerate(owners, 1):
        owner.mine.send(line(1, number) + line(2, 100 + number))
    frames, left, shares, _ = look(hall, way)
    assert (frames, left, shares) == ([], [], 6)
    sent = way.heard()
    waiting = [frame for owner in owners for *_, frame in owner.seat.leave()[4]]
    assert sorted(waiting) == sorted(sent)
    assert way.heard() == []


def test_a_tick_sends_shares_and_tells_nobody(hall: Hall, way: Way) -> None:
    told: list[Any] = []
    hall.hub.serve(way.outlet, lambda *what: told.append(what), 1_000)
    owners = [hall.owner() for _ in range(3)]
    for number, owner in enumerate(owners, 1):
        owner.mine.send(line(1, number))
    hall.hub.tick()
    assert (told, len(way.heard()), hall.hub.found()[0]) == ([], 3, 3)
    way.unsent = 5
    owners[0].mine.send(line(2, 9))
    hall.hub.tick()
    [([_], [])] = told


def test_what_follows_other_bytes_is_left_to_who_sends_those(hall: Hall, way: Way) -> None:
    owner = hall.owner()
    owner.mine.send(line(1, 1))
    way.unsent = 5
    [frame] = look(hall, way)[0]
    assert way.heard() == []
    assert owner.seat.leave()[4][0][-1] == frame


def test_what_the_socket_does_not_take_is_given_to_the_event_loop(hall: Hall, way: Way) -> None:
    way.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    owner = hall.owner()
    shares = 60
    for number in range(shares):
        owner.mine.send(line(number, number))
    looks = 0
    while not way.rest:
        assert look(hall, way)[:3] == ([], [], shares if not looks else 0)
        looks += 1
        for number in range(shares if not way.rest else 0):
            other = hall.owner()
            other.mine.send(line(number, number))
            assert look(hall, way)[:3] == ([], [], 1)
            looks += 1
            if way.rest:
                break
    assert len(way.heard()) == shares + looks - 1


def test_a_socket_that_is_gone_leaves_all_to_the_event_loop(hall: Hall, way: Way) -> None:
    way.far.close()
    owner = hall.owner()
    owner.mine.send(line(1, 1))
    assert look(hall, way)[:3] == ([], [], 1)
    assert len(way.rest) == 1


def test_its_socket_is_its_own_whoever_is_given_the_number_later(hall: Hall, way: Way) -> None:
    number = way.near.fileno()
    way.near.close()
    other, peer = socket.socketpair()
    if other.fileno() != number:
        os.dup2(other.fileno(), number)
    owner = hall.owner()
    owner.mine.send(line(1, 1))
    look(hall, way)
    assert len(way.heard()) == 1
    assert not select.select([peer], [], [], 0)[0]
    if other.fileno() != number:
        os.close(number)
    other.close()
    peer.close()


def test_a_closed_one_and_one_without_a_nonce_send_nothing(hall: Hall, way: Way) -> None:
    owner = hall.owner()
    way.cipher._send_nonce = (1 << 64) - 2
    owner.mine.send(line(1, 1))
    assert len(look(hall, way)[0]) == 1
    way.cipher._send_nonce = 0
    way.outlet.close()
    way.outlet.close()
    owner.mine.send(line(2, 2))
    assert len(look(hall, way)[0]) == 1
    assert way.heard() == []


def test_who_cannot_tell_what_is_unsent_sends_nothing(
    hall: Hall, way: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_type))
    way.unsent = "many"
    owner = hall.owner()
    owner.mine.send(line(1, 1))
    assert len(look(hall, way)[0]) == 1
    assert told == [TypeError]


def test_shares_of_lanes_leave_at_once_or_their_owner_is_told(way: Way) -> None:
    bench = Bench()
    bench.lane(5)
    bench.up.lanes.outlet = way.outlet
    assert bench.take([share(5, 1), share(5, 2)])[::2] == (2, ())
    assert len(way.heard()) == 2
    way.unsent = 1
    assert bench.take([share(5, 3)])[::2] == (1, (bench.up,))
    way.unsent = 0
    assert bench.take([share(5, 4)])[::2] == (1, ())
    assert len(way.heard()) == 2
    bench.up.lanes.outlet = None
    assert bench.up.lanes.outlet is None
    assert bench.take([share(5, 5)])[::2] == (1, (bench.up,))
    assert len(opened(bench.up)) == 1


def test_what_is_no_outlet_is_refused(hall: Hall, way: Way) -> None:
    maker: Any = native_kernel().outlet
    for wrong in (
        (None, 0, len, len),
        (way.cipher, "0", len, len),
        (way.cipher, way.near.fileno(), None, len),
        (way.cipher, way.near.fileno(), len, None),
        (way.cipher, way.near.fileno(), len),
    ):
        with pytest.raises(TypeError):
            maker(*wrong)
    with pytest.raises(TypeError):
        maker(way.cipher, 0, len, len, more=1)
    with pytest.raises(OSError, match="descriptor"):
        maker(way.cipher, -1, len, len)
    with pytest.raises(TypeError):
        hall.hub.look(1.0, 1, object())
    with pytest.raises(TypeError):
        Bench().up.lanes.outlet = object()


def test_an_outlet_that_is_let_go_closes_its_socket() -> None:
    way = Way()
    before = fcntl.fcntl(way.near, fcntl.F_GETFD)
    way.rest.append(way.outlet)
    del way.outlet
    way.near.close()
    way.rest.clear()
    gc.collect()
    assert before & fcntl.FD_CLOEXEC
    assert way.far.recv(1) == b""
    way.far.close()
