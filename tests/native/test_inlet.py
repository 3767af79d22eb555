"""What arrives at a socket is read and passed on natively, as far as it is plain."""

import gc
import os
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from protocols.noise.errors import FrameForged
from protocols.noise.frame_cipher import PythonCipher
from protocols.noise.handshake import Session
from protocols.sv2.share_frame import SUCCESS, pack_success
from tests.native.test_lanes import Bench, Shares, opened, share
from tests.native_kernel import native_cipher, native_kernel

A, B = b"a" * 32, b"b" * 32
OTHER = (b"\x00\x00\x10\x03\x00\x00", b"abc")
EMPTY = (b"\x00\x00\x11\x00\x00\x00", b"")


class Mouth:
    """A peer of a connection with lanes, and what those who read it hear."""

    def __init__(self, lanes: Any, *, settles: bool = False) -> None:
        maker = native_kernel().inlet
        if maker is None:
            pytest.skip("without the processor's SHA extensions there is no inlet")
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        self.told: list[tuple[int, float, tuple[Any, ...]]] = []
        self.left: list[Shares] = []
        self.ends: list[Exception | None] = []
        self.asked: list[bytes] = []
        self.cipher: Any = native_cipher(Session(b"", None, A, B), self.asked.append)
        self.peer = PythonCipher(Session(b"", None, B, A), lambda _: None)
        self.inlet = maker(
            self.cipher, self.near.fileno(), lanes, settles, lambda *what: self.told.append(what),
            self.left.append, self.ends.append,
        )  # fmt: skip

    def say(self, *frames: tuple[bytes, bytes], now: float = 1.0) -> None:
        self.far.sendall(self.peer.send_many(list(frames)))
        self.inlet.look(20, now)

    def close(self) -> None:
        self.inlet.close()
        self.near.close()
        self.far.close()


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.lane(5)
    return bench


@pytest.fixture
def mouth(bench: Bench) -> Iterator[Mouth]:
    mouth = Mouth(bench.down.lanes)
    yield mouth
    mouth.close()


def test_shares_pass_and_only_who_has_to_send_is_told_of(bench: Bench, mouth: Mouth) -> None:
    mouth.say(share(5, 1), share(5, 2), now=3.0)
    assert mouth.told == [(2, 0.0, (bench.up,))]
    assert mouth.left == []
    sent = opened(bench.up)
    twin = Bench()
    twin.lane(5)
    _, best, _ = twin.take([share(5, 1), share(5, 2)])
    assert sent == opened(twin.up)
    assert bench.down.lanes.found() == (3.0, best)
    assert bench.down.lanes.found() == (3.0, None)


def test_what_is_not_plain_and_all_behind_it_is_left(mouth: Mouth) -> None:
    mouth.say(share(5, 1), OTHER, share(5, 2), EMPTY)
    assert mouth.told[0][0] == 1
    assert mouth.left == [[OTHER, share(5, 2), EMPTY]]
    mouth.say(EMPTY)
    mouth.say(share(6, 1))
    large = (b"\x00\x80\x1b\x00\x02\x00", bytes(512))
    mouth.say(large)
    assert mouth.left[1:] == [[EMPTY], [share(6, 1)], [large]]
    # A type is asked about once, and again with a larger payload.
    assert [header[2] for header in mouth.asked] == [0x1B, 0x10, 0x11, 0x1B]


@pytest.mark.parametrize("cut", [1, 21, 22, 23, 60, 74, 75, 76, 150])
def test_pieces_are_put_together(bench: Bench, mouth: Mouth, cut: int) -> None:
    mouth.say(share(5, 1))
    sealed = mouth.peer.send_many([share(5, 2), share(5, 3)])
    for piece in (sealed[:cut], sealed[cut:]):
        mouth.far.sendall(piece)
        mouth.inlet.look(20, 1.0)
    assert len(opened(bench.up)) == 3
    assert mouth.left == []


def test_nothing_that_came_with_a_forged_frame_passes(bench: Bench, mouth: Mouth) -> None:
    mouth.say(share(5, 1))
    good = mouth.peer.send_many([share(5, 2), OTHER])
    bad = bytearray(mouth.peer.send_many([share(5, 3)]))
    bad[30] ^= 1
    mouth.far.sendall(good + bytes(bad))
    mouth.inlet.look(20, 1.0)
    assert (mouth.told, mouth.left) == ([(1, 0.0, (bench.up,))], [])
    (error,) = mouth.ends
    assert isinstance(error, FrameForged)
    mouth.say(share(5, 4))
    assert len(mouth.ends) == 2
    assert len(opened(bench.up)) == 1


def test_the_end_of_the_socket_is_told_and_nothing_is_read_from_a_closed_one(mouth: Mouth) -> None:
    mouth.inlet.look(20, 1.0)
    assert mouth.ends == []
    mouth.far.close()
    mouth.inlet.look()
    assert mouth.ends == [None]
    mouth.inlet.close()
    mouth.inlet.look()
    assert mouth.inlet.fileno() == -1
    assert mouth.ends == [None]


def test_an_error_of_the_socket_is_told_as_such(mouth: Mouth) -> None:
    mouth.near.send(b"what the peer has not read when it goes")
    mouth.far.close()
    mouth.inlet.look(20, 1.0)
    (error,) = mouth.ends
    assert isinstance(error, ConnectionResetError)


def test_who_comes_too_fast_is_told_of_with_the_time_to_wait(bench: Bench, mouth: Mouth) -> None:
    lanes = bench.down.lanes
    assert lanes.pay(1.0, 1_000) == 0.0
    lanes.limit(1.5, 0.0, 2.0, 3.0)
    mouth.say(share(5, 1), share(5, 2), now=0.25)
    mouth.say(share(5, 3), now=0.25)
    assert [owed for _, owed, _ in mouth.told] == [0.0, 0.5]
    assert lanes.pay(9.0) == 0.0
    assert lanes.pay(9.0, 3) == 0.5


def test_successes_are_settled_and_counted(bench: Bench) -> None:
    bench.take([share(5, 70), share(5, 71)])
    mouth = Mouth(bench.up.lanes, settles=True)
    mouth.say((SUCCESS, pack_success(1_005, 2, 2, 0)), OTHER, now=4.0)
    assert mouth.told == [(2, 0.0, (bench.down,))]
    assert mouth.left == [[OTHER]]
    assert opened(bench.down) == [(SUCCESS, pack_success(5, 71, 2, 0))]
    assert bench.down.lanes.sums()[0] == [3.0, 3.0]
    mouth.say((SUCCESS, pack_success(1_005, 3, 1, 0)))
    assert len(mouth.told) == 1
    assert len(mouth.left) == 2
    mouth.close()


def test_what_fails_in_those_who_are_told_is_raised(bench: Bench) -> None:
    maker = native_kernel().inlet
    assert maker is not None
    mouth = Mouth(bench.down.lanes)

    def fail(*_: object) -> None:
        raise LookupError

    fails = maker(mouth.cipher, mouth.near.fileno(), bench.down.lanes, False, fail, fail, fail)
    for frame in (share(5, 1), OTHER):
        mouth.far.sendall(mouth.peer.send(*frame))
        with pytest.raises(LookupError):
            fails.look(20, 1.0)
    mouth.far.close()
    with pytest.raises(LookupError):
        fails.look(20, 1.0)
    fails.close()
    mouth.close()


def test_an_inlet_is_made_of_what_this_kernel_knows(bench: Bench, mouth: Mouth) -> None:
    from hashpool_kernel import Inlet

    rest: Any = (print, print, print)
    with pytest.raises(TypeError):
        Inlet(None, mouth.near.fileno(), bench.down.lanes, False, *rest)
    with pytest.raises(TypeError):
        Inlet(mouth.cipher, mouth.near.fileno(), None, False, *rest)
    with pytest.raises(TypeError):
        Inlet(mouth.cipher, mouth.near.fileno(), bench.down.lanes, False, print, print, None)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="Bad file"):
        Inlet(mouth.cipher, 1 << 20, bench.down.lanes, False, *rest)
    for arguments in (1,), (1, 2, 3), (1, None), (None, 1):
        with pytest.raises(TypeError):
            mouth.inlet.look(*arguments)
    for method, given in (("limit", (1,)), ("pay", ()), ("pay", (None, 1)), ("pay", (1.0, None))):
        with pytest.raises(TypeError):
            getattr(bench.down.lanes, method)(*given)


def test_nothing_is_left_behind() -> None:
    def exercise() -> None:
        bench = Bench()
        bench.lane(5)
        down, up = Mouth(bench.down.lanes), Mouth(bench.up.lanes, settles=True)
        down.say(share(5, 1), share(5, 2), OTHER, share(5, 3))
        up.say((SUCCESS, pack_success(1_005, 2, 2, 0)), EMPTY)
        opened(bench.up)
        opened(bench.down)
        bench.down.lanes.found()
        down.close()
        up.close()

    for _ in range(50):
        exercise()
    gc.collect()
    blocks, numbers = sys.getallocatedblocks(), len(os.listdir("/proc/self/fd"))
    for _ in range(200):
        exercise()
    gc.collect()
    assert sys.getallocatedblocks() - blocks < 300
    assert len(os.listdir("/proc/self/fd")) == numbers
