"""The methods of the node by name, and what those that wait need: the node's thread, the tip, the stop."""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from inspect import iscoroutinefunction
from logging import getLogger
from typing import TypeVar

from roles.regtest_node.errors import INTERNAL_ERROR, METHOD_NOT_FOUND, MISC_ERROR, RpcError
from roles.regtest_node.jsonrpc import Json
from roles.regtest_node.method import Method
from roles.regtest_node.metrics import Metrics
from roles.regtest_node.thread import NodeThread
from roles.regtest_node.tip_watch import TipWatch

T = TypeVar("T")

log = getLogger(__name__)


class Rpc:
    """Runs methods: plain functions on the node's thread with the node, coroutines here with this object.

    The method stop sets ``stopping``.
    """

    def __init__(
        self,
        thread: NodeThread,
        watch: TipWatch,
        stopping: asyncio.Event,
        methods: Iterable[Method],
        metrics: Metrics,
        *,
        long_polls: int,
    ) -> None:
        self._thread = thread
        self._metrics = metrics
        self._free_polls = long_polls
        self.watch = watch
        self.stopping = stopping
        self.methods = {method.name: method for method in methods}
        self._started = time.monotonic()

    @property
    def uptime(self) -> int:
        """Whole seconds since the start."""
        return int(time.monotonic() - self._started)

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs a function on the node's thread; raises RpcError when the node is not open."""
        return await self._thread.call(work, *arguments)

    async def execute(self, name: str, params: list[Json] | dict[str, Json]) -> Json:
        """The result of a call; raises RpcError."""
        method = self.methods.get(name)
        outcome = "failed"
        try:
            if method is None:
                raise RpcError(METHOD_NOT_FOUND, "Method not found")
            result = await self._run(method, method.bind(params))
            outcome = "ok"
        except RpcError as error:
            outcome = str(error.code)
            raise
        finally:
            self._metrics.requests.labels("unknown" if method is None else name, outcome).inc()
        if name == "submitblock":
            self._metrics.blocks.labels(verdict_label(result)).inc()
        return result

    @contextmanager
    def long_poll(self) -> Iterator[None]:
        """A place in the line of those who wait for a new tip; raises RpcError when there is none left."""
        if self._free_polls <= 0:
            raise RpcError(MISC_ERROR, "too many long polls")
        self._free_polls -= 1
        try:
            yield
        finally:
            self._free_polls += 1

    async def _run(self, method: Method, arguments: list[Json]) -> Json:
        try:
            if iscoroutinefunction(method.run):
                return await method.run(self, *arguments)
            return await self.call(method.run, *arguments)
        except (RpcError, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("the method %s failed", method.name)
            raise RpcError(INTERNAL_ERROR, "Internal error") from error


def verdict_label(reason: Json) -> str:
    """A BIP22 verdict as a metric's label: reasons may end with details that are different each time."""
    return "accepted" if reason is None else str(reason).partition("(")[0].strip()
