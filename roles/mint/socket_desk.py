"""Where wallets open websockets: who may, and what becomes of a socket that ends."""

import asyncio
import logging
import time
from collections import Counter as Tally
from collections.abc import Callable
from typing import Final

from aiohttp import WSCloseCode, web
from prometheus_client import CollectorRegistry, Counter, Gauge

from roles.mint.notice_board import NoticeBoard
from roles.mint.socket_session import SocketSession
from roles.runtime.http import HttpRefusal
from roles.runtime.http_pace import HttpPace, source_of
from shared_config.sockets import SocketLimits

PARTING_S: Final = 2.0
"""For how long a wallet may take to answer that it is done, too."""
WRITER_BYTES: Final = 1 << 16
_log = logging.getLogger(__name__)


class SocketDesk:
    """All open sockets of a mint; `client` names whoever sent a request."""

    def __init__(
        self,
        board: NoticeBoard,
        limits: SocketLimits,
        registry: CollectorRegistry,
        client: Callable[[web.Request], str] = lambda request: request.remote or "",
    ) -> None:
        self._board = board
        self._limits = limits
        self._client = client
        self._open: dict[web.WebSocketResponse, tuple[str, SocketSession]] = {}
        self._by_address: Tally[str] = Tally()
        self._pace = HttpPace(limits.objects_per_s, limits.objects_at_once)
        self._closing = False
        self._notices = Counter(
            "hashpool_mint_notices", "States told to wallets on websockets.", ["kind"], registry=registry
        )
        self._ended = Counter(
            "hashpool_mint_sockets_ended", "Websockets that ended, by reason.", ["reason"], registry=registry
        )
        self._refused = Counter(
            "hashpool_mint_sockets_refused", "Websockets beyond a bound.", ["bound"], registry=registry
        )
        sockets = Gauge("hashpool_mint_sockets", "Open websockets.", registry=registry)
        sockets.set_function(lambda: float(len(self._open)))
        objects = Gauge(
            "hashpool_mint_socket_objects", "Quotes and proofs that wallets listen to.", registry=registry
        )
        objects.set_function(lambda: float(self._objects()))

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The handler of /v1/ws; raises HttpRefusal."""
        address = source_of(self._client(request))
        self._check(request, address)
        limits = self._limits
        socket = web.WebSocketResponse(
            heartbeat=limits.ping_s,
            max_msg_size=limits.message_bytes,
            compress=False,
            writer_limit=WRITER_BYTES,
        )
        session = SocketSession(
            socket,
            self._board,
            limits,
            pace=lambda objects: self._pace.reserve(address, time.monotonic(), objects),
            room=lambda: limits.all_objects - self._objects(),
            told=lambda kind: self._notices.labels(kind).inc(),
        )
        self._open[socket] = address, session
        self._by_address[address] += 1
        try:
            await socket.prepare(request)
            reason = await self._ending(session, request)
            await self._part(socket, WSCloseCode.OK)
        finally:
            del self._open[socket]
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]
        self._ended.labels(reason).inc()
        _log.debug("a websocket ended", extra={"reason": reason})
        return socket

    async def close(self) -> None:
        """End all sockets, and take no more."""
        self._closing = True
        await asyncio.gather(*(self._part(socket, WSCloseCode.GOING_AWAY) for socket in self._open))

    async def _part(self, socket: web.WebSocketResponse, code: int) -> None:
        try:
            async with asyncio.timeout(PARTING_S):
                await socket.close(code=code)
        except TimeoutError:
            pass

    async def _ending(self, session: SocketSession, request: web.Request) -> str:
        try:
            return await session.serve()
        except TimeoutError:
            reason = "not-reading"
        except ConnectionResetError:
            reason = "gone"
        if request.transport is not None:
            request.transport.abort()
        return reason

    def _check(self, request: web.Request, address: str) -> None:
        if not self._limits.sockets:
            raise HttpRefusal(404, "this mint offers no websocket")
        if not web.WebSocketResponse().can_prepare(request).ok:
            raise HttpRefusal(426, "this is a websocket", headers={"Upgrade": "websocket"})
        if self._closing:
            raise self._full("sockets")
        if self._by_address[address] >= self._limits.sockets_per_address:
            if not self._make_room(address):
                raise self._full("sockets_per_address")
        elif len(self._open) >= self._limits.sockets and not self._make_room(None):
            raise self._full("sockets")

    def _full(self, bound: str) -> HttpRefusal:
        self._refused.labels(bound).inc()
        text, status = "too many websockets are open", 503
        if bound == "sockets_per_address":
            text, status = f"{text} from this address", 429
        return HttpRefusal(status, text, headers={"Retry-After": "60"})

    def _make_room(self, address: str | None) -> bool:
        """Have the socket end that has been idle for longest, of an address if there is one."""
        latest = time.monotonic() - self._limits.spare_s
        idle = [
            (session.idle_since, session)
            for where, session in self._open.values()
            if session.idle_since is not None and session.idle_since <= latest and address in {None, where}
        ]
        if not idle:
            return False
        _, session = min(idle, key=lambda each: each[0])
        session.give_way()
        return True

    def _objects(self) -> int:
        return sum(session.objects for _, session in self._open.values())
