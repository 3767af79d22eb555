"""Plain requests, which most are, reach their handlers without aiohttp's parser, queues and tasks.

Plain is a GET or POST that comes whole and alone in one piece, whose head says nothing of the connection but
that it stays, and nothing of the body but its length. With the first other request a connection is aiohttp's
for good, with every byte of it.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Final, cast

from aiohttp import HttpVersion11, web
from aiohttp.http import StreamWriter
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

HEAD_LIMIT: Final = 4_096

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Of a path only what needs no decoding.
_HEAD: Final = re.compile(
    rb"(GET|POST) (/[\w/.:~-]*)(?:\?([\w/.:~=&,-]*))? HTTP/1\.1\r\n((?:[A-Za-z0-9-]+:[ -~]*\r\n)+)\r\n"
)
_TELLING: Final = frozenset(
    {"transfer-encoding", "content-encoding", "upgrade", "expect", "te", "trailer", "keep-alive"}
)
_DIGITS: Final = 9

_log = logging.getLogger(__name__)


class PlainConnection(asyncio.Protocol):
    """A connection whose plain requests `answer` gets, one after the other, and `inner` what is not plain.

    A request may be as long as `request_s` under way, then `idle_s` without another end the connection. Tasks
    under way are in `serving`.
    """

    def __init__(
        self,
        inner: web.RequestHandler,
        answer: Answer,
        *,
        body_bytes: int,
        request_s: float,
        idle_s: float,
        serving: set[asyncio.Task[None]],
    ) -> None:
        self._inner = inner
        self._answer = answer
        self._body_bytes = body_bytes
        self._request_s = request_s
        self._idle_s = idle_s
        self._serving = serving
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._is_plain = True
        self._task: asyncio.Task[None] | None = None
        self._later = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # uvloop's transports have the methods of asyncio's, not their class.
        self._transport = cast("asyncio.Transport", transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._transport = None
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See asyncio."""
        self._inner.resume_writing()

    def eof_received(self) -> None:
        """See asyncio."""
        self._inner.eof_received()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        if self._task is not None:
            # Whoever does not wait for an answer is not read from until it is there.
            self._later += data
            if self._transport is not None:
                self._transport.pause_reading()
            return
        if self._is_plain:
            found = read_plain(data, self._body_bytes)
            if found is not None:
                self._begin(*found)
                return
            self._is_plain = False
        self._inner.data_received(data)

    def _begin(self, message: RawRequestMessage, body: bytes) -> None:
        # Else aiohttp, which has heard nothing, would end the connection.
        self._inner._next_keepalive_close_time = self._loop.time() + self._request_s + self._idle_s
        self._task = task = self._loop.create_task(self._serve(message, body))
        self._serving.add(task)
        task.add_done_callback(self._end)

    async def _serve(self, message: RawRequestMessage, body: bytes) -> None:
        writer = StreamWriter(self._inner, self._loop)
        task = self._task
        assert task is not None
        request = web.Request(
            message, EMPTY_PAYLOAD, self._inner, writer, task, self._loop, client_max_size=self._body_bytes
        )
        request._read_bytes = body
        response = await self._answer(request)
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            return
        if not response.keep_alive and self._transport is not None:
            self._transport.close()

    def _end(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self._serving.discard(task)
        transport = self._transport
        if task.cancelled() or (error := task.exception()) is not None:
            if not task.cancelled():
                _log.error("a request failed", exc_info=error)
            if transport is not None:
                transport.abort()
            return
        self._inner._next_keepalive_close_time = self._loop.time() + self._idle_s
        if self._later and transport is not None and not transport.is_closing():
            data, self._later = self._later, b""
            transport.resume_reading()
            self.data_received(data)


def read_plain(data: bytes, body_bytes: int) -> tuple[RawRequestMessage, bytes] | None:
    """Head and body of a plain request; None for anything else."""
    head = _HEAD.match(data)
    if head is None or head.end() > HEAD_LIMIT:
        return None
    pairs = []
    length: int | None = None
    for line in head[4].decode().split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        value = value.strip(" ")
        kind = name.lower()
        if kind in _TELLING or (kind == "connection" and value.lower() != "keep-alive"):
            return None
        if kind == "content-length":
            if length is not None or not value.isdecimal() or len(value) > _DIGITS:
                return None
            length = int(value)
        pairs.append((name, value))
    method = head[1].decode()
    body = data[head.end() :]
    if len(body) != (length or 0) or len(body) > body_bytes or (method == "POST" and length is None):
        return None
    headers = CIMultiDictProxy(CIMultiDict(pairs))
    path, query = head[2].decode(), (head[3] or b"").decode()
    if "/." in path or "Host" not in headers:
        return None
    # Paths of GET may name secrets, which are not to be kept.
    url = _known_url(path, query) if method == "POST" else _url(path, query)
    return (
        RawRequestMessage(
            method, url.raw_path_qs, HttpVersion11, headers, (), False, None, False, False, url
        ),
        body,
    )


def _url(path: str, query: str) -> URL:
    return URL.build(path=path, query_string=query, encoded=True)


_known_url = lru_cache(maxsize=64)(_url)
