"""An HTTP client that costs little: a benchmark's driver shares the machine with what it measures."""

import asyncio
import re
from contextlib import suppress
from typing import Final, cast

from benchmarks.closed_loop import OperationFailed
from shared_config.address import Address

REQUEST_S: Final = 60.0
LOOK_S: Final = 1.0
"""How often requests are looked at that may take too long: a timer for each would cost more than the rest."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class LeanConnection(asyncio.Protocol):
    """One connection that is kept; a request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._buffer = bytearray()
        self._wanted = 0
        self._asked_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio."""
        # uvloop's transports have the methods of asyncio's, not their class.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self._buffer += data
        if not self._wanted:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self._buffer, 0, end + 2)
            if length is None:
                self._end(OperationFailed("the answer does not tell its length"))
                return
            self._wanted = end + 4 + int(length[1])
        if len(self._buffer) >= self._wanted and self._answer is not None and not self._answer.done():
            self._answer.set_result(bytes(self._buffer))

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._transport = None
        self._end(OperationFailed(f"the connection was lost: {exc}"))

    @property
    def is_open(self) -> bool:
        """Whether it can be used again."""
        return self._transport is not None and not self._transport.is_closing()

    async def ask(self, request: bytes) -> bytes:
        """The whole answer to a whole request."""
        if self._transport is None:
            raise OperationFailed("the connection was lost")
        loop = asyncio.get_running_loop()
        self._answer = loop.create_future()
        self._asked_at = loop.time()
        self._buffer.clear()
        self._wanted = 0
        self._transport.write(request)
        return await self._answer

    def end_late(self, before: float) -> None:
        """Give a request up that was sent before a time of the event loop's clock."""
        if self._asked_at < before:
            self._end(OperationFailed(f"no answer within {REQUEST_S:g} s"))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: OperationFailed) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)


class LeanClient:
    """Asks one server for JSON, over as many connections as there are requests at a time."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: list[LeanConnection] = []
        self._asking: set[LeanConnection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._host = str(address).encode()

    async def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of an answer with status 200; raises OperationFailed for everything else."""
        request = b"%s %s HTTP/1.1\r\nHost: %s\r\n" % (method.encode(), path.encode(), self._host)
        if body:
            request += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(body)
        connection = await self._connection()
        self._asking.add(connection)
        if self._timer is None:
            self._look_later()
        try:
            answer = await connection.ask(request + b"\r\n" + body)
        except BaseException:
            connection.close()
            raise
        finally:
            self._asking.discard(connection)
        self._idle.append(connection)
        head, _, content = answer.partition(b"\r\n\r\n")
        if head[9:12] != b"200":
            raise OperationFailed(f"HTTP {head[9:12].decode()}: {content[:200]!r}")
        return content

    def close(self) -> None:
        """End every connection."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _look_later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def _look(self) -> None:
        self._timer = None
        before = asyncio.get_running_loop().time() - REQUEST_S
        for connection in tuple(self._asking):
            connection.end_late(before)
        if self._asking:
            self._look_later()

    async def _connection(self) -> LeanConnection:
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        with suppress(OSError):
            _, made = await asyncio.get_running_loop().create_connection(
                LeanConnection, self._address.host, self._address.port
            )
            return made
        raise OperationFailed(f"{self._address} does not listen")
