"""An SV1 miner that finds real shares at a pace of its own, on whatever work it was given last."""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Iterator

from benchmarks.sv1_link import Sv1Link, dial, first_nonce, said
from roles.cpu_miner.work import pieces
from shared_config.address import Address


class PacedMiner(Sv1Link):
    """Made by `connect`; `mine` submits until it is cancelled."""

    def __init__(self, user: str, sock: socket.socket, chance: random.Random) -> None:
        self.refused: Counter[str] = Counter()
        """Answers other than success, by their text."""
        self._chance = chance
        self._found: Iterator[list[str]] = iter(())
        super().__init__(user, sock)

    async def mine(self, per_s: float) -> None:
        """Submit so many shares a second on average, at random moments as shares are found; raises
        EdgeRefused when the connection is gone.
        """
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self._chance.expovariate(per_s)
            await asyncio.sleep(due - loop.time())
            self.submit(next(self._found))

    def worked(self) -> None:
        """Mine on it."""
        self._found = self._shares()

    def judged(self, _number: int, refusal: str) -> None:
        """Count it."""
        if refusal:
            self.refused[refusal] += 1

    def _shares(self) -> Iterator[list[str]]:
        """The shares of a job; hashes when one is asked for."""
        for piece in pieces(self.work(), self._chance.getrandbits(31)):
            yield said(piece, first_nonce(piece))


async def connect(address: Address, user: str, chance: random.Random) -> PacedMiner:
    """A miner that has its first work; raises EdgeRefused, TimeoutError and OSError."""
    miner = PacedMiner(user, await dial(address), chance)
    await miner.until_work()
    return miner
