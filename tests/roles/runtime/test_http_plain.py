"""Requests that reach their handlers without aiohttp, and those that do not."""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from roles.runtime import http_plain
from roles.runtime.http import HttpBounds, HttpServer, json_reply, read_json
from roles.runtime.http_plain import read_plain
from shared_config.address import Address

POST = b"POST /echo/a HTTP/1.1\r\nHost: mint\r\nContent-Length: 2\r\n\r\n{}"
GET = b"GET /look?limit=3&of=a,b HTTP/1.1\r\nhost:mint \r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
CHUNKED = b"POST /echo/b HTTP/1.1\r\nHost: mint\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@dataclass
class House:
    """A server, the number of requests that were read as plain, and a gate."""

    address: Address
    plain: list[bytes] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.address.host, self.address.port)


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    async with asyncio.timeout(10):
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (
            int(line[16:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length: ")
        )
        return int(head[9:12]), await reader.readexactly(length)


@pytest.fixture
async def house(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    bounds = HttpBounds(connections=8, body_bytes=100, request_s=5, drain_s=5)
    server = HttpServer(bounds, CollectorRegistry())
    opened = House(Address("127.0.0.1", 0))

    async def echo(request: web.Request) -> web.Response:
        return json_reply({"got": await read_json(request), "id": request.match_info["id"]})

    async def look(request: web.Request) -> web.Response:
        told = request.headers.get("X-Forwarded-For")
        return json_reply({**request.query, "for": told, "path": request.path, "from": request.remote})

    async def wait(_: web.Request) -> web.Response:
        opened.waiting.set()
        await opened.gate.wait()
        return json_reply({})

    async def foreign(_: web.Request) -> web.Response:
        return web.Response(text="none of ours", headers={"Connection": "close"})

    def read(data: bytes, body_bytes: int) -> object:
        found = read_plain(data, body_bytes)
        if found is not None:
            opened.plain.append(data)
        return found

    monkeypatch.setattr(http_plain, "read_plain", read)
    for method, path, handler in (
        ("POST", "/echo/{id}", echo),
        ("GET", "/look", look),
        ("GET", "/wait", wait),
        ("GET", "/foreign", foreign),
    ):
        server.route(method, path, handler)
    opened.address = await server.start(opened.address)
    yield opened
    opened.gate.set()
    await server.close()


def get(path: str) -> bytes:
    return b"GET %s HTTP/1.1\r\nHost: mint\r\n\r\n" % path.encode()


def test_a_plain_request_is_read_with_its_headers_and_its_body() -> None:
    found = read_plain(POST, 100)
    assert found is not None
    message, body = found
    assert (message.method, message.path, body) == ("POST", "/echo/a", b"{}")
    assert message.headers["content-length"] == "2"
    asked = read_plain(GET, 100)
    assert asked is not None
    assert (asked[0].path, asked[0].headers["Host"], asked[1]) == ("/look?limit=3&of=a,b", "mint", b"")
    assert asked[0].url.query["of"] == "a,b"
    kept = read_plain(GET.replace(b"X-Forwarded-For: 192.0.2.1", b"Connection: Keep-Alive"), 100)
    assert kept is not None
    assert not kept[0].should_close


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GET[:-2],
        GET + b"x",
        GET + GET,
        GET.replace(b"1.1", b"1.0"),
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"GET", b"OPTIONS"),
        GET.replace(b"/look", b"look"),
        GET.replace(b"/look", b"http://mint/look"),
        GET.replace(b"/look", b"/%6cook"),
        GET.replace(b"/look", b"/a/../look"),
        GET.replace(b"/look", b"/look#a"),
        GET.replace(b"?limit", b"?a+b%20"),
        GET.replace(b"host:mint", b"Hosts: mint"),
        GET.replace(b"host:mint", b"Host : mint"),
        GET.replace(b"host:mint", b"Host:\xff"),
        GET.replace(b"host:mint \r\n", b"Host: mint\r\n folded\r\n"),
        GET.replace(b"host:mint \r\n", b"Host: mint\n"),
        GET.replace(b"host:mint", b"Host: mint\x00"),
        GET.replace(b"X-Forwarded-For: 192.0.2.1", b"Connection: close"),
        GET.replace(b"X-Forwarded-For: 192.0.2.1", b"Connection: Upgrade\r\nUpgrade: websocket"),
        GET.replace(b"192.0.2.1", b"1" * http_plain.HEAD_LIMIT),
        POST[:-1],
        POST + b"}",
        POST.replace(b"Content-Length: 2\r\n", b""),
        POST.replace(b"Content-Length: 2", b"Content-Length: 2\r\nContent-Length: 2"),
        POST.replace(b"Content-Length: 2", b"Content-Length: +2"),
        POST.replace(b"Content-Length: 2", b"Content-Length: 0000000002"),
        POST.replace(b"Content-Length: 2", b"Content-Length: 2\r\nExpect: 100-continue"),
        POST.replace(b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        POST.replace(b"Content-Length: 2", b"Content-Length: 2\r\ncontent-encoding: gzip"),
        POST.replace(b"Content-Length: 2", b"Content-Length: 101").replace(b"{}", b"1" * 101),
        CHUNKED,
    ],
)
def test_whatever_is_not_plain_is_left_to_others(data: bytes) -> None:
    assert read_plain(data, 100) is None


async def test_plain_requests_are_answered_one_after_the_other_on_one_connection(house: House) -> None:
    reader, writer = await house.connect()
    for _ in range(3):
        writer.write(POST)
        assert await answer(reader) == (200, b'{"got":{},"id":"a"}')
    writer.write(GET)
    expected = b'{"limit":"3","of":"a,b","for":"192.0.2.1","path":"/look","from":"127.0.0.1"}'
    assert await answer(reader) == (200, expected)
    writer.write(get("/nowhere"))
    assert (await answer(reader))[0] == 404
    assert len(house.plain) == 5
    writer.close()


async def test_who_does_not_wait_for_an_answer_is_answered_in_order(house: House) -> None:
    reader, writer = await house.connect()
    writer.write(get("/wait"))
    await house.waiting.wait()
    writer.write(POST)
    writer.write(CHUNKED)
    house.gate.set()
    assert await answer(reader) == (200, b"{}")
    assert await answer(reader) == (200, b'{"got":{},"id":"a"}')
    assert await answer(reader) == (200, b'{"got":{},"id":"b"}')
    writer.close()


async def test_a_connection_that_was_not_plain_once_is_aiohttps_for_good(house: House) -> None:
    reader, writer = await house.connect()
    for request, name in ((POST, b"a"), (CHUNKED, b"b"), (POST, b"a")):
        writer.write(request)
        assert await answer(reader) == (200, b'{"got":{},"id":"%s"}' % name)
    assert house.plain == [POST]
    writer.close()


async def test_a_connection_ends_when_it_is_idle_and_not_while_a_request_is_under_way() -> None:
    bounds = HttpBounds(idle_s=0.5, request_s=5)
    server = HttpServer(bounds, CollectorRegistry())

    async def linger(_: web.Request) -> web.Response:
        await asyncio.sleep(2 * bounds.idle_s)
        return json_reply({})

    server.route("GET", "/linger", linger)
    address = await server.start(Address("127.0.0.1", 0))
    # What is asked is there before the server knows of the connection, which it may end half a second later.
    with socket.create_connection((address.host, address.port)) as sock:
        sock.send(get("/linger"))
        reader, writer = await asyncio.open_connection(sock=sock.dup())
        assert await answer(reader) == (200, b"{}")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.close()
    await server.close()


async def test_an_answer_that_is_not_json_ends_its_connection_if_it_says_so(house: House) -> None:
    reader, writer = await house.connect()
    writer.write(get("/foreign"))
    assert await answer(reader) == (200, b"none of ours")
    writer.close()


async def test_a_peer_that_hangs_up_before_its_answer_harms_nobody(house: House) -> None:
    _, writer = await house.connect()
    writer.write(get("/wait"))
    await house.waiting.wait()
    writer.transport.abort()
    await asyncio.sleep(0)
    house.gate.set()
    reader, writer = await house.connect()
    writer.write(POST)
    assert (await answer(reader))[0] == 200
    writer.close()


async def test_a_fault_of_the_server_is_logged_and_ends_the_connection(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(HttpServer, "_answer", fail)
    reader, writer = await house.connect()
    writer.write(POST)
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    assert "a request failed" in caplog.text
    writer.close()
