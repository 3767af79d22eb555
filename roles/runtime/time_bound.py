"""A bound on how long calls take that costs them next to nothing: one timer looks after all of them."""

import asyncio
from collections.abc import Awaitable
from typing import Final, TypeVar

T = TypeVar("T")

LOOKS: Final = 8
"""How often it is looked within the bound; a call may take so much longer."""


class TimeBound:
    """Bounds calls of one event loop to `seconds` each, and an eighth of that."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun: dict[object, tuple[asyncio.Task[object], float]] = {}
        self._late: set[object] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._begun)

    async def run(self, call: Awaitable[T]) -> T:
        """The result of a call; raises TimeoutError, having cancelled it, when it takes too long."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        before = task.cancelling()
        name = object()
        self._begun[name] = (task, loop.time())
        if self._timer is None:
            self._timer = loop.call_later(self._seconds / LOOKS, self._look)
        try:
            return await call
        except asyncio.CancelledError as error:
            if name in self._late and task.uncancel() <= before:
                raise TimeoutError from error
            raise
        finally:
            del self._begun[name]
            self._late.discard(name)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        since = loop.time() - self._seconds
        # The oldest come first.
        for name, (task, begun) in self._begun.items():
            if begun > since:
                break
            if name not in self._late:
                self._late.add(name)
                task.cancel()
        self._timer = loop.call_later(self._seconds / LOOKS, self._look) if self._begun else None
