"""A connection that the native kernel reads by itself ends, waits and hands over as any other."""

import asyncio
import errno
import logging
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import uvloop

from protocols.sv2.errors import MalformedMessage
from protocols.sv2.frame import Frame
from protocols.sv2.share_frame import write_share
from roles.runtime.errors import ConnectionLost
from roles.runtime.kernel import kernel
from roles.runtime.sv2_connection import Plain, Sv2Connection
from tests.native.test_lanes import Bench
from tests.native_kernel import native_kernel
from tests.roles.runtime.noise_peers import BYE, SHARE, Scenario, dial, serving, until


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    native_kernel()
    if kernel().inlet is None:
        pytest.skip("without the processor's SHA extensions there is no inlet")

    def go(scenario: Scenario) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await scenario()

        request.param(bounded())

    return go


def plain(number: int) -> Frame:
    header, payload = write_share((5, number, 3, number, 15, 4), bytes(8))
    return Frame(0, True, header[2], payload)


class Reader:
    """Serves one connection whose plain shares lanes have."""

    def __init__(self, is_native: bool = True) -> None:
        self.bench = Bench()
        self.bench.lane(5)
        self._begins = is_native
        self.taken: list[Plain] = []
        self.passed = 0
        self.holds = False
        self.connection: Sv2Connection | None = None
        self.end: Exception | None = None
        self.fault: Exception | None = None

    async def serve(self, connection: Sv2Connection) -> None:
        self.connection = connection
        if self._begins:
            connection._loop.call_soon(self.begin)
        try:
            await connection.hand_over(self.take)
        except (ConnectionLost, MalformedMessage) as error:
            self.end = error

    def begin(self) -> None:
        assert self.connection is not None
        self.connection.read_plain(self.bench.down.lanes, self.tell, settles=False)

    @property
    def is_native(self) -> bool:
        return self.connection is not None and self.connection._inlet is not None

    def tell(self, shares: int, _owed: float, _owners: tuple[Any, ...]) -> None:
        self.bench.up.lanes.discard()
        self.passed += shares
        if self.holds and self.connection is not None:
            self.connection.hold()

    def take(self, frames: Sequence[Plain]) -> int:
        if self.fault is not None:
            raise self.fault
        self.taken += frames
        return len(frames)


def test_shares_pass_and_the_rest_is_handed_over_until_the_peer_goes(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        reader = Reader()
        async with serving(reader.serve) as server:
            peer = await dial(server)
            await until(lambda: reader.is_native)
            peer.send(plain(1), plain(2), BYE, plain(3))
            await until(lambda: len(reader.taken) == 2)
            assert reader.passed == 2
            # What is taken from the event loop's hands once is not taken twice.
            reader.begin()
            peer.send(plain(4))
            peer.close()
            await until(lambda: reader.end is not None)
            assert reader.passed == 3
            assert isinstance(reader.end, ConnectionLost)
            assert reader.end.code == "peer-closed"
            reader.begin()
            assert not reader.is_native

    run(scenario)


def test_nothing_is_read_while_it_is_held_and_all_of_it_afterwards(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        reader = Reader()
        async with serving(reader.serve) as server:
            peer = await dial(server)
            await until(lambda: reader.is_native)
            connection = reader.connection
            assert connection is not None
            connection.hold()
            peer.send(plain(1), BYE)
            for _ in range(20):
                await asyncio.sleep(0)
            assert (reader.passed, reader.taken) == (0, [])
            connection.release()
            await until(lambda: bool(reader.taken))
            assert reader.passed == 1
            # The peer goes while nothing is read.
            connection.hold()
            peer.send(plain(2), SHARE)
            peer.close()
            await peer.wait_closed()
            connection.release()
            await until(lambda: reader.end is not None)
            assert (reader.passed, len(reader.taken)) == (2, 2)

    run(scenario)


def test_what_comes_while_it_is_held_by_who_is_told_waits(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        reader = Reader()

        reader.holds = True
        async with serving(reader.serve) as server:
            peer = await dial(server)
            await until(lambda: reader.is_native)
            peer.send(plain(1), BYE)
            connection = reader.connection
            assert connection is not None
            await until(lambda: connection._holds == 1)
            assert reader.taken == []
            connection.release()
            await until(lambda: len(reader.taken) == 1)
            peer.close()
            await until(lambda: reader.end is not None)

    run(scenario)


@pytest.mark.parametrize("fault", [MalformedMessage("no"), ValueError("a fault of ours")])
def test_a_fault_of_who_takes_frames_ends_the_connection(
    run: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture, fault: Exception
) -> None:
    async def scenario() -> None:
        reader = Reader()
        reader.fault = fault
        async with serving(reader.serve) as server:
            peer = await dial(server)
            await until(lambda: reader.is_native)
            peer.send(BYE)
            with pytest.raises(ConnectionLost):
                await peer.receive()
            await until(lambda: reader.end is not None)
            if isinstance(fault, MalformedMessage):
                assert reader.end is fault
            else:
                assert isinstance(reader.end, ConnectionLost)
                assert reader.end.code == "reset"

    with caplog.at_level(logging.CRITICAL):
        run(scenario)


def test_bytes_that_nobody_sealed_end_the_connection(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        reader = Reader()
        async with serving(reader.serve) as server:
            peer = await dial(server)
            await until(lambda: reader.is_native)
            assert peer._transport is not None
            peer._transport.write(bytes(100))
            await until(lambda: reader.end is not None)
            assert isinstance(reader.end, ConnectionLost)
            assert reader.end.code == "frame-forged"
            with pytest.raises(ConnectionLost):
                await peer.receive()

    run(scenario)


@pytest.mark.parametrize("is_native", [True, False])
def test_shares_that_come_with_a_forged_frame_count_for_nothing_whoever_reads(
    run: Callable[[Scenario], None], is_native: bool
) -> None:
    async def scenario() -> None:
        reader = Reader(is_native)
        async with serving(reader.serve) as server:
            peer = await dial(server)
            peer.send(plain(1))
            await until(lambda: reader.passed + len(reader.taken) == 1)
            assert reader.is_native == is_native
            assert peer._noise is not None
            assert peer._transport is not None
            frames = [(frame.header(), frame.payload) for frame in (plain(2), BYE, plain(3))]
            sealed = bytearray(peer._noise.send_many(frames))
            sealed[-1] ^= 1
            peer._transport.write(bytes(sealed))
            await until(lambda: reader.end is not None)
            assert isinstance(reader.end, ConnectionLost)
            assert reader.end.code == "frame-forged"
            assert reader.passed + len(reader.taken) == 1

    run(scenario)


@pytest.mark.parametrize("is_native", [True, False])
def test_a_connection_that_its_peer_resets_is_told_alike_whoever_reads(
    run: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture, is_native: bool
) -> None:
    async def scenario() -> None:
        reader = Reader(is_native)
        async with serving(reader.serve) as server:
            peer = await dial(server)
            peer.send(plain(1))
            await until(lambda: reader.passed + len(reader.taken) == 1)
            assert reader.is_native == is_native
            assert peer._transport is not None
            own = peer._transport.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            peer._transport.abort()
            await until(lambda: reader.end is not None)
            assert isinstance(reader.end, ConnectionLost)
            assert reader.end.code == "reset"
            error = ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
            assert str(reader.end) == f"the connection broke: {error}"

    run(scenario)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_our_own_end_is_heard_by_the_peer(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        reader = Reader()
        async with serving(reader.serve) as server:
            peer = await dial(server)
            await until(lambda: reader.is_native)
            assert reader.connection is not None
            reader.connection.close()
            assert not reader.is_native
            with pytest.raises(ConnectionLost):
                await peer.receive()
            await until(lambda: reader.end is not None)

    run(scenario)
