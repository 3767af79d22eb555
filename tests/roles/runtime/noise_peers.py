"""Noise connections on loopback for tests: what serves, dials and waits."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from protocols.bitcoin import secp256k1
from protocols.sv2.codec import MINING, encode
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import CloseChannel, SubmitSharesStandard
from roles.runtime.peer_server import PeerServer
from roles.runtime.sv2_connection import ServedConnection, Sv2Connection, connect, serve
from shared_config.address import Address

SECRET = b"\x11" * 32
AUTHORITY = secp256k1.xonly(secp256k1.public_key(SECRET))
LIMIT = FrameLimits(MINING)
ANY_PORT = Address("127.0.0.1", 0)
SHARE = encode(SubmitSharesStandard(1, 2, 3, 4, 5, 6))
BYE = encode(CloseChannel(1, "bye"))

DIALLED: list[Sv2Connection] = []

Scenario = Callable[[], Coroutine[Any, Any, None]]
Handler = Callable[[Sv2Connection], Awaitable[None]]


async def echo(connection: Sv2Connection) -> None:
    while True:
        connection.send(*await connection.receive_batch())


async def wait_silently(connection: Sv2Connection) -> None:
    await connection.receive()


@asynccontextmanager
async def serving(handler: Handler = echo, **options: Any) -> AsyncIterator[PeerServer[ServedConnection]]:
    server = serve(ANY_PORT, SECRET, handler, limit=LIMIT, setting="listen", **options)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(server.run())
        try:
            yield server
        finally:
            task.cancel()
            await asyncio.wait([task])
            server.close()


def ended(registry: CollectorRegistry) -> dict[str, float]:
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    return {s.labels["reason"]: s.value for s in samples if s.name == "hashpool_t_connections_ended_total"}


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.005)


async def dial(server: PeerServer[ServedConnection], **options: Any) -> Sv2Connection:
    connection = await connect(server.address, AUTHORITY, limit=LIMIT, **options)
    DIALLED.append(connection)
    return connection


async def raw(server: PeerServer[ServedConnection]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection(server.address.host, server.address.port)
