"""Where a miner about which nothing is unusual is served, without its session for as long as that is so."""

from typing import Protocol

__all__ = ["Seat"]


class Seat(Protocol):
    """A miner's place at a hub; its session asks it before it reads what the hub may have changed."""

    @property
    def pending(self) -> int:
        """Shares that wait for their verdict."""

    @property
    def oldest(self) -> float | None:
        """When the oldest of them came."""

    @property
    def heard(self) -> float:
        """When a share came last."""

    def tell(self, data: bytes) -> None:
        """Send lines to the miner."""

    def catch_up(self) -> None:
        """Have the session count what was found and accepted meanwhile."""

    def leave(self) -> None:
        """The session goes on, as if it had served all shares itself; harmless when it does so already."""
