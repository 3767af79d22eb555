"""Noise connections over real loopback sockets, on both event loops: good peers, bad peers, silent peers."""

import asyncio
import logging
import socket
import time
from collections.abc import Callable

import pytest
import uvloop
from prometheus_client import CollectorRegistry

from protocols.bitcoin import secp256k1
from protocols.sv2.errors import MalformedMessage
from protocols.sv2.frame import Frame
from roles.runtime import peer_stream
from roles.runtime.errors import AuthorityRequired, ConnectFailed, ConnectionLost, PortInUse
from roles.runtime.noise_identity import NoiseIdentity
from roles.runtime.peer_server import ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.subnet import subnet_of
from roles.runtime.sv2_connection import Sv2Connection, connect, serve
from shared_config.address import Address
from tests.roles.runtime.noise_peers import (
    AUTHORITY,
    BYE,
    DIALLED,
    LIMIT,
    SECRET,
    SHARE,
    Scenario,
    dial,
    echo,
    ended,
    raw,
    serving,
    until,
    wait_silently,
)


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Scenario], None]:
    def go(scenario: Scenario) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await scenario()
                while DIALLED:
                    connection = DIALLED.pop()
                    connection.abort("the test is over", code="closed")
                    await connection.wait_closed()

        request.param(bounded())

    return go


def test_frames_travel_both_ways_and_both_ends_know_the_session(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        served: list[Sv2Connection] = []

        async def handler(connection: Sv2Connection) -> None:
            served.append(connection)
            await echo(connection)

        async with serving(handler) as server:
            connection = await dial(server)
            connection.send(SHARE, BYE)
            assert [await connection.receive(), await connection.receive()] == [SHARE, BYE]
            large = Frame(0, False, 0x25, bytes(4) + b"\xff\xff" + bytes(4 * 0xFFFF))
            connection.send(large)
            assert await connection.receive_batch() == [large]
            await connection.drain()
            assert served[0].handshake_hash == connection.handshake_hash
            assert len(connection.handshake_hash) == 32
            assert connection.peer_static is not None
            assert served[0].peer_static is None
            assert connection.peer == str(server.address)
            connection.close()
            with pytest.raises(ConnectionLost, match="closed by us"):
                connection.send(SHARE)
            with pytest.raises(ConnectionLost):
                await connection.receive()
            with pytest.raises(ConnectionLost):
                await connection.drain()
            await until(lambda: server.connections == 0)
            assert served[0].reason == ("peer-closed", "the peer closed the connection")

    run(scenario)


def test_a_server_with_another_authority_key_is_not_spoken_to(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        other = secp256k1.xonly(secp256k1.public_key(b"\x22" * 32))
        async with serving() as server:
            with pytest.raises(ConnectFailed, match="expected authority key") as failed:
                await connect(server.address, other, limit=LIMIT)
            assert failed.value.code == "wrong-authority"
            assert str(server.address) in str(failed.value)
            assert "`hashpool keys show`" in str(failed.value)
            await dial(server)

    run(scenario)


def test_an_expired_certificate_is_refused(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async with serving(clock=lambda: time.time() - 48 * 3600) as server:
            with pytest.raises(ConnectFailed, match="ran out") as failed:
                await dial(server)
            assert failed.value.code == "certificate-out-of-date"
            assert "clocks of both machines" in str(failed.value)
            connection = await dial(server, clock=lambda: time.time() - 48 * 3600)
            assert connection.is_open

    run(scenario)


def test_a_certificate_is_renewed_before_it_runs_out_and_when_the_clock_goes_back() -> None:
    now = 1_000_000.0
    identity = NoiseIdentity(SECRET, clock=lambda: now, lifetime_s=1000)
    first = identity.certificate()
    assert (first.valid_from, first.not_valid_after) == (1_000_000 - 3600, 1_001_000)
    now += 500
    assert identity.certificate() is first
    now += 1
    second = identity.certificate()
    assert second.not_valid_after == 1_001_501
    now -= 5000
    assert identity.certificate().valid_from <= now


@pytest.mark.parametrize(("is_loopback", "level"), [(True, "INFO"), (False, "WARNING")])
def test_without_an_authority_key_nothing_is_dialled_unless_allowed_and_off_this_machine_with_a_warning(
    run: Callable[[Scenario], None],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    is_loopback: bool,
    level: str,
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(Address, "is_loopback", is_loopback)

    async def scenario() -> None:
        async with serving() as server:
            with pytest.raises(AuthorityRequired) as refused:
                await connect(server.address, None, limit=LIMIT)
            assert "authority_key" in refused.value.hint
            connection = await connect(server.address, None, limit=LIMIT, allow_unauthenticated=True)
            DIALLED.append(connection)
            connection.send(SHARE)
            assert await connection.receive() == SHARE

    run(scenario)
    assert [record.levelname for record in caplog.records if "vouches" in record.message] == [level]


def test_a_silent_peer_is_let_go_and_disturbs_nobody(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        metrics = ServerMetrics(registry, "t")
        async with serving(server_limits=ServerLimits(begin_s=0.2), metrics=metrics) as server:
            reader, writer = await raw(server)
            writer.write(b"\x01" * 63)
            await until(lambda: server.connections == 1)
            server.limits = ServerLimits()
            connection = await dial(server)
            connection.send(SHARE)
            assert await connection.receive() == SHARE
            await until(lambda: ended(registry) == {"begin-timeout": 1.0})
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await reader.readexactly(1)
            writer.close()
            connection.send(SHARE)
            assert await connection.receive() == SHARE

    run(scenario)


def test_of_too_many_beginners_the_slowest_goes(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        limits = ServerLimits(beginners=2, patience_s=0)
        async with serving(server_limits=limits, metrics=ServerMetrics(registry, "t")) as server:
            silent = []
            for _ in range(3):
                silent.append(await raw(server))
            connection = await dial(server)
            connection.send(SHARE)
            assert await connection.receive() == SHARE
            await until(lambda: ended(registry) == {"slow-to-begin": 2.0})
            assert server.connections == 2
            for _, writer in silent:
                writer.close()

    run(scenario)


def test_a_crowd_that_comes_back_at_once_is_let_in(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async with serving(server_limits=ServerLimits(beginners=2)) as server:
            crowd = await asyncio.gather(*(dial(server) for _ in range(60)))
            assert all(connection.is_open for connection in crowd)
            assert server.connections == 60

    run(scenario)


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ServerLimits(connections=1), "too-many-connections"),
        (ServerLimits(per_host=1), "too-many-of-host"),
        (ServerLimits(per_subnet=1), "too-many-of-subnet"),
    ],
)
def test_more_connections_than_allowed_are_turned_away(
    run: Callable[[Scenario], None], limits: ServerLimits, reason: str
) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        async with serving(server_limits=limits, metrics=ServerMetrics(registry, "t")) as server:
            first = await dial(server)
            with pytest.raises(ConnectFailed):
                await dial(server)
            await until(lambda: ended(registry) == {reason: 1.0})
            first.send(SHARE)
            assert await first.receive() == SHARE
            first.close()
            await until(lambda: server.connections == 0)
            await dial(server)

    run(scenario)


def test_a_host_that_is_barred_is_turned_away_and_cut_where_it_is_there(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        async with serving(metrics=ServerMetrics(registry, "t")) as server:
            first = await dial(server)
            server.bars = lambda host: host == "127.0.0.1"
            with pytest.raises(ConnectFailed):
                await dial(server)
            first.send(SHARE)
            assert await first.receive() == SHARE
            server.cut_barred()
            await until(lambda: ended(registry) == {"banned": 2.0})
            server.bars = lambda host: host == "192.0.2.7"
            server.limits = ServerLimits(connections=1)
            await dial(server)
            with pytest.raises(ConnectFailed):
                await dial(server)

    run(scenario)


@pytest.mark.parametrize(
    "words", [b"GET / HTTP/1.1\r\n" * 8, b"\x00" * 64 + b"\xff" * 100, bytes(64) + bytes(22)]
)
def test_a_peer_that_sends_garbage_is_cut(run: Callable[[Scenario], None], words: bytes) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        async with serving(metrics=ServerMetrics(registry, "t")) as server:
            reader, writer = await raw(server)
            writer.write(words)
            await until(lambda: ended(registry) == {"frame-forged": 1.0})
            writer.close()
            connection = await dial(server)
            assert connection.is_open
            assert reader is not None

    run(scenario)


def test_a_server_that_answers_with_garbage_is_not_spoken_to(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(64)
            writer.write(bytes(300))
            await reader.read()
            writer.close()

        async with await asyncio.start_server(nonsense, "127.0.0.1", 0) as server:
            address = Address(*server.sockets[0].getsockname())
            with pytest.raises(ConnectFailed) as failed:
                await connect(address, AUTHORITY, limit=LIMIT)
            assert failed.value.code == "handshake-forged"
            assert "is it the port of a Stratum V2 server?" in str(failed.value)

    run(scenario)


def test_a_silent_server_is_given_up_and_a_closed_port_named(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            with pytest.raises(ConnectFailed, match=r"within 0\.1 s") as failed:
                await connect(Address(*silent.getsockname()), AUTHORITY, limit=LIMIT, timeout=0.1)
            assert failed.value.code == "timeout"
            address = Address(*silent.getsockname())
        with pytest.raises(ConnectFailed, match=f"cannot reach {address}") as failed:
            await connect(address, AUTHORITY, limit=LIMIT)
        assert failed.value.code == "unreachable"

    run(scenario)


def test_a_dial_that_is_called_off_leaves_no_connection(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            silent.settimeout(30)
            dialling = asyncio.create_task(connect(Address(*silent.getsockname()), AUTHORITY, limit=LIMIT))
            peer, _ = await asyncio.to_thread(silent.accept)
            await asyncio.to_thread(peer.recv, 64)
            dialling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dialling
            assert await asyncio.to_thread(_ended, peer)
            peer.close()

    run(scenario)


def _ended(peer: socket.socket) -> bool:
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True


def test_a_peer_that_never_reads_is_cut_at_the_bound(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        outcome: list[ConnectionLost] = []

        async def pour(connection: Sv2Connection) -> None:
            block = Frame(0, False, 0x25, bytes(50_000))
            try:
                while True:
                    connection.send(block)
                    assert connection.unsent < 1_000_000 + 100_000
                    await asyncio.sleep(0)
            except ConnectionLost as error:
                outcome.append(error)

        async with serving(pour, stream_limits=StreamLimits(unsent=1_000_000)) as server:
            lazy = await dial(server, limits=StreamLimits(unread=1000))
            await until(lambda: bool(outcome))
            assert outcome[0].code == "not-reading"
            good = await dial(server)
            assert await good.receive()
            lazy.close()

    run(scenario)


def test_drain_waits_for_a_slow_reader(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        progress: list[str] = []

        async def pour(connection: Sv2Connection) -> None:
            block = Frame(0, False, 0x25, bytes(200_000))
            while connection.unsent < 400_000:
                connection.send(block)
                await asyncio.sleep(0)
            progress.append("full")
            await connection.drain()
            progress.append("drained")

        async with serving(pour) as server:
            slow = await dial(server, limits=StreamLimits(unread=1000))
            await until(lambda: progress == ["full"])
            while "drained" not in progress:
                assert await slow.receive()

    run(scenario)


def test_a_consumer_that_lags_makes_the_peer_wait_and_loses_nothing(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        release = asyncio.Event()
        numbers: list[int] = []

        async def lag(connection: Sv2Connection) -> None:
            await release.wait()
            while True:
                for frame in await connection.receive_batch():
                    numbers.append(frame.channel_id)

        async with serving(lag, stream_limits=StreamLimits(unread=10_000)) as server:
            connection = await dial(server)
            total = 20_000
            for number in range(total):
                connection.send(Frame(0, True, 0x18, number.to_bytes(4, "little") + bytes(800)))
                if number % 500 == 0:
                    await asyncio.sleep(0)
                if connection.unsent > 2_000_000:
                    release.set()
                    await connection.drain()
            assert release.is_set()
            await until(lambda: len(numbers) == total)
            assert numbers == list(range(total))

    run(scenario)


def test_an_oversized_frame_cuts_its_sender_only(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        async with serving(metrics=ServerMetrics(registry, "t")) as server:
            good, bad = await dial(server), await dial(server)
            bad.send(SHARE)
            assert await bad.receive() == SHARE
            bad.send(SHARE._replace(payload=bytes(5000)))
            with pytest.raises(ConnectionLost):
                await bad.receive()
            assert ended(registry) == {"oversized-frame": 1.0}
            good.send(SHARE)
            assert await good.receive() == SHARE

    run(scenario)


def test_what_arrived_before_the_end_is_still_received(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async def farewell(connection: Sv2Connection) -> None:
            connection.send(BYE)

        async with serving(farewell) as server:
            connection = await dial(server)
            await until(lambda: not connection.is_open)
            assert await connection.receive() == BYE
            with pytest.raises(ConnectionLost) as lost:
                await connection.receive()
            assert lost.value.code == "peer-closed"

    run(scenario)


def test_a_handler_with_a_fault_ends_its_own_connection_and_is_reported(
    run: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()

        async def faulty(connection: Sv2Connection) -> None:
            frame = await connection.receive()
            if frame == BYE:
                raise LookupError("no such thing")
            raise MalformedMessage("the peer's fault")

        async with serving(faulty, metrics=ServerMetrics(registry, "t")) as server:
            for frame in (BYE, SHARE):
                connection = await dial(server)
                connection.send(frame)
                with pytest.raises(ConnectionLost):
                    await connection.receive()
            await until(lambda: ended(registry) == {"fault": 1.0, "malformed-message": 1.0})

    run(scenario)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [str(record.exc_info[1]) for record in errors if record.exc_info] == ["no such thing"]


def test_a_bare_connect_and_close_is_no_news(
    run: Callable[[Scenario], None], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        registry = CollectorRegistry()
        async with serving(metrics=ServerMetrics(registry, "t")) as server:
            _, writer = await raw(server)
            writer.close()
            await until(lambda: ended(registry) == {"peer-closed": 1.0})

    caplog.set_level(logging.INFO)
    run(scenario)
    assert [r.message for r in caplog.records if r.name.startswith("roles")] == []


def test_when_the_server_stops_its_handlers_are_cancelled_and_its_peers_closed(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario() -> None:
        farewells: list[str] = []

        async def handler(connection: Sv2Connection) -> None:
            try:
                await connection.receive()
            finally:
                connection.send(BYE)
                farewells.append("sent")

        async with serving(handler) as server:
            connection = await dial(server)
            await until(lambda: server.connections == 1)
            await asyncio.sleep(0)
        assert farewells == ["sent"]
        assert await connection.receive() == BYE
        with pytest.raises(ConnectionLost):
            await connection.receive()

    run(scenario)


def test_one_connection_has_one_receiver(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        async with serving(wait_silently) as server:
            connection = await dial(server)
            first = asyncio.create_task(connection.receive())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="two tasks"):
                await connection.receive()
            connection.close()
            with pytest.raises(ConnectionLost):
                await first

    run(scenario)


def test_a_peer_that_does_not_take_the_rest_is_dropped_after_the_linger(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_stream, "LINGER_S", 0.05)

    async def scenario() -> None:
        async def pour(connection: Sv2Connection) -> None:
            while connection.unsent < 3_000_000:
                connection.send(Frame(0, False, 0x25, bytes(200_000)))
                await asyncio.sleep(0)

        async with serving(pour) as server:
            lazy = await dial(server, limits=StreamLimits(unread=1000))
            await until(lambda: server.connections == 0)
            lazy.close()

    run(scenario)


def test_a_port_in_use_is_said_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(PortInUse, match="in use"):
        serve(Address(*taken.getsockname()), SECRET, echo, limit=LIMIT, setting="listen")


def test_a_peer_that_takes_nothing_is_cut_after_a_while_however_little_there_is_for_it(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario() -> None:
        outcome: list[ConnectionLost] = []

        async def fill(connection: Sv2Connection) -> None:
            block = Frame(0, False, 0x25, bytes(60_000))
            try:
                # As much as the operating system takes, and a little more, which nobody ever reads.
                while not connection.unsent:
                    connection.send(block)
                    await asyncio.sleep(0)
                connection.send(block, block)
                await connection.receive()
            except ConnectionLost as error:
                outcome.append(error)

        async with serving(fill, stream_limits=StreamLimits(stall_s=0.2)) as server:
            await dial(server, limits=StreamLimits(unread=1000))
            await until(lambda: bool(outcome))
            assert outcome[0].code == "not-reading"
            assert "0.2 s" in str(outcome[0])

    run(scenario)


def test_a_peer_that_reads_slowly_is_not_cut(run: Callable[[Scenario], None]) -> None:
    async def scenario() -> None:
        blocks = 40

        async def pour(connection: Sv2Connection) -> None:
            connection.send(*[Frame(0, False, 0x25, bytes(60_000))] * blocks)
            await connection.receive()

        async with serving(pour, stream_limits=StreamLimits(stall_s=1.0)) as server:
            slow = await dial(server, limits=StreamLimits(unread=1000))
            for _ in range(blocks):
                await slow.receive()
                await asyncio.sleep(0.03)
            assert slow.is_open

    run(scenario)


@pytest.mark.parametrize(
    ("host", "subnet"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("::ffff:192.0.2.78", "192.0.2.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_subnet_is_what_one_customer_of_a_network_has(host: str, subnet: str) -> None:
    assert subnet_of(host) == subnet
