"""Answers in JSON that cost little: head and body go out at once, and what all heads share is made once."""

import time
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import HttpVersion10, web
from aiohttp.abc import AbstractStreamWriter

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class JsonReply(web.Response):
    """A response whose head is written without aiohttp's; `common` are lines that every head has."""

    def __init__(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(body=body, status=status, headers=headers)
        self.common = b""
        self._stays = False
        self._is_sent = False

    @property
    def keep_alive(self) -> bool | None:
        """Whether the connection goes on."""
        return self._stays

    @property
    def prepared(self) -> bool:
        """Whether it has been written."""
        return self._is_sent

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write it whole; raises ConnectionError when nobody is there to read."""
        if self._is_sent:
            return None
        self._is_sent = True
        self._stays = request.keep_alive
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the connection was lost")
        body = self.body
        assert isinstance(body, bytes)
        head = self._head(request, len(body))
        transport.write(head if request.method == "HEAD" else head + body)
        # Who does not read what was answered is not answered again.
        await request.writer.drain()
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""
        del data

    def _head(self, request: web.BaseRequest, size: int) -> bytes:
        is_old = request.version == HttpVersion10
        connection = ""
        if self._stays == is_old:
            connection = f"Connection: {'keep-alive' if self._stays else 'close'}\r\n"
        own = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()])
        return b"HTTP/1.%d %d %s\r\nContent-Length: %d\r\n%s%s%s\r\n" % (
            0 if is_old else 1,
            self.status,
            _REASONS.get(self.status, "").encode(),
            size,
            (own + connection).encode(),
            _dated(int(time.time())),
            self.common,
        )


def json_reply(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A response with ``value`` as JSON."""
    return JsonReply(orjson.dumps(value), status, headers)


def lines(headers: Iterable[tuple[str, Any]]) -> bytes:
    """Lines of a head."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers).encode()


@lru_cache(maxsize=1)
def _dated(now: int) -> bytes:
    return lines([("Content-Type", "application/json"), ("Date", formatdate(now, usegmt=True))])
