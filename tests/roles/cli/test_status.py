"""What `hashpool status` makes of who answers at a health address."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from roles.cli.status import ask_all
from roles.runtime.health import HealthServer
from roles.runtime.readiness import Readiness
from shared_config.address import Address


@pytest.fixture
async def pool() -> AsyncIterator[str]:
    """The health address of a pool that waits for its mint."""
    readiness = Readiness()
    readiness.declare("mint", "it is away")
    server = HealthServer("pool", readiness, CollectorRegistry())
    yield str(await server.start(Address("127.0.0.1", 0)))
    await server.close()


async def test_a_daemon_is_shown_with_what_it_waits_for(pool: str) -> None:
    (answer,) = await ask_all({"pool": pool})
    assert (answer.up, answer.ready, answer.reasons) == (True, False, {"mint": "it is away"})


async def test_another_daemon_at_the_address_is_not_taken_for_it(pool: str) -> None:
    (answer,) = await ask_all({"mint": pool})
    assert not answer.up
    assert answer.reasons == {"health_address": "another program answers there"}


@pytest.mark.parametrize("body", [b"[]", b"hello", b"{}"])
async def test_another_program_at_the_address_is_told(body: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        (answer,) = await ask_all({"pool": f"{host}:{port}"})
    assert answer.reasons == {"health_address": "another program answers there"}
