"""What the sessions here need of an SV2 connection; the real one is in the runtime, tests script theirs."""

from typing import Protocol

from protocols.sv2.frame import Frame

__all__ = ["FrameConnection"]


class FrameConnection(Protocol):
    """Frames over an established Noise session; every call raises ConnectionLost once the peer is gone."""

    async def receive(self) -> Frame:
        """The next frame."""

    async def receive_batch(self) -> list[Frame]:
        """All frames of what has arrived, at least one."""

    def send(self, *frames: Frame) -> None:
        """Write frames at once."""

    def close(self) -> None:
        """End the connection; harmless when it has ended."""
