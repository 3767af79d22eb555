"""What becomes of work that others do for an event loop: a result, or what was raised."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

Done = Callable[[Any, BaseException | None], None]
"""Told on the event loop what a piece of work has returned, or why it has come to nothing."""


def fulfil(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Give an outcome to whoever awaits it, and may have gone."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration):
        # A future refuses it, because it would end the awaiting coroutine silently.
        wrapped = RuntimeError("what was to be done raised StopIteration")
        wrapped.__cause__ = error
        future.set_exception(wrapped)
    else:
        future.set_exception(error)


def filling(future: asyncio.Future[Any]) -> Done:
    """Hands an outcome to a caller who waits, and may have gone."""
    return partial(fulfil, future)
