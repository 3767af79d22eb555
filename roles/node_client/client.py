"""The client: one HTTP session to one node, calls by name, and typed helpers for those that are needed."""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from protocols.bitcoin.hashing import display
from roles.node_client import answers, jsonrpc
from roles.node_client.answers import BlockInfo, ChainInfo, NodeTemplate
from roles.node_client.credentials import Credentials, credentials_of
from roles.node_client.errors import NodeError, NodeMalformed, NodeRefused, NodeTimeout
from roles.node_client.jsonrpc import Call
from roles.runtime.reason import why
from shared_config.pool_side import BitcoinSettings

LONG_POLL_S = 300.0
"""bitcoind may take so long to answer a long poll; then the same one is asked again."""
SUBMIT_S = 60.0
"""A full block takes a node seconds to verify, on slow disks more."""
MAX_ANSWER = 64 * 1024 * 1024
MAX_BATCH = 1_000
_CONNECTIONS = 8
# bitcoind closes an idle connection after 30 s (rpcservertimeout); we let go of it first.
_KEEP_ALIVE_S = 15.0
_CHUNK = 1 << 16
_NOT_FOUND = -5


class NodeClient:
    """Calls to a node; used as an asynchronous context manager.

    Every call raises NodeError and has a time limit. Credentials are read at the first call and again when
    the node no longer accepts them, so that its restart needs none of ours.
    """

    def __init__(self, url: str, credentials: Credentials, *, timeout_s: float = 15.0) -> None:
        self._url = url
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._header: str | None = None
        self._numbers = count(1)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, settings: BitcoinSettings, directory: Path) -> Self:
        """The client for the node of a configuration; relative files are looked for in `directory`."""
        credentials = credentials_of(settings, directory)
        return cls(settings.rpc_url, credentials, timeout_s=settings.rpc_timeout_s)

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_S)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls under way fail."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(self, method: str, *params: Any, timeout_s: float | None = None) -> Any:
        """The result of one call; raises NodeError."""
        call, number = Call(method, params), next(self._numbers)
        status, body = await self._post(jsonrpc.encode(call, number), timeout_s)
        return jsonrpc.decode(call, number, status, body)

    async def batch(self, calls: Sequence[Call], *, timeout_s: float | None = None) -> list[Any | NodeError]:
        """Result or NodeError of each of at most 1,000 calls, in order; raises NodeError when all failed."""
        if len(calls) > MAX_BATCH:
            raise ValueError(f"a batch holds at most {MAX_BATCH} calls")
        if not calls:
            return []
        status, body = await self._post(jsonrpc.encode_batch(calls), timeout_s)
        return jsonrpc.decode_batch(calls, status, body)

    async def template(self, rules: Sequence[str] = ("segwit",)) -> NodeTemplate:
        """getblocktemplate as it is now."""
        return NodeTemplate.parse(await self.call("getblocktemplate", {"rules": list(rules)}))

    async def next_template(self, long_poll_id: str, rules: Sequence[str] = ("segwit",)) -> NodeTemplate:
        """getblocktemplate once it differs from the one with this id: a new tip at once, fees after a minute.

        Raises NodeTimeout after five minutes without an answer, which is no fault.
        """
        request = {"rules": list(rules), "longpollid": long_poll_id}
        return NodeTemplate.parse(await self.call("getblocktemplate", request, timeout_s=LONG_POLL_S))

    async def submit_block(self, block: bytes) -> str | None:
        """The node's verdict on a block: None when accepted, else a word of BIP22."""
        limit = max(self._timeout_s, SUBMIT_S)
        return answers.parse_verdict(await self.call("submitblock", block.hex(), timeout_s=limit))

    async def chain_info(self) -> ChainInfo:
        """getblockchaininfo."""
        return ChainInfo.parse(await self.call("getblockchaininfo"))

    async def best_block_hash(self) -> bytes:
        """Hash of the tip, internal order."""
        return answers.parse_hash("getbestblockhash", await self.call("getbestblockhash"))

    async def block_hash(self, height: int) -> bytes:
        """Hash of the active chain's block at `height`, internal order; NodeRefused (-8) above the tip."""
        return answers.parse_hash("getblockhash", await self.call("getblockhash", height))

    async def block_info(self, block_hash: bytes) -> BlockInfo | None:
        """Where a block stands, None when the node does not know it."""
        try:
            answer = await self.call("getblockheader", display(block_hash), True)
        except NodeRefused as error:
            if error.code == _NOT_FOUND:
                return None
            raise
        return BlockInfo.parse(answer)

    async def block_infos(self, block_hashes: Sequence[bytes]) -> list[BlockInfo | None]:
        """Where several blocks stand, at most 1,000, in one request; None for what the node does not know."""
        calls = [Call("getblockheader", (display(block_hash), True)) for block_hash in block_hashes]
        found: list[BlockInfo | None] = []
        for answer in await self.batch(calls):
            if isinstance(answer, NodeRefused) and answer.code == _NOT_FOUND:
                found.append(None)
            elif isinstance(answer, NodeError):
                raise answer
            else:
                found.append(BlockInfo.parse(answer))
        return found

    async def block(self, block_hash: bytes) -> bytes:
        """A whole block, serialised; NodeRefused when the node does not have it."""
        return answers.parse_data("getblock", await self.call("getblock", display(block_hash), 0))

    async def _post(self, body: bytes, timeout_s: float | None) -> tuple[int, bytes]:
        limit = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(limit):
                status, answer = await self._attempt(body, fresh=False)
                if status == HTTPStatus.UNAUTHORIZED:
                    # A node that restarted has written a new cookie.
                    status, answer = await self._attempt(body, fresh=True)
                return status, answer
        except TimeoutError as error:
            raise NodeTimeout(
                f"no answer from the node at {self._url} in {limit:g} s", hint="see bitcoin.rpc_timeout_s"
            ) from error

    async def _attempt(self, body: bytes, *, fresh: bool, last: bool = False) -> tuple[int, bytes]:
        if self._session is None:
            raise jsonrpc.unreachable(self._url, "the client is closed")
        if fresh or self._header is None:
            self._header = aiohttp.encode_basic_auth(*self._credentials.load())
        headers = {"Authorization": self._header, "Content-Type": "application/json"}
        try:
            return await self._exchange(self._session, headers, body)
        except (aiohttp.ClientError, OSError) as error:
            if last or not isinstance(error, aiohttp.ServerDisconnectedError):
                raise jsonrpc.unreachable(self._url, why(error)) from error
        # The node has just closed a connection that was kept; every call of ours may be repeated.
        return await self._attempt(body, fresh=False, last=True)

    async def _exchange(
        self, session: aiohttp.ClientSession, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        # The caller's timeout holds for the whole exchange.
        nothing = aiohttp.ClientTimeout(total=None)
        async with session.post(
            self._url, data=body, headers=headers, timeout=nothing, allow_redirects=False
        ) as response:
            chunks, size = [], 0
            async for chunk in response.content.iter_chunked(_CHUNK):
                size += len(chunk)
                if size > MAX_ANSWER:
                    raise NodeMalformed(f"an answer of the node is larger than {MAX_ANSWER} bytes")
                chunks.append(chunk)
            return response.status, b"".join(chunks)
