import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry, Counter

from roles.runtime import health
from roles.runtime.health import HealthServer
from roles.runtime.readiness import Readiness
from shared_config.address import Address


class Daemon:
    def __init__(self) -> None:
        self.readiness = Readiness()
        self.metrics = CollectorRegistry()
        self.server = HealthServer("pool", self.readiness, self.metrics)
        self.address = Address("127.0.0.1", 0)

    async def send(self, request: bytes) -> tuple[int, str, bytes]:
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        writer.write(request)
        reply = b""
        with contextlib.suppress(ConnectionError):
            reply = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        head, _, body = reply.partition(b"\r\n\r\n")
        return int(head.split(b" ")[1] or 0) if head else 0, head.decode(), body

    async def get(self, path: str) -> tuple[int, bytes]:
        status, _, body = await self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return status, body


@pytest.fixture
async def daemon() -> AsyncIterator[Daemon]:
    daemon = Daemon()
    daemon.address = await daemon.server.start(daemon.address)
    yield daemon
    await daemon.server.close()


async def test_health_says_that_the_daemon_lives(daemon: Daemon) -> None:
    status, body = await daemon.get("/health")
    assert status == 200
    assert json.loads(body)["daemon"] == "pool"


async def test_ready_is_503_with_reasons_until_everything_is_met(daemon: Daemon) -> None:
    assert (await daemon.get("/ready"))[0] == 503
    daemon.readiness.declare("upstream", "connecting")
    status, body = await daemon.get("/ready")
    assert status == 503
    assert json.loads(body) == {
        "daemon": "pool",
        "pid": os.getpid(),
        "ready": False,
        "reasons": {"upstream": "connecting"},
    }
    daemon.readiness.met("upstream")
    assert (await daemon.get("/ready?x=1"))[0] == 200
    daemon.readiness.note("upstream", "at the second")
    assert json.loads((await daemon.get("/ready"))[1])["notes"] == {"upstream": "at the second"}


async def test_metrics_are_those_of_the_daemon(daemon: Daemon) -> None:
    Counter("hashpool_things", "Things.", registry=daemon.metrics).inc(3)
    status, head, body = await daemon.send(b"GET /metrics HTTP/1.1\r\n\r\n")
    assert status == 200
    assert "text/plain; version=0.0.4" in head
    assert b"hashpool_things_total 3.0" in body


async def test_a_head_request_gets_no_body(daemon: Daemon) -> None:
    status, head, body = await daemon.send(b"HEAD /health HTTP/1.1\r\n\r\n")
    assert (status, body) == (200, b"")
    assert "Content-Length" in head


@pytest.mark.parametrize(
    ("request_line", "status"),
    [("GET /nothing HTTP/1.1", 404), ("POST /health HTTP/1.1", 405), ("nonsense", 400), ("\x80 x y", 400)],
)
async def test_other_requests_are_refused(daemon: Daemon, request_line: str, status: int) -> None:
    assert (await daemon.send(request_line.encode("latin-1") + b"\r\n\r\n"))[0] == status


async def test_a_head_without_end_is_cut_off(daemon: Daemon) -> None:
    assert (await daemon.send(b"GET /" + b"x" * 100_000))[0] == 0


async def test_a_silent_client_is_cut_off(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_TIMEOUT_S", 0.01)
    assert (await daemon.send(b""))[0] == 0


async def test_more_connections_than_allowed_are_closed_at_once(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "MAX_CONNECTIONS", 0)
    assert (await daemon.get("/health"))[0] == 0
