"""The one thread on which the kernel and everything that follows it live."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from roles.regtest_node.chainstate import Chainstate
from roles.regtest_node.errors import IN_WARMUP, NOT_CONNECTED, KernelFault, RpcError
from roles.regtest_node.mining import Mining

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Node:
    """What the methods work on; touched on the node's thread only."""

    state: Chainstate
    mining: Mining


class NodeThread:
    """Runs calls one after another on a thread of its own.

    ``failed`` holds the error after which the node must not go on: what it knows may no longer be what is on
    disk.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="kernel")
        self._node: Node | None = None
        self._phase = "Loading block index…"
        self._checkpoint: asyncio.Future[None] | None = None
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def open(self, make: Callable[[], Node]) -> None:
        """Makes the node; until then calls are told to wait. Raises what ``make`` raises."""
        self._node = await self._run(make)

    async def call(self, work: Callable[..., T], *arguments: object) -> T:
        """Runs ``work(node, *arguments)`` on the thread; raises RpcError while it is not open."""
        node = self._node
        if node is None:
            raise RpcError(IN_WARMUP, self._phase)
        if self.failed.done():
            raise RpcError(NOT_CONNECTED, "Shutting down")
        try:
            return await self._run(work, node, *arguments)
        except KernelFault as error:
            self._fail(error)
            raise RpcError(NOT_CONNECTED, "Shutting down") from error
        finally:
            # After the answer, which should not wait for it.
            if self._node is node and self._checkpoint is None and node.state.is_checkpoint_due:
                self._checkpoint = self._run(node.state.checkpoint)
                self._checkpoint.add_done_callback(self._checked)

    def _run(self, work: Callable[..., T], *arguments: object) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)

    def _checked(self, checkpoint: asyncio.Future[None]) -> None:
        self._checkpoint = None
        error = None if checkpoint.cancelled() else checkpoint.exception()
        if error is not None:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if not self.failed.done():
            self.failed.set_exception(error)

    async def close(self) -> None:
        """Writes everything to disk, once what is under way is done; nothing more after a failure.

        A second call does nothing.
        """
        node, self._node, self._phase = self._node, None, "Shutting down"
        if node is not None:
            await self._run(node.state.abandon if self.failed.done() else node.state.close)
        self._executor.shutdown()
        self.failed.cancel()
