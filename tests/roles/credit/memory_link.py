"""A connection in memory, between an issuer and a mint, that can lose what is said on it."""

import asyncio
from collections.abc import Callable

from protocols.sv2.frame import Frame
from roles.runtime.errors import ConnectionLost


class End:
    """One end; `passes` is asked before each frame, and one that does not pass breaks the connection."""

    def __init__(self, handshake_hash: bytes, passes: Callable[[], bool]) -> None:
        self.handshake_hash = handshake_hash
        self.peer = "memory"
        self.is_open = True
        self._passes = passes
        self._other = self
        self._heard: asyncio.Queue[Frame | None] = asyncio.Queue()

    @classmethod
    def pair(
        cls, handshake_hash: bytes, *, first_passes: Callable[[], bool], second_passes: Callable[[], bool]
    ) -> "tuple[End, End]":
        """Both ends of a connection."""
        first, second = cls(handshake_hash, first_passes), cls(handshake_hash, second_passes)
        first._other, second._other = second, first
        return first, second

    async def receive(self) -> Frame:
        frame = await self._heard.get() if self.is_open or not self._heard.empty() else None
        if frame is None:
            raise ConnectionLost("gone", code="peer-closed")
        return frame

    def send(self, *frames: Frame) -> None:
        if not self.is_open:
            raise ConnectionLost("gone", code="peer-closed")
        for frame in frames:
            if not self._passes():
                self.close()
                return
            self._other._heard.put_nowait(frame)

    def inject(self, frame: Frame) -> None:
        """A frame arrives that the other end has not sent."""
        self._heard.put_nowait(frame)

    async def drain(self) -> None:
        """Nothing piles up."""

    def close(self, text: str = "", *, code: str = "closed") -> None:
        for end in (self, self._other):
            end.is_open = False
            end._heard.put_nowait(None)
