"""An SV1 miner whose shares are mined before they are timed."""

import socket
import time
from itertools import islice

from benchmarks.errors import EdgeRefused
from benchmarks.sv1_link import Sv1Link, dial, first_nonce, said
from roles.cpu_miner.work import pieces
from shared_config.address import Address


class Sv1Miner(Sv1Link):
    """Made by `connect`."""

    def __init__(self, user: str, sock: socket.socket) -> None:
        self.latencies: list[float] = []
        """Seconds from each share to its answer."""
        self.refusals: list[str] = []
        """Answers other than success."""
        self.told_at = 0.0
        """When the newest work that makes all earlier stale came, in Unix seconds."""
        self._shares: list[list[str]] = []
        self._prepared = 0
        self._asked: dict[int, float] = {}
        super().__init__(user, sock)

    def prepare(self, shares: int) -> None:
        """Mine so many shares on the present job, in place of those that were not sent."""
        found = islice(pieces(self.work(), self._prepared), shares)
        self._shares = [said(piece, first_nonce(piece)) for piece in found]
        self._prepared += shares

    def send(self) -> None:
        """Submit the next prepared share; raises EdgeRefused."""
        if not self._shares:
            raise EdgeRefused("more shares are wanted than were prepared")
        self._asked[self.sent] = time.time()
        self.submit(self._shares.pop())

    def worked(self) -> None:
        """Note when."""
        if self.job is not None and self.job.clean:
            self.told_at = self.arrived

    def judged(self, number: int, refusal: str) -> None:
        """Note how long it took, and whether it was taken."""
        self.latencies.append(self.arrived - self._asked.pop(number))
        if refusal:
            self.refusals.append(refusal)


async def connect(address: Address, user: str) -> Sv1Miner:
    """A miner that has its first work; raises EdgeRefused, TimeoutError and OSError."""
    miner = Sv1Miner(user, await dial(address))
    await miner.until_work()
    return miner
