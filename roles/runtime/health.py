"""The health address of a daemon: /health, /ready with reasons, /metrics, and its JSON API if it has one.

A few dozen lines over asyncio streams instead of an HTTP framework, because daemons that otherwise speak no
HTTP would start three times slower with one.
"""

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from http import HTTPStatus

from prometheus_client import CollectorRegistry, generate_latest

from roles.runtime.api import Api
from roles.runtime.listen import bound, listen
from roles.runtime.readiness import Readiness
from shared_config.address import Address

MAX_CONNECTIONS = 64
_HEAD_LIMIT = 16 * 1024
_TIMEOUT_S = 10.0
_JSON = "application/json"
_METRICS = "text/plain; version=0.0.4; charset=utf-8"

_log = logging.getLogger(__name__)

Reply = tuple[HTTPStatus, str, bytes]


class HealthServer:
    """Answers GET and HEAD on the health address until it is closed."""

    def __init__(
        self, name: str, readiness: Readiness, metrics: CollectorRegistry, api: Api | None = None
    ) -> None:
        self._api = api or Api(name)
        self._name = name
        self._readiness = readiness
        self._metrics = metrics
        self._started = time.monotonic()
        self._open = 0
        self._server: asyncio.Server | None = None
        self._routes: dict[str, Callable[[], Reply]] = {
            "/health": self._health,
            "/ready": self._ready,
            "/metrics": lambda: (HTTPStatus.OK, _METRICS, generate_latest(self._metrics)),
        }

    async def start(self, address: Address) -> Address:
        """Listen and return the address got; raises PortInUse or ListenFailed."""
        sock = listen(address, "health_address")
        self._server = await asyncio.start_server(self._serve, sock=sock, limit=_HEAD_LIMIT)
        return bound(sock)

    async def close(self) -> None:
        """Stop listening; requests under way are cut."""
        if self._server is not None:
            self._server.close()

    def _health(self) -> Reply:
        uptime = round(time.monotonic() - self._started, 3)
        body = {"daemon": self._name, "pid": os.getpid(), "status": "ok", "uptime_s": uptime}
        return HTTPStatus.OK, _JSON, _dump(body)

    def _ready(self) -> Reply:
        ready = self._readiness.ready
        body: dict[str, object] = {
            "daemon": self._name,
            "pid": os.getpid(),
            "ready": ready,
            "reasons": self._readiness.reasons,
        }
        if notes := self._readiness.notes:
            body["notes"] = notes
        return (HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE), _JSON, _dump(body)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MAX_CONNECTIONS:
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            _log.debug("a health request broke off")
        finally:
            self._open -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, query = read_head(head)
        status, kind, body = await self._reply(method, path, query)
        writer.write(
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
            + (b"" if method == "HEAD" else body)
        )
        await writer.drain()

    async def _reply(self, method: str, path: str, query: str) -> Reply:
        if method not in {"GET", "HEAD"} and path.startswith("/"):
            return HTTPStatus.METHOD_NOT_ALLOWED, _JSON, _dump({"error": "only GET and HEAD"})
        if (route := self._routes.get(path)) is not None:
            return route()
        if (answer := await self._api.answer(path, query)) is not None:
            status, body = answer
            return status, _JSON, body + b"\n"
        problem = HTTPStatus.NOT_FOUND if path.startswith("/") else HTTPStatus.BAD_REQUEST
        paths = [*self._routes, *self._api.paths]
        return problem, _JSON, _dump({"error": problem.phrase.lower(), "paths": paths})


def read_head(head: bytes) -> tuple[str, str, str]:
    """Method, path and query of a request; of what is none the path is empty."""
    words = head.split(b"\r\n", 1)[0].split(b" ")
    method = words[0].decode("ascii", "replace")
    if len(words) != 3:
        return method, "", ""
    path, _, query = words[1].decode("ascii", "replace").partition("?")
    return method, path, query


def _dump(value: object) -> bytes:
    return json.dumps(value).encode() + b"\n"
