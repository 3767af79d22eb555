"""The HTTP side: who is let in, what is answered to whom, and what a client can take."""

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from protocols.bitcoin.hashing import from_display
from roles.regtest_node import mining_methods, server
from roles.regtest_node.cookie import Cookie
from roles.regtest_node.jsonrpc import Reply
from roles.regtest_node.utxo import Outpoint
from roles.runtime.daemon import Daemon
from shared_config.pool_side import PoolSide
from shared_config.regtest_node import RegtestNodeSettings
from tests.roles.regtest_node.client import Client
from tests.roles.regtest_node.forge import COIN, SCRIPT, Held, spend

ADDRESS = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
COUNT = b'{"method":"getblockcount","id":1}'
TEMPLATE = {"rules": ["segwit"]}


@asynccontextmanager
async def raw(client: Client) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        try:
            await writer.wait_closed()
        except ConnectionError:
            pass


def request(client: Client, body: bytes = COUNT, extra: str = "", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = (
        f"POST / HTTP/1.1\r\nAuthorization: {client.authorization}\r\nContent-Length: {size}\r\n{extra}\r\n"
    )
    return head.encode() + body


async def status_of(reader: asyncio.StreamReader) -> int:
    """The status of the next answer; its body is read too."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    for line in head.split("\r\n"):
        name, _, value = line.partition(": ")
        if name == "Content-Length":
            await reader.readexactly(int(value))
    return int(head.split(" ")[1])


async def test_who_has_no_password_is_asked_for_one(client: Client) -> None:
    async with client.session.post(client.url, data=COUNT) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == 'Basic realm="jsonrpc"'


@pytest.mark.parametrize("text", ["Basic", "Basic !!", "Basic eDp5", "Bearer x", "Basic " + "QQ" * 100])
async def test_a_wrong_password_is_refused(client: Client, text: str) -> None:
    status, body = await client.post(COUNT, Authorization=text)
    assert (status, body) == (401, b"")


def test_the_cookie_is_for_its_owner_alone(tmp_path: Path) -> None:
    cookie = Cookie(tmp_path, bytes(range(32)))
    cookie.write()
    cookie.write()
    assert (tmp_path / ".cookie").stat().st_mode & 0o777 == 0o600
    text = (tmp_path / ".cookie").read_text()
    assert text == "__cookie__:" + bytes(range(32)).hex()
    assert cookie.admits("Basic " + base64.b64encode(text.encode()).decode())
    assert bytes(range(32)).hex() not in repr(cookie)
    cookie.remove()
    assert list(tmp_path.iterdir()) == []


async def test_only_post_on_the_root_is_served(client: Client) -> None:
    async with client.session.get(client.url) as response:
        assert response.status == 405
        assert await response.text() == "JSONRPC server handles only POST requests"
    async with client.session.post(client.url + "wallet/x", data=COUNT) as response:
        assert response.status == 404


async def test_http_codes_are_bitcoinds(client: Client) -> None:
    assert (await client.request({"method": "getblockcount", "id": 1}))[0] == 200
    assert (await client.request({"method": "nothing", "id": 1}))[0] == 404
    assert (await client.request({"method": "getblockhash", "params": [9], "id": 1}))[0] == 500
    assert (await client.request({"id": 1}))[0] == 400
    assert await client.request({"jsonrpc": "2.0", "method": "getblockcount"}) == (204, None)
    status, replies = await client.request(
        [{"method": "getblockcount", "id": 1}, {"method": "nothing", "id": 2}]
    )
    assert (status, [each["id"] for each in replies]) == (200, [1, 2])


async def test_requests_on_one_connection_are_answered_in_order(client: Client) -> None:
    async with raw(client) as (reader, writer):
        writer.write(request(client) + request(client, b"{") + request(client, extra="Connection: close\r\n"))
        assert [await status_of(reader) for _ in range(3)] == [200, 500, 200]
        assert await reader.read() == b""


async def test_a_client_that_waits_for_a_word_gets_it(client: Client) -> None:
    async with raw(client) as (reader, writer):
        writer.write(request(client, b"", "Expect: 100-continue\r\n", len(COUNT)))
        assert await status_of(reader) == 100
        writer.write(COUNT)
        assert await status_of(reader) == 200


async def test_a_body_that_is_too_long_is_refused_before_it_is_read(client: Client) -> None:
    async with raw(client) as (reader, writer):
        writer.write(request(client, b"", length=(1 << 20) + 1))
        assert await status_of(reader) == 413
        assert await reader.read() == b""


async def test_a_stranger_cannot_make_it_read_a_long_body(client: Client) -> None:
    async with raw(client) as (reader, writer):
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 500000\r\n\r\n")
        assert await status_of(reader) == 401
        assert await reader.read() == b""


async def test_a_body_that_never_comes_ends_the_connection(client: Client) -> None:
    async with raw(client) as (reader, writer):
        writer.write(request(client, b"", length=10))
        async with asyncio.timeout(30):
            assert await reader.read() == b""


async def test_what_is_no_http_is_refused_and_cut(client: Client) -> None:
    async with raw(client) as (reader, writer):
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        assert await status_of(reader) == 400
        assert await reader.read() == b""


async def test_connections_are_bounded(client: Client) -> None:
    held = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(8)]
    async with raw(client) as (reader, _):
        assert await reader.read() == b""
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(30):
        while True:
            async with raw(client) as (reader, writer):
                writer.write(request(client))
                if await reader.read(12) == b"HTTP/1.1 200":
                    return


async def test_a_long_poll_ends_with_a_new_tip(client: Client) -> None:
    first = await client.call("getblocktemplate", TEMPLATE)
    waiting = asyncio.ensure_future(
        client.call("getblocktemplate", TEMPLATE | {"longpollid": first["longpollid"]})
    )
    for _ in range(5):
        await client.call("getblockcount")
    assert not waiting.done()
    tip = (await client.call("generatetoaddress", 1, ADDRESS))[0]
    async with asyncio.timeout(30):
        assert (await waiting)["previousblockhash"] == tip


async def test_a_long_poll_on_another_tip_is_answered_at_once(client: Client) -> None:
    stale = (await client.call("getblocktemplate", TEMPLATE))["longpollid"]
    await client.call("generatetoaddress", 1, ADDRESS)
    for poll in (stale, "ab" * 32 + "7", "ab" * 32):
        async with asyncio.timeout(30):
            assert (await client.call("getblocktemplate", TEMPLATE | {"longpollid": poll}))["height"] == 2


async def test_a_long_poll_sees_the_mempool_after_its_first_wait(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mining_methods, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(mining_methods, "NEXT_WAIT_S", 0.01)
    block = (await client.call("generatetodescriptor", 101, f"raw({SCRIPT.hex()})"))[0]
    name = (await client.call("getblock", block))["tx"][0]
    poll = (await client.call("getblocktemplate", TEMPLATE))["longpollid"]
    waits = [
        asyncio.ensure_future(client.call("getblocktemplate", TEMPLATE | {"longpollid": given}))
        for given in (poll, 5)
    ]
    done, _ = await asyncio.wait(waits, timeout=0.1)
    assert not done
    coin = Held(Outpoint(from_display(name), 0), 50 * COIN)
    await client.call("sendrawtransaction", spend(coin).serialize().hex())
    async with asyncio.timeout(30):
        await asyncio.gather(*waits)


async def test_long_polls_are_bounded_and_those_who_hang_up_make_room(client: Client) -> None:
    poll = (await client.call("getblocktemplate", TEMPLATE))["longpollid"]
    waiting = TEMPLATE | {"longpollid": poll}
    asking = {"method": "getblocktemplate", "params": [waiting], "id": 1}
    async with raw(client) as (_, first), raw(client) as (_, second):
        for writer in (first, second):
            writer.write(request(client, json.dumps(asking).encode()))
        async with asyncio.timeout(30):
            status, reply = await client.request(asking)
        assert (status, reply["error"]["message"]) == (500, "too many long polls")
    waiter = asyncio.ensure_future(client.call("getblocktemplate", waiting))
    done, _ = await asyncio.wait({waiter}, timeout=0.1)
    assert not done
    await client.call("generatetoaddress", 1, ADDRESS)
    async with asyncio.timeout(30):
        assert (await waiter)["height"] == 2


async def test_a_long_poll_ends_when_the_node_stops(
    client: Client, daemon: Daemon[RegtestNodeSettings, PoolSide]
) -> None:
    poll = (await client.call("getblocktemplate", TEMPLATE))["longpollid"]
    waiting = asyncio.ensure_future(
        client.request({"method": "getblocktemplate", "params": [TEMPLATE | {"longpollid": poll}], "id": 1})
    )
    await client.call("getblockcount")
    daemon.stopping.set()
    async with asyncio.timeout(30):
        status, reply = await waiting
    assert (status, reply["error"]) == (500, {"code": -9, "message": "Shutting down"})


async def test_more_requests_than_the_queue_holds_are_answered_503(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = asyncio.Event()

    async def slow(_body: bytes, _execute: Any) -> Reply:
        await held.wait()
        return Reply(HTTPStatus.OK, b"{}")

    monkeypatch.setattr(server, "answer", slow)
    under_way = [asyncio.ensure_future(client.post(COUNT)) for _ in range(7)]
    async with asyncio.timeout(30):
        done, waiting = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        assert {task.result() for task in done} == {(503, b"Work queue depth exceeded")}
        held.set()
        answers = await asyncio.gather(*under_way)
    assert sorted(status for status, _ in answers) == [200] * 5 + [503] * 2
    assert waiting


async def test_a_client_that_does_not_read_is_served_no_further(
    client: Client, daemon: Daemon[RegtestNodeSettings, PoolSide]
) -> None:
    def answered() -> float:
        labels = {"method": "help", "outcome": "ok"}
        return daemon.metrics.get_sample_value("hashpool_node_requests_total", labels) or 0.0

    asking = request(client, b'{"method":"help","id":"' + b"x" * 50_000 + b'"}')
    async with raw(client) as (reader, writer):
        for _ in range(200):
            writer.write(asking)
        before, now = -1.0, 0.0
        while now > before:
            before = now
            await asyncio.sleep(0.1)
            now = answered()
        assert 0 < now < 200
        for _ in range(200):
            assert await status_of(reader) == 200
    assert answered() == 200


async def test_a_fault_in_answering_is_logged_and_ends_the_connection(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(_body: bytes, _execute: Any) -> Reply:
        raise ZeroDivisionError

    monkeypatch.setattr(server, "answer", broken)
    async with raw(client) as (reader, writer):
        writer.write(request(client))
        async with asyncio.timeout(30):
            assert await reader.read() == b""
    assert "a request could not be answered" in caplog.text


async def test_metrics_count_calls_blocks_and_refusals(
    client: Client, daemon: Daemon[RegtestNodeSettings, PoolSide]
) -> None:
    await client.call("generatetoaddress", 2, ADDRESS)
    await client.request({"method": hashlib.sha256(b"x").hexdigest(), "id": 1})
    await client.post(COUNT, Authorization="Basic eDp5")
    value = daemon.metrics.get_sample_value
    assert value("hashpool_node_height") == 2
    assert value("hashpool_node_mempool_transactions") == 0
    assert value("hashpool_node_requests_total", {"method": "generatetoaddress", "outcome": "ok"}) == 1
    assert value("hashpool_node_requests_total", {"method": "unknown", "outcome": "-32601"}) == 1
    assert value("hashpool_node_refused_total", {"reason": "wrong_password"}) == 1


async def test_the_password_is_in_no_log(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    secret = (client.state / ".cookie").read_text().partition(":")[2]
    async with aiohttp.ClientSession() as session, session.post(client.url, data=COUNT):
        pass
    await client.post(COUNT, Authorization="Basic " + base64.b64encode(f"x:{secret}".encode()).decode())
    assert secret not in caplog.text
