"""The HTTP side of JSON-RPC: POST on /, basic authentication, bounds, bitcoind's status codes."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from logging import getLogger
from typing import Final, cast

from roles.regtest_node.cookie import Cookie
from roles.regtest_node.http_request import Head, HttpFault, RequestReader
from roles.regtest_node.jsonrpc import Reply, answer
from roles.regtest_node.metrics import Metrics
from roles.regtest_node.rpc import Rpc

log = getLogger(__name__)

_CHALLENGE: Final = ('WWW-Authenticate: Basic realm="jsonrpc"',)
_WRONG_PASSWORD_S: Final = 0.25
_IDLE_S: Final = 120.0
_FINISH_S: Final = 3.0
_SMALL_BODY: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may take: open connections, requests under way, bytes of a body and seconds to send it."""

    connections: int
    requests: int
    body_bytes: int
    body_s: float


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why a request is not served."""

    status: HTTPStatus
    reason: str
    text: str = ""
    headers: tuple[str, ...] = ()


class RpcServer:
    """Serves one `Rpc` to those who know the cookie."""

    def __init__(self, rpc: Rpc, cookie: Cookie, bounds: Bounds, metrics: Metrics) -> None:
        self.rpc = rpc
        self.bounds = bounds
        self.metrics = metrics
        self.under_way = 0
        self.connections: set[Connection] = set()
        self._cookie = cookie

    @asynccontextmanager
    async def serving(self, sock: socket.socket) -> AsyncIterator[None]:
        """Serves on a listening socket; at the end what is under way may finish for 3 s."""
        listener = await asyncio.get_running_loop().create_server(lambda: Connection(self), sock=sock)
        try:
            yield
        finally:
            listener.close()
            busy = [each.task for each in self.connections if each.task is not None]
            if busy:
                await asyncio.wait(busy, timeout=_FINISH_S)
            for connection in list(self.connections):
                connection.close()

    def refusal(self, head: Head) -> _Refusal | None:
        """Why a request is none of ours, as far as its head tells."""
        if head.path != "/":
            return _Refusal(HTTPStatus.NOT_FOUND, "path")
        if head.method != "POST":
            text = "JSONRPC server handles only POST requests"
            return _Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "method", text)
        authorization = head.headers.get("authorization")
        if authorization is None:
            return _Refusal(HTTPStatus.UNAUTHORIZED, "no_password", headers=_CHALLENGE)
        if not self._cookie.admits(authorization):
            return _Refusal(HTTPStatus.UNAUTHORIZED, "wrong_password", headers=_CHALLENGE)
        if head.length > self.bounds.body_bytes:
            return _Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "body")
        if self.under_way >= self.bounds.requests:
            return _Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "work_queue", "Work queue depth exceeded")
        return None


class Connection(asyncio.Protocol):
    """One client: its requests are answered one by one, and what it waits for ends when it hangs up."""

    def __init__(self, server: RpcServer) -> None:
        self._server = server
        self._reader = RequestReader()
        self._transport: asyncio.Transport | None = None
        self._head: Head | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_choked = False
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Takes the connection, unless there are too many."""
        if len(self._server.connections) >= self._server.bounds.connections:
            self._server.metrics.refused.labels("connections").inc()
            transport.close()
            return
        # uvloop's transports are streams by behaviour, not by class.
        self._transport = cast("asyncio.Transport", transport)
        self._server.connections.add(self)
        self._wait(_IDLE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends what the client has been waiting for."""
        del exc
        self._transport = None
        self._server.connections.discard(self)
        self._rest()
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        """Reads on, or keeps what comes early while a request is under way."""
        self._reader.receive(data)
        if self.task is None and not self._is_choked:
            self._advance()
        elif self._reader.buffered > _SMALL_BODY and self._transport is not None:
            self._transport.pause_reading()

    def pause_writing(self) -> None:
        """Begins nothing more for a client that does not read."""
        self._is_choked = True

    def resume_writing(self) -> None:
        """Goes on with what such a client has asked meanwhile."""
        self._is_choked = False
        if self.task is None:
            self._go_on()

    def close(self) -> None:
        """Hangs up once what is written has been sent."""
        if self._transport is not None:
            self._transport.close()

    def _advance(self) -> None:
        """Starts the next request, if it has arrived."""
        try:
            if self._head is None:
                self._head = self._reader.head()
                if self._head is None:
                    return
                self._begin(self._head)
        except HttpFault as fault:
            self._refuse(_Refusal(fault.status, "malformed"), keep_alive=False)
            return
        body = None if self._head is None else self._reader.body(self._head.length)
        if self._head is not None and body is not None:
            head, self._head = self._head, None
            self._rest()
            self.task = asyncio.ensure_future(self._serve(head, body))
            self.task.add_done_callback(self._served)

    def _begin(self, head: Head) -> None:
        """Looks at a head before its body is let in."""
        self._wait(self._server.bounds.body_s)
        if head.length > _SMALL_BODY:
            refusal = self._server.refusal(head)
            if refusal is not None:
                self._head = None
                self._refuse(refusal, keep_alive=False)
                return
        if head.expects_continue and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    async def _serve(self, head: Head, body: bytes) -> None:
        refusal = self._server.refusal(head)
        if refusal is not None:
            if refusal.reason == "wrong_password":
                # Guessing is slow.
                await asyncio.sleep(_WRONG_PASSWORD_S)
            self._refuse(refusal, keep_alive=head.keep_alive)
            return
        self._server.under_way += 1
        try:
            reply = await answer(body, self._server.rpc.execute)
        finally:
            self._server.under_way -= 1
        self._write(reply, "application/json", (), keep_alive=head.keep_alive)

    def _served(self, task: asyncio.Task[None]) -> None:
        self.task = None
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("a request could not be answered", exc_info=error)
            self.close()
        if self._transport is not None:
            self._wait(_IDLE_S)
            self._go_on()

    def _go_on(self) -> None:
        if self._transport is not None and not self._transport.is_closing() and not self._is_choked:
            self._transport.resume_reading()
            self._advance()

    def _refuse(self, refusal: _Refusal, *, keep_alive: bool) -> None:
        self._server.metrics.refused.labels(refusal.reason).inc()
        reply = Reply(refusal.status, refusal.text.encode())
        self._write(reply, "text/plain", refusal.headers, keep_alive=keep_alive)

    def _write(self, reply: Reply, kind: str, headers: tuple[str, ...], *, keep_alive: bool) -> None:
        if self._transport is None:
            return
        lines = [
            f"HTTP/1.1 {reply.status.value} {reply.status.phrase}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(reply.body)}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
            *headers,
        ]
        if reply.status is HTTPStatus.NO_CONTENT:
            del lines[1:3]
        self._transport.write("\r\n".join(lines).encode() + b"\r\n\r\n" + reply.body)
        if not keep_alive:
            self._transport.close()

    def _wait(self, seconds: float) -> None:
        """Hangs up on a client that sends nothing for so long."""
        self._rest()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._give_up)

    def _give_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
