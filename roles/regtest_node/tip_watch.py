"""Waiting for a new tip: what longpolls stand in line for."""

import asyncio


class TipWatch:
    """The tip as the event loop knows it, and who waits for another."""

    def __init__(self) -> None:
        self.tip = b""
        self.closed = False
        self._changed = asyncio.Event()

    def publish(self, tip: bytes) -> None:
        """Tells everyone who waits that there is a new tip."""
        self.tip = tip
        self._wake()

    def close(self) -> None:
        """Sends everyone home; nobody waits any more."""
        self.closed = True
        self._wake()

    async def wait(self, known: bytes, seconds: float) -> None:
        """Returns when the tip is not ``known``, when time is up, or when the watch is closed."""
        if self.tip != known or self.closed:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
