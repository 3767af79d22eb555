"""Growing pauses between attempts."""

import asyncio
import random
from collections.abc import Callable


class Backoff:
    """Pauses that double from ``first_s`` to ``limit_s``, each spread over its upper half: peers part."""

    def __init__(
        self,
        first_s: float = 0.1,
        limit_s: float = 10.0,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        if not 0 < first_s <= limit_s:
            raise ValueError("a backoff needs 0 < first_s <= limit_s")
        self._first = first_s
        self._limit = limit_s
        self._next = first_s
        self._uniform = uniform

    def next(self) -> float:
        """The next pause in seconds."""
        pause = self._next
        self._next = min(self._limit, pause * 2)
        return self._uniform(pause / 2, pause)

    def another(self) -> "Backoff":
        """One with the same bounds, for another peer."""
        return Backoff(self._first, self._limit, self._uniform)

    def reset(self) -> None:
        """Start small again, after a success."""
        self._next = self._first

    async def wait(self) -> None:
        """Sleep for the next pause."""
        await asyncio.sleep(self.next())
