"""A task group that a loop may run again and again: it forgets no cancellation, and leaves none behind.

asyncio's own, before Python 3.13, does both when a child fails while the group waits at its end. A loop that
runs it again would then outlive the cancellation that was to end it, or be taken for cancelled for ever.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import Context
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class TaskGroup(asyncio.TaskGroup):
    """asyncio.TaskGroup as Python 3.13 has it."""

    def __init__(self) -> None:
        super().__init__()
        self._children: set[asyncio.Task[Any]] = set()

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Start a child."""
        task = super().create_task(coro, name=name, context=context)
        self._children.add(task)
        task.add_done_callback(self._children.discard)
        return task

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            # The base takes this for the body, and undoes its own cancellation of that.
            try:
                while self._children:
                    await asyncio.wait(self._children)
            except asyncio.CancelledError as cancelled:
                kind, error, trace = type(cancelled), cancelled, cancelled.__traceback__
        try:
            await super().__aexit__(kind, error, trace)
        except BaseExceptionGroup:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The failure is told first, and the cancellation at the next await.
                task.uncancel()
                task.cancel()
            raise
