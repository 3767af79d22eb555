"""An HTTP API over aiohttp: JSON in and out, bounded in every direction, measured by route.

Imported only by daemons that serve HTTP. A handler returns a response, raises `HttpRefusal`, or raises what
``translate`` turns into one; anything else is a fault of the program and answered 500 without its text.
"""

import asyncio
import logging
import math
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge

from roles.runtime.errors import HttpRefusal, StorageError
from roles.runtime.http_pace import NO_BOUND, UNNAMED, ForwardedFor, HttpPace, Network, Operation, Pace
from roles.runtime.http_paths import PathTable
from roles.runtime.http_plain import PlainConnection
from roles.runtime.http_reply import JsonReply, json_reply, lines
from roles.runtime.listen import bound, listen
from roles.runtime.tally import Heap, Spreads
from roles.runtime.time_bound import TimeBound
from shared_config.address import Address

__all__ = [
    "Handler",
    "HttpBounds",
    "HttpRefusal",
    "HttpServer",
    "Operation",
    "Pace",
    "json_reply",
    "read_json",
]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Translate = Callable[[Exception], HttpRefusal | None]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Expose-Headers": "Retry-After",
    "Access-Control-Max-Age": "86400",
}
_ALL = "all"
_RETRY_S = "1"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """Connections at once; bytes of a body; seconds of a request, of an idle connection, of a shutdown;
    requests of one address, all together and by the pace that operations name, and the reverse proxies
    whose X-Forwarded-For is believed.
    """

    connections: int = 2_000
    body_bytes: int = 1 << 20
    request_s: float = 15.0
    idle_s: float = 30.0
    drain_s: float = 5.0
    pace: Pace = NO_BOUND
    paces: Mapping[str, Pace] = field(default_factory=dict)
    trusted_proxies: Sequence[Network] = ()


@dataclass(slots=True)
class _Meter:
    """What is measured of an HTTP API."""

    registry: CollectorRegistry
    seconds: Spreads = field(init=False)
    connections: Gauge = field(init=False)
    turned_away: Counter = field(init=False)
    too_fast: Counter = field(init=False)
    addresses: Gauge = field(init=False)
    operations: Spreads = field(init=False)
    errors: Counter = field(init=False)
    _timed: dict[tuple[str, str, str, int], tuple[Heap, Heap]] = field(default_factory=dict)
    """What was looked up once: by operation, route, method and status, of which there are few."""

    def observe(
        self, operation: str, route: web.AbstractRoute, method: str, status: int, took: float
    ) -> None:
        """A request was answered after so many seconds."""
        path = route.resource.canonical if route.resource is not None else "unmatched"
        key = (operation, path, method if method in _METHODS else "other", status)
        timed = self._timed.get(key)
        if timed is None:
            seconds = self.seconds.labels(*key[1:3], str(status))
            timed = self._timed[key] = (self.operations.labels(operation), seconds)
        for heap in timed:
            heap.observe(took)

    def __post_init__(self) -> None:
        self.seconds = Spreads(
            "hashpool_http_request_seconds",
            "From the head of a request to the end of its handler.",
            ["route", "method", "status"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.connections = Gauge("hashpool_http_connections", "Open connections.", registry=self.registry)
        self.turned_away = Counter(
            "hashpool_http_turned_away", "Connections beyond the bound.", registry=self.registry
        )
        self.too_fast = Counter(
            "hashpool_http_too_fast",
            "Requests beyond a pace of their address: that of all requests, or of an operation.",
            ["pace"],
            registry=self.registry,
        )
        self.operations = Spreads(
            "hashpool_http_operation_seconds",
            "As hashpool_http_request_seconds, by what the request is for.",
            ["operation"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.errors = Counter(
            "hashpool_http_operation_errors",
            "Requests that were refused or failed, by what they were for and the code of the answer.",
            ["operation", "code"],
            registry=self.registry,
        )
        self.addresses = Gauge(
            "hashpool_http_addresses", "Addresses whose pace is remembered.", registry=self.registry
        )


async def read_json(request: web.Request) -> Any:
    """The body of a request as JSON; raises HttpRefusal when it is too large (413) or no JSON (400)."""
    try:
        return orjson.loads(await request.read())
    except web.HTTPRequestEntityTooLarge as error:
        raise HttpRefusal(413, "the body is too large") from error
    except orjson.JSONDecodeError as error:
        raise HttpRefusal(400, "the body is not JSON") from error


class HttpServer:
    """One HTTP API: routes are added first, then it is started, and closed at the end.

    ``translate`` turns a domain's exception into a refusal, or None when it is not one. With ``cors``,
    pages of any origin may use the API.
    """

    def __init__(
        self,
        bounds: HttpBounds,
        metrics: CollectorRegistry,
        *,
        translate: Translate = lambda _: None,
        cors: bool = False,
    ) -> None:
        self._bounds = bounds
        self._translate = translate
        self._meter = _Meter(metrics)
        self._headers = {"Server": "hashpool", "X-Content-Type-Options": "nosniff"} | (_CORS if cors else {})
        self._cors = cors
        self._app = web.Application(client_max_size=bounds.body_bytes, middlewares=[self._answer])
        self._runner: web.AppRunner | None = None
        self._listener: asyncio.Server | None = None
        self._meter.connections.set_function(lambda: float(self._open()))
        self._paces = {
            name: HttpPace(pace.per_s, pace.at_once)
            for name, pace in {_ALL: bounds.pace, **bounds.paces}.items()
        }
        self._meter.addresses.set_function(lambda: float(sum(map(len, self._paces.values()))))
        self._forwarded = ForwardedFor(bounds.trusted_proxies)
        self._common = lines(self._headers.items())
        self._operations: dict[web.AbstractRoute, Operation] = {}
        self._paths = PathTable()
        self._lasting: set[web.AbstractRoute] = set()
        self._bound = TimeBound(bounds.request_s)
        self._serving: set[asyncio.Task[None]] = set()

    def route(self, method: str, path: str, handler: Handler, operation: Operation = UNNAMED) -> None:
        """Serve a method of a path; ``{name}`` in it matches one segment. Operations are few."""
        route = self._app.router.add_route(method, path, handler)
        self._operations[route] = operation
        self._paths.add(method, path, route)

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Method and path of everything that is served, in the order in which it was added."""
        return [
            (route.method, route.resource.canonical)
            for route in self._operations
            if route.resource is not None
        ]

    def lasting(self, path: str, handler: Handler, operation: Operation = UNNAMED) -> None:
        """Serve GET of a path by a handler that may take as long as it likes, such as a websocket's; only its
        refusals are measured.
        """
        route = self._app.router.add_route("GET", path, handler)
        self._operations[route] = operation
        self._lasting.add(route)

    def at_close(self, ending: Callable[[], Awaitable[None]]) -> None:
        """Have lasting handlers ended before the server closes."""

        async def end(_: web.Application) -> None:
            await ending()

        self._app.on_shutdown.append(end)

    def client(self, request: web.Request) -> str:
        """The address that a request comes from, behind proxies that are trusted to say it."""
        if not self._bounds.trusted_proxies:
            return request.remote or ""
        forwarded = request.headers.getall("X-Forwarded-For", ())
        return self._forwarded.client(request.remote or "", forwarded)

    async def start(self, address: Address, setting: str = "http_address") -> Address:
        """Listen and return the address got; raises PortInUse or ListenFailed."""
        return await self.serve(listen(address, setting))

    async def serve(self, sock: socket.socket) -> Address:
        """Serve on a listening socket, which is closed with the server."""
        # Faults of handlers are logged above; what aiohttp would tell is what peers send that is no HTTP.
        quiet = logging.getLogger(f"{__name__}.peers")
        quiet.setLevel(logging.CRITICAL)
        runner = web.AppRunner(
            self._app,
            logger=quiet,
            access_log=None,
            # Runs from the start of a connection, so that one which never sends a request ends as well.
            keepalive_timeout=self._bounds.idle_s,
            # A compressed body could grow without bound.
            auto_decompress=False,
            lingering_time=1.0,
            shutdown_timeout=self._bounds.drain_s,
        )
        await runner.setup()
        self._runner = runner
        self._take(runner)
        self._listener = await asyncio.get_running_loop().create_server(self._accept, sock=sock)
        return bound(sock)

    async def close(self) -> None:
        """Stop listening, let requests under way finish for ``drain_s``, and end all connections."""
        if self._listener is not None:
            self._listener.close()
        if self._serving:
            await asyncio.wait(self._serving, timeout=self._bounds.drain_s)
        for task in tuple(self._serving):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def _open(self) -> int:
        server = None if self._runner is None else self._runner.server
        return 0 if server is None else len(server.connections)

    def _take(self, runner: web.AppRunner) -> None:
        """Answer requests for plain paths without aiohttp's router."""
        server = runner.server
        assert server is not None
        routed = server.request_handler

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            assert isinstance(request, web.Request)
            found = self._paths.find(request.method, request.rel_url.raw_path)
            if found is None or "Expect" in request.headers:
                return await routed(request)
            route, matched = found
            request._match_info = match = web.UrlMappingMatchInfo(matched, route)
            match.add_app(self._app)
            return await self._answer(request, route.handler)

        server.request_handler = answer

    def _accept(self) -> asyncio.BaseProtocol:
        server = None if self._runner is None else self._runner.server
        if server is None or len(server.connections) >= self._bounds.connections:
            self._meter.turned_away.inc()
            return _TurnAway()
        assert server.request_handler is not None
        return PlainConnection(
            server(),
            server.request_handler,
            body_bytes=self._bounds.body_bytes,
            request_s=self._bounds.request_s,
            idle_s=self._bounds.idle_s,
            serving=self._serving,
        )

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        route = request.match_info.route
        operation = self._operations.get(route, UNNAMED)
        try:
            response = await self._respond(request, handler, operation)
        except HttpRefusal as refusal:
            self._meter.errors.labels(operation.name, str(refusal.body.get("code", refusal.status))).inc()
            response = _refused(refusal)
        if isinstance(response, JsonReply):
            response.common = self._common
        elif not response.prepared:
            response.headers.update(self._headers)
        elif route in self._lasting:
            return response
        took = time.perf_counter() - started
        self._meter.observe(operation.name, route, request.method, response.status, took)
        return response

    async def _respond(
        self, request: web.Request, handler: Handler, operation: Operation
    ) -> web.StreamResponse:
        """What a handler answers; raises HttpRefusal for all else."""
        if self._cors and request.method == "OPTIONS":
            return web.Response(status=204)
        try:
            self._check_pace(request, operation)
            lasts = request.match_info.route in self._lasting
            return await (handler(request) if lasts else self._bound.run(handler(request)))
        except HttpRefusal:
            raise
        except web.HTTPException as error:
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
            raise HttpRefusal(error.status, error.reason.lower(), headers=allow) from error
        except TimeoutError as error:
            raise HttpRefusal(503, "the request took too long") from error
        except StorageError as error:
            logger.warning("the store failed", extra={"operation": operation.name, "reason": str(error)})
            raise HttpRefusal(503, "the store is not available", headers={"Retry-After": "1"}) from error
        except Exception as error:
            refusal_or_none = self._translate(error)
            if refusal_or_none is not None:
                raise refusal_or_none from error
            # Not the path: it may name a quote, whose id is all that it takes to mint it.
            logger.exception(
                "a request failed", extra={"method": request.method, "operation": operation.name}
            )
            raise HttpRefusal(500, "internal error") from error

    def _check_pace(self, request: web.Request, operation: Operation) -> None:
        client = self.client(request)
        now = time.monotonic()
        for name in (_ALL, operation.pace):
            pace = self._paces.get(name)
            if pace is not None and (wait := pace.take(client, now)):
                self._meter.too_fast.labels(name).inc()
                what = "requests" if name == _ALL else name
                headers = {"Retry-After": str(math.ceil(wait))}
                raise HttpRefusal(429, f"too many {what} from this address", headers=headers)


class _TurnAway(asyncio.Protocol):
    """Closes a connection that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _refused(refusal: HttpRefusal) -> web.Response:
    """The answer; whoever is told that something passes is told when to come again."""
    headers = {"Retry-After": _RETRY_S} if refusal.status == 503 else {}
    return json_reply(refusal.body, refusal.status, headers | dict(refusal.headers or {}))
