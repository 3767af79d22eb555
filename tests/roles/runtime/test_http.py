import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from roles.runtime.errors import CommitFailed, HttpRefusal, PortInUse
from roles.runtime.http import HttpBounds, HttpServer, json_reply, read_json
from shared_config.address import Address

BOUNDS = HttpBounds(connections=8, body_bytes=100, request_s=1.0, idle_s=30, drain_s=1)


class Spent(Exception):
    """A domain's error."""


async def echo(request: web.Request) -> web.Response:
    return json_reply({"got": await read_json(request), "id": request.match_info["id"]})


async def fail(request: web.Request) -> web.Response:
    errors: dict[str, Callable[[], Exception]] = {
        "refusal": lambda: HttpRefusal(402, "pay first", code=20001),
        "spent": lambda: Spent("proof"),
        "fault": lambda: ZeroDivisionError("secret detail"),
        "storage": lambda: CommitFailed("disk full"),
    }
    raise errors[request.match_info["kind"]]()


async def hang(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


@dataclass
class Api:
    server: HttpServer
    metrics: CollectorRegistry
    address: Address
    session: aiohttp.ClientSession
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"

    async def post(self, path: str, body: bytes) -> tuple[int, object]:
        async with self.session.post(self.url(path), data=body) as reply:
            return reply.status, await reply.json()

    async def get(self, path: str) -> tuple[int, object]:
        async with self.session.get(self.url(path)) as reply:
            return reply.status, await reply.json()


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    metrics = CollectorRegistry()

    def translate(error: Exception) -> HttpRefusal | None:
        return HttpRefusal(400, "already spent", code=11001) if isinstance(error, Spent) else None

    server = HttpServer(BOUNDS, metrics, translate=translate, cors=True)
    server.route("POST", "/echo/{id}", echo)
    server.route("GET", "/fail/{kind}", fail)
    server.route("GET", "/hang", hang)
    address = await server.start(Address("127.0.0.1", 0))
    async with aiohttp.ClientSession() as session:
        yield Api(server, metrics, address, session)
    await server.close()


async def test_json_goes_in_and_out(api: Api) -> None:
    assert await api.post("/echo/7", b'{"a": [1]}') == (200, {"got": {"a": [1]}, "id": "7"})


async def test_a_body_that_is_not_json_is_refused(api: Api) -> None:
    assert await api.post("/echo/7", b"{") == (400, {"detail": "the body is not JSON", "code": 400})
    assert (await api.post("/echo/7", b"[" * 90))[0] == 400
    assert (await api.post("/echo/7", b"\xff"))[0] == 400


async def test_a_body_beyond_the_bound_is_refused_and_so_is_a_compressed_one(api: Api) -> None:
    assert await api.post("/echo/7", b" " * 101) == (413, {"detail": "the body is too large", "code": 413})
    async with api.session.post(api.url("/echo/7"), data=b"1", compress="gzip") as reply:
        assert reply.status == 400


async def test_refusals_of_a_handler_and_of_the_domain_keep_their_codes(api: Api) -> None:
    assert await api.get("/fail/refusal") == (402, {"detail": "pay first", "code": 20001})
    assert await api.get("/fail/spent") == (400, {"detail": "already spent", "code": 11001})


async def test_a_fault_is_logged_and_answered_without_its_text(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    assert await api.get("/fail/fault") == (500, {"detail": "internal error", "code": 500})
    assert "secret detail" in caplog.text


async def test_a_store_that_fails_is_unavailable(api: Api) -> None:
    assert await api.get("/fail/storage") == (503, {"detail": "the store is not available", "code": 503})
    async with api.session.get(api.url("/fail/storage")) as reply:
        assert reply.headers["Retry-After"] == "1"


async def test_a_request_has_an_end(api: Api) -> None:
    assert await api.get("/hang") == (503, {"detail": "the request took too long", "code": 503})


async def test_unknown_paths_and_methods_are_refused_in_json(api: Api) -> None:
    assert await api.get("/nowhere") == (404, {"detail": "not found", "code": 404})
    async with api.session.get(api.url("/echo/7")) as reply:
        assert (reply.status, reply.headers["Allow"]) == (405, "POST")


async def test_pages_of_other_origins_may_use_it(api: Api) -> None:
    async with api.session.options(api.url("/echo/7")) as reply:
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


async def test_what_is_no_http_is_refused_and_fills_no_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection(api.address.host, api.address.port)
    writer.write(b"BREW /coffee HTCPCP/1.0\r\n\r\n")
    assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.0 400")
    writer.close()
    assert caplog.text == ""


async def _raw(api: Api, request: bytes) -> bytes:
    """All that is answered until the connection is closed."""
    reader, writer = await asyncio.open_connection(api.address.host, api.address.port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("head", "status", "connection"),
    [
        (b"POST /echo/7 HTTP/1.1\r\nConnection: close", b"HTTP/1.1 200 OK", b"Connection: close"),
        (b"POST /echo/7 HTTP/1.0", b"HTTP/1.0 200 OK", b""),
        (b"POST /echo/%37 HTTP/1.1\r\nConnection: close", b"HTTP/1.1 200 OK", b"Connection: close"),
        (
            b"POST /echo/7 HTTP/1.1\r\nExpect: 100-continue\r\nConnection: close",
            b"HTTP/1.1 100 Continue",
            b"Connection: close",
        ),
    ],
)
async def test_an_answer_says_whether_the_connection_stays(
    api: Api, head: bytes, status: bytes, connection: bytes
) -> None:
    answer = await _raw(api, head + b"\r\nHost: x\r\nContent-Length: 1\r\n\r\n1")
    lines = answer.partition(b"\r\n\r\n{")[0].split(b"\r\n")
    assert lines[0] == status
    assert [line for line in lines if line.startswith(b"Connection")] == [connection] * bool(connection)
    for line in (b"Content-Type: application/json", b"Content-Length: 18", b"Server: hashpool"):
        assert lines.count(line) == 1
    assert sum(line.startswith(b"Date: ") for line in lines) == 1
    assert answer.endswith(b'\r\n\r\n{"got":1,"id":"7"}')


async def test_several_requests_at_once_are_answered_one_after_the_other(api: Api) -> None:
    one = b"POST /echo/%d HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    requests = [one % 1, one % 2, one % 3 + b"Connection: close\r\n"]
    answer = await _raw(api, b"".join(each + b"\r\n%d" % at for at, each in enumerate(requests)))
    assert answer.count(b"HTTP/1.1 200 OK") == 3
    assert re.findall(rb'"id":"(\d)"', answer) == [b"1", b"2", b"3"]


async def test_the_head_alone_is_answered_to_who_asks_for_it(api: Api) -> None:
    answer = await _raw(api, b"HEAD /hang HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 405 Method Not Allowed\r\n")
    assert b"\r\nAllow: GET" in head
    assert body == b""


async def test_requests_are_measured_by_route_not_by_path(api: Api) -> None:
    await api.post("/echo/7", b"1")
    await api.post("/echo/8", b"1")
    await api.get("/nowhere/1")
    async with api.session.request("PROPFIND", api.url("/nowhere/2")):
        pass
    text = generate_latest(api.metrics).decode()
    count = "hashpool_http_request_seconds_count"
    assert count + '{method="POST",route="/echo/{id}",status="200"} 2.0' in text
    assert count + '{method="GET",route="unmatched",status="404"} 1.0' in text
    assert count + '{method="other",route="unmatched",status="404"} 1.0' in text
    assert "/nowhere" not in text


async def test_connections_beyond_the_bound_are_closed_at_once(api: Api) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(BOUNDS.connections):
            _, writer = await asyncio.open_connection(api.address.host, api.address.port)
            stack.callback(writer.close)
        reader, writer = await asyncio.open_connection(api.address.host, api.address.port)
        stack.callback(writer.close)
        assert await asyncio.wait_for(reader.read(), 30) == b""
    assert b"hashpool_http_turned_away_total 1.0" in generate_latest(api.metrics)


async def test_a_connection_that_sends_nothing_or_half_a_head_is_closed(api: Api) -> None:
    server = HttpServer(HttpBounds(idle_s=0.05), CollectorRegistry())
    address = await server.start(Address("127.0.0.1", 0))
    for sent in (b"", b"GET / HTTP/1.1\r\nHost:"):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            await asyncio.wait_for(reader.read(), 30)
        writer.close()
    await server.close()


async def test_a_request_under_way_is_finished_when_the_server_closes() -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        entered.set()
        await release.wait()
        return json_reply("done")

    server = HttpServer(HttpBounds(), CollectorRegistry())
    server.route("GET", "/slow", slow)
    address = await server.start(Address("127.0.0.1", 0))
    async with aiohttp.ClientSession() as session:

        async def ask() -> object:
            async with session.get(f"http://{address}/slow") as reply:
                return await reply.json()

        asked = asyncio.create_task(ask())
        await entered.wait()
        closed = asyncio.create_task(server.close())
        await asyncio.sleep(0)
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection(address.host, address.port)
        release.set()
        assert await asked == "done"
        await closed


async def test_a_port_in_use_is_named_with_its_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        server = HttpServer(BOUNDS, CollectorRegistry())
        with pytest.raises(PortInUse, match="http_address"):
            await server.start(Address("127.0.0.1", holder.getsockname()[1]))
        await server.close()
