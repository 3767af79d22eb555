"""Solved blocks on their way to the node, until it has judged them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from protocols.bitcoin.hashing import display
from roles.node_client.errors import NodeError, NodeMalformed, NodeRefused
from roles.runtime.backoff import Backoff
from roles.templates.block import Block
from roles.templates.meters import NodeMeters

MAX_PENDING = 64
GIVE_UP_S = 3_600.0
"""A block that no node took for so long is worth nothing any more; a node may be gone for a while."""

_HARMLESS = frozenset({"duplicate", "inconclusive"})

_log = logging.getLogger(__name__)


def is_taken(verdict: str | None) -> bool:
    """Whether the node has the block, be it that it does not know yet whether its chain is the best one."""
    return verdict is None or verdict in _HARMLESS


class Judge(Protocol):
    """Takes a block and says what is wrong with it."""

    async def submit_block(self, block: bytes) -> str | None:
        """None, or a word of BIP22; raises NodeError."""
        ...


class Submitter:
    """Submits each block in a task of its own, again and again while the node is away.

    `judged` is called with each verdict, None for an accepted block.
    """

    def __init__(
        self,
        node: Judge,
        meters: NodeMeters,
        judged: Callable[[str | None], None],
        *,
        give_up_s: float = GIVE_UP_S,
    ) -> None:
        self._node = node
        self._meters = meters
        self._judged = judged
        self._give_up_s = give_up_s
        self._room = asyncio.Semaphore(MAX_PENDING)
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(
        self, block: Block, peer: str, told: Callable[[str | None], None] = lambda _: None
    ) -> None:
        """Begin to submit a block, and have `told` called with the verdict on it; waits while 64 others are
        under way.
        """
        await self._room.acquire()
        task = asyncio.get_running_loop().create_task(self._settle(block, peer, told))
        self._tasks.add(task)
        task.add_done_callback(self._settled)
        self._meters.unsettled.set(len(self._tasks))

    async def drain(self) -> None:
        """Wait until the node has judged every block."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Give up what is under way."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)

    def _settled(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._meters.unsettled.set(len(self._tasks))
        self._room.release()
        error = None if task.cancelled() else task.exception()
        if error:
            _log.critical("a block could not be submitted", exc_info=error)

    async def _settle(self, block: Block, peer: str, told: Callable[[str | None], None]) -> None:
        fields = {"hash": display(block.hash), "height": block.height, "peer": peer}
        verdict = await self._judge(block, fields)
        self._judged(verdict)
        self._meters.solutions.labels(verdict or "accepted").inc()
        if verdict is None:
            _log.info("block accepted", extra={**fields, "value_sat": block.value})
        elif is_taken(verdict):
            _log.warning("block neither taken nor refused", extra={**fields, "verdict": verdict})
        else:
            _log.error("block refused", extra={**fields, "verdict": verdict})
        told(verdict)

    async def _judge(self, block: Block, fields: dict[str, object]) -> str | None:
        backoff = Backoff(0.05, 2.0)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._give_up_s
        is_repeated = False
        told = ""
        while True:
            try:
                verdict = await self._node.submit_block(block.data)
                # The node took it the first time, and only its answer was lost.
                return None if is_repeated and verdict == "duplicate" else verdict
            except (NodeRefused, NodeMalformed) as error:
                _log.error("the node cannot judge a block", extra={**fields, "reason": str(error)})
                return error.reason
            except NodeError as error:
                self._meters.node_errors.labels(error.reason).inc()
                level = logging.DEBUG if str(error) == told else logging.ERROR
                _log.log(level, "a block waits for the node", extra={**fields, "reason": str(error)})
                told = str(error)
                if loop.time() >= deadline:
                    return error.reason
            is_repeated = True
            await backoff.wait()
