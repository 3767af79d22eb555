"""A JSON-RPC client of the tests, over real sockets."""

import base64
import json
from pathlib import Path
from typing import Any

import aiohttp

Json = Any


class RpcFailure(Exception):
    """An error answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Client:
    """Calls methods of one node with the cookie that lies in its state directory."""

    def __init__(self, port: int, state: Path, session: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self.port = port
        self.state = state
        self.session = session

    @property
    def authorization(self) -> str:
        return "Basic " + base64.b64encode((self.state / ".cookie").read_bytes()).decode()

    async def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Status and body of one POST."""
        given = {"Authorization": self.authorization} | headers
        async with self.session.post(self.url, data=body, headers=given) as response:
            return response.status, await response.read()

    async def request(self, value: Json) -> tuple[int, Json]:
        """Status and decoded answer of a request object or batch."""
        status, body = await self.post(json.dumps(value).encode())
        return status, json.loads(body) if body else None

    async def call(self, method: str, *params: Json) -> Json:
        """The result of a method; raises RpcFailure."""
        _, answer = await self.request({"method": method, "params": list(params), "id": 7})
        assert answer["id"] == 7
        if answer["error"] is not None:
            raise RpcFailure(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]
