"""Lines over real loopback sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.sv1.errors import MalformedError
from protocols.sv1.line import Overlong
from roles.runtime.errors import ConnectFailed, ConnectionLost
from roles.runtime.line_connection import LineConnection, ServedLines, connect, serve
from roles.runtime.peer_server import PeerServer, ServerLimits, ServerMetrics
from shared_config.address import Address

DIALLED: list[LineConnection] = []
ANY_PORT = Address("127.0.0.1", 0)


async def echo(connection: LineConnection) -> None:
    while True:
        for line in await connection.receive_batch():
            connection.send(b"overlong\n" if isinstance(line, Overlong) else line + b"\n")


@asynccontextmanager
async def serving(
    handler: Callable[[LineConnection], Awaitable[None]] = echo, **options: Any
) -> AsyncIterator[PeerServer[ServedLines]]:
    server = serve(ANY_PORT, handler, setting="listen", **options)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        try:
            yield server
        finally:
            while DIALLED:
                connection = DIALLED.pop()
                connection.abort("the test is over", code="closed")
                await connection.wait_closed()
            task.cancel()
            await asyncio.wait([task])
            server.close()


async def dial(server: PeerServer[ServedLines]) -> LineConnection:
    DIALLED.append(await connect(server.address))
    return DIALLED[-1]


def ended(registry: CollectorRegistry) -> dict[str, float]:
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    return {s.labels["reason"]: s.value for s in samples if s.name == "hashpool_t_connections_ended_total"}


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


async def test_lines_travel_both_ways_whatever_their_pieces() -> None:
    async with serving() as server:
        connection = await dial(server)
        connection.send(b'{"a":1}\r\n', b"\n", b"two\nth")
        connection.send(b"ree\n")
        assert [await connection.receive() for _ in range(3)] == [b'{"a":1}', b"two", b"three"]
        connection.close()
        await connection.wait_closed()
        with pytest.raises(ConnectionLost):
            connection.send(b"late\n")


async def test_a_line_above_the_limit_costs_that_line_only() -> None:
    async with serving(line_limit=100) as server:
        connection = await dial(server)
        connection.send(b"x" * 101 + b"\n", b"short\n")
        assert [await connection.receive(), await connection.receive()] == [b"overlong", b"short"]
        connection.close()


@pytest.mark.parametrize("words", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", bytes(64)])
async def test_a_peer_of_another_protocol_is_cut(words: bytes) -> None:
    registry = CollectorRegistry()
    async with serving(metrics=ServerMetrics(registry, "t")) as server:
        connection = await dial(server)
        connection.send(words)
        with pytest.raises(ConnectionLost):
            await connection.receive()
        assert ended(registry) == {"wrong-protocol": 1.0}


async def test_a_peer_that_says_nothing_is_let_go_and_never_handled() -> None:
    registry = CollectorRegistry()
    handled: list[LineConnection] = []

    async def handler(connection: LineConnection) -> None:
        handled.append(connection)

    options = {"server_limits": ServerLimits(begin_s=0.1), "metrics": ServerMetrics(registry, "t")}
    async with serving(handler, **options) as server:
        connection = await dial(server)
        with pytest.raises(ConnectionLost):
            await connection.receive()
        assert ended(registry) == {"begin-timeout": 1.0}
    assert handled == []


async def test_a_handler_that_refuses_a_message_ends_that_connection() -> None:
    registry = CollectorRegistry()

    async def handler(connection: LineConnection) -> None:
        await connection.receive()
        raise MalformedError("no such thing")

    async with serving(handler, metrics=ServerMetrics(registry, "t")) as server:
        connection = await dial(server)
        connection.send(b"hello\n")
        with pytest.raises(ConnectionLost):
            await connection.receive()
        await until(lambda: ended(registry) == {"protocol-error": 1.0})


async def test_an_unreachable_server_is_named() -> None:
    async with serving() as server:
        address = server.address
    with pytest.raises(ConnectFailed, match=f"cannot reach {address}"):
        await connect(address)
