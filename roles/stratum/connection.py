"""What the sessions here need of an SV2 connection; the real one is in the runtime, tests script theirs."""

from collections.abc import Callable, Sequence
from typing import Any, Never, Protocol

from protocols.noise.frame_cipher import FrameCipher
from protocols.sv2.frame import Frame

__all__ = ["FrameConnection", "Plain"]

Plain = tuple[bytes, bytes]
"""A frame's 6 header bytes and its payload."""


class FrameConnection(Protocol):
    """Frames over an established Noise session; every call raises ConnectionLost once the peer is gone."""

    async def receive(self) -> Frame:
        """The next frame."""

    async def hand_over(self, take: Callable[[Sequence[Plain]], int]) -> Never:
        """Give `take` all frames from now on as they arrive; it returns how many it has taken."""

    def send(self, *frames: Frame) -> None:
        """Write frames at once."""

    def send_plain(self, frames: Sequence[Plain]) -> None:
        """The same for frames as header and payload."""

    def send_sealed(self, seal: Callable[[FrameCipher], bytes]) -> None:
        """The same for frames that wait elsewhere, and are sealed there."""

    def outlet(self) -> Any:
        """What sends frames that the native kernel has made, None where there is none."""

    def read_plain(
        self, lanes: Any, tell: Callable[[int, float, tuple[Any, ...]], None], *, settles: bool
    ) -> None:
        """Have lanes take plain frames as they are read, if the native kernel can read."""

    def hold(self) -> None:
        """Hand nothing over until `release` has been called as often."""

    def release(self) -> None:
        """What has been held may go on, in a later turn of the loop."""

    def close(self) -> None:
        """End the connection; harmless when it has ended."""
