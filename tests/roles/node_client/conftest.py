"""A fake node: it answers JSON-RPC over HTTP with what a test tells it to, and knows nothing of bitcoin."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

Answer = Callable[[list[Any]], Any]


class FakeNode:
    """What a test sets decides the answers; what came is kept."""

    def __init__(self, cookie: Path) -> None:
        self.cookie = cookie
        self.password = "first"
        self.answers: dict[str, Answer] = {}
        self.calls: list[tuple[str, list[Any]]] = []
        self.requests = 0
        self.unauthorized = 0
        self.raw: list[web.Response] = []
        self.hang = False
        self.drop = 0
        self.released = asyncio.Event()
        self.url = ""

    def write_cookie(self) -> None:
        self.cookie.write_text(f"__cookie__:{self.password}")

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        if self.drop:
            self.drop -= 1
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.hang:
            await self.released.wait()
        expected = "Basic " + base64.b64encode(f"__cookie__:{self.password}".encode()).decode()
        if request.headers["Authorization"] != expected:
            self.unauthorized += 1
            return web.Response(status=401)
        if self.raw:
            return self.raw.pop(0)
        body = await request.json()
        if isinstance(body, list):
            return web.json_response([self.answer(each)[1] for each in body])
        status, answer = self.answer(body)
        return web.json_response(answer, status=status)

    def answer(self, request: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.calls.append((request["method"], request["params"]))
        give = self.answers.get(request["method"])
        result = give(request["params"]) if give else FakeError(-32601, "Method not found")
        if isinstance(result, FakeError):
            error = {"code": result.code, "message": result.message}
            return (404 if give is None else 500), {"result": None, "error": error, "id": request["id"]}
        return 200, {"result": result, "error": None, "id": request["id"]}


class FakeError:
    """Returned by an answer to fail the call."""

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        self.message = message


@pytest.fixture
def fail() -> Callable[[int, str], FakeError]:
    """Makes an answer that fails the call with a code and a message."""
    return FakeError


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    """A fake node on a free port of this machine, its cookie written."""
    fake = FakeNode(tmp_path / ".cookie")
    fake.write_cookie()
    app = web.Application()
    app.router.add_post("/", fake.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    yield fake
    fake.released.set()
    await runner.cleanup()


@pytest.fixture
def template_answer() -> dict[str, Any]:
    """A getblocktemplate answer with a transaction and its child."""
    return {
        "version": 0x20000000,
        "previousblockhash": "11" * 32,
        "transactions": [
            {"data": "0102", "txid": "22" * 32, "hash": "33" * 32, "depends": [], "fee": 100, "sigops": 4,
             "weight": 400},
            {"data": "03", "txid": "44" * 32, "hash": "55" * 32, "depends": [1], "fee": 250, "sigops": 0,
             "weight": 500},
        ],
        "coinbasevalue": 5_000_000_350,
        "longpollid": "11" * 32 + "7",
        "mintime": 1_700_000_001,
        "curtime": 1_700_000_100,
        "sigoplimit": 80_000,
        "weightlimit": 4_000_000,
        "bits": "207fffff",
        "height": 120,
    }  # fmt: skip
