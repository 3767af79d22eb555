"""The processes that hash: started, fed with pieces of the current work, replaced when they end."""

import asyncio
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import OrderedDict
from collections.abc import Callable, Iterator

from roles.cpu_miner.hashing import EXHAUSTED, FOUND, PROGRESS, REPORT, REST, TASK
from roles.cpu_miner.tally import Tally
from roles.cpu_miner.work import Candidate, Piece, Work, pieces
from roles.runtime.backoff import Backoff

KEPT_PIECES = 4
IDLE = TASK.pack(REST, bytes(76), bytes(32))

_log = logging.getLogger(__name__)


class Hand:
    """One process and the pieces it was given last."""

    def __init__(self) -> None:
        self.process: Process | None = None
        self._pieces: OrderedDict[int, Piece] = OrderedDict()
        self._next = REST + 1

    def give(self, piece: Piece | None) -> None:
        """Let the process work on this, or rest."""
        if piece is None:
            self._write(IDLE)
            return
        number = self._next
        self._next = number % 0xFFFFFFFF + 1
        self._pieces[number] = piece
        if len(self._pieces) > KEPT_PIECES:
            self._pieces.popitem(last=False)
        self._write(TASK.pack(number, piece.head, piece.work.target.to_bytes(32, "little")))

    def forget(self) -> None:
        """What it finds on earlier pieces is worth nothing."""
        self._pieces.clear()

    def piece(self, number: int) -> Piece | None:
        """The piece of a report, None if it is forgotten."""
        return self._pieces.get(number)

    def is_current(self, number: int) -> bool:
        """Whether a report speaks of the piece given last."""
        return bool(self._pieces) and number == next(reversed(self._pieces))

    def _write(self, task: bytes) -> None:
        if self.process and self.process.stdin and not self.process.stdin.is_closing():
            self.process.stdin.write(task)


class Crew:
    """`processes` of them, at `hashes_per_s` together."""

    def __init__(self, processes: int, hashes_per_s: int, tally: Tally) -> None:
        self._rate = hashes_per_s / processes
        self._tally = tally
        self._hands = [Hand() for _ in range(processes)]
        self._pieces: Iterator[Piece] | None = None

    def work_on(self, work: Work | None, is_clean: bool) -> None:
        """Go on with this work, or rest; a clean start forgets what is found on earlier work."""
        self._pieces = pieces(work) if work else None
        if work:
            self._tally.job()
        for hand in self._hands:
            if is_clean:
                hand.forget()
            self._feed(hand)

    async def run(self, found: Callable[[Candidate], None]) -> None:
        """Keep the processes until cancelled, then end them; `found` hears of every nonce that fits."""
        async with asyncio.TaskGroup() as group:
            for hand in self._hands:
                group.create_task(self._keep(hand, found))

    def _feed(self, hand: Hand) -> None:
        hand.give(next(self._pieces) if self._pieces else None)

    async def _keep(self, hand: Hand, found: Callable[[Candidate], None]) -> None:
        backoff = Backoff(first_s=0.2, limit_s=5.0)
        while True:
            hand.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "roles.cpu_miner.hashing", repr(self._rate), str(os.getpid()),
                stdin=PIPE, stdout=PIPE, stderr=None,
            )  # fmt: skip
            try:
                self._feed(hand)
                await self._listen(hand, hand.process, found)
            finally:
                await _end(hand.process)
            self._tally.restarted()
            _log.warning("a hashing process ended", extra={"code": hand.process.returncode})
            await backoff.wait()

    async def _listen(self, hand: Hand, process: Process, found: Callable[[Candidate], None]) -> None:
        assert process.stdout is not None
        while True:
            try:
                report = await process.stdout.readexactly(REPORT.size)
            except asyncio.IncompleteReadError:
                return
            kind, number, value = REPORT.unpack(report)
            piece = hand.piece(number)
            if kind == PROGRESS:
                self._tally.hashed(value)
            elif kind == FOUND and piece:
                found(Candidate(piece, value))
            elif kind == EXHAUSTED and hand.is_current(number):
                self._feed(hand)


async def _end(process: Process) -> None:
    if process.stdin:
        process.stdin.close()
    if process.returncode is None:
        process.kill()
    await process.wait()
