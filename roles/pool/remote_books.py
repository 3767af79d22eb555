"""The keeper's books as a branch has them: at the other end of the intercom."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from protocols.mining.errors import CapacityExhausted
from protocols.mining.share import Verdict
from roles.credit.ledger import Told
from roles.credit.ledger_rows import Entry, Outcome
from roles.pool import found_block, intercom
from roles.pool.books import Claimed
from roles.pool.found_block import FoundBlock, Provider
from roles.pool.intercom import Intercom, Word
from roles.pool.resume_store import Raw, Result
from roles.runtime import crash
from roles.runtime.errors import CommitFailed, RuntimeFault

STOCK = 2048
"""Prefixes that a branch asks for, when it has less left than these."""
ASK_AGAIN_S = 0.25
MAX_PARTIAL = 64
"""Blocks that wait for their template's transactions."""
ASSEMBLE_S = 0.25
CLAIM_S = 2.0
"""How long the keeper may take to find a channel that is to be resumed."""
MAX_CLAIMS = 16_384
PATIENCE_S = 600.0
GATHER_S = 0.002
"""How long shares wait for others to share their message with."""
AT_ONCE = 1024
"""So many do not wait."""

_log = logging.getLogger(__name__)


class EntriesFault(RuntimeFault):
    """Shares that no ledger takes: a fault of ours."""


@dataclass(slots=True)
class _Batch:
    """Entries of several callers in one message; each waits with the place where its entries end."""

    entries: list[Entry] = field(default_factory=list)
    waiters: list[tuple[Told, Any, int]] = field(default_factory=list)

    def settle(self, outcome: Outcome) -> None:
        """Tell each caller of its entries."""
        call_soon, start = asyncio.get_running_loop().call_soon, 0
        for told, about, end in self.waiters:
            call_soon(told, about, outcome, start)
            start = end

    def fail(self, error: BaseException) -> None:
        """Tell each caller that nothing was stored."""
        call_soon = asyncio.get_running_loop().call_soon
        for told, about, _ in self.waiters:
            call_soon(told, about, error, 0)

    def apart(self) -> "list[_Batch]":
        """The same for each caller alone."""
        parts, start = [], 0
        for told, about, end in self.waiters:
            entries = self.entries[start:end]
            parts.append(_Batch(entries, [(told, about, len(entries))]))
            start = end
        return parts


class RemoteLedger:
    """Hands shares to the keeper, which answers message by message in their order.

    What comes within a moment goes into one message. The keeper waits a little longer before it writes, so
    that shares of all processes share a commit, which costs as much as many rows.
    """

    def __init__(self, line: Intercom) -> None:
        self._line = line
        self._open: _Batch | None = None
        self._sent: deque[_Batch] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()

    def enter(self, entries: Sequence[Entry], told: Told, about: Any = None) -> None:
        """As the ledger's own."""
        batch = self._open
        if batch is None:
            batch = self._open = _Batch()
            self._idle.clear()
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self._send)
        batch.entries += entries
        batch.waiters.append((told, about, len(batch.entries)))
        if len(batch.entries) >= AT_ONCE and self._timer is not None:
            self._timer.cancel()
            self._send()

    def recorded(self, outcome: Outcome) -> None:
        """The oldest message that is unanswered is durable."""
        self._take_answered().settle(outcome)

    def not_stored(self, reason: str, *, is_fault: bool) -> None:
        """Nothing of the oldest message that is unanswered is stored."""
        batch = self._take_answered()
        if not is_fault:
            batch.fail(CommitFailed(reason))
        elif len(batch.waiters) == 1:
            batch.fail(EntriesFault(reason))
        else:
            # One caller's entries cannot be stored, and the others must not suffer for it.
            for each in batch.apart():
                self._say(each)

    async def settled(self) -> None:
        """Wait until nothing is on its way."""
        await self._idle.wait()

    def _take_answered(self) -> _Batch:
        if not self._sent:
            raise intercom.Garbled("an answer about shares that were not sent")
        batch = self._sent.popleft()
        if not self._sent and self._open is None:
            self._idle.set()
        return batch

    def _send(self) -> None:
        batch, self._open = self._open, None
        if batch is not None:
            self._say(batch)
            crash.once_sent("branch.shares-handed")

    def _say(self, batch: _Batch) -> None:
        self._idle.clear()
        self._sent.append(batch)
        self._line.say(Word.ENTRIES, intercom.pack_entries(batch.entries))


class RemotePrefixes:
    """Grants prefixes out of a stock that the keeper has lent, and asks for more in time."""

    def __init__(self, line: Intercom) -> None:
        self._line = line
        self._stock: deque[bytes] = deque()
        self._left: list[bytes] = []
        self._is_asked = False

    def ask(self) -> None:
        """Have the keeper lend more where the stock is low."""
        if not self._is_asked and len(self._stock) < STOCK:
            self._is_asked = True
            self._line.say(Word.PREFIXES_WANTED)

    def lent(self, prefixes: Sequence[bytes]) -> None:
        """The keeper has answered."""
        self._is_asked = False
        self._stock += prefixes
        if prefixes:
            self.ask()
        else:
            asyncio.get_running_loop().call_later(ASK_AGAIN_S, self.ask)

    def grant(self) -> bytes:
        """A prefix for a new channel; raises CapacityExhausted."""
        if not self._stock:
            raise CapacityExhausted("no extranonce prefix is in stock")
        prefix = self._stock.popleft()
        self.ask()
        return prefix

    def release(self, prefix: bytes) -> None:
        """A channel is closed."""
        self._left.append(prefix)

    def withhold(self, prefix: bytes) -> None:
        """Tell the keeper nothing of a channel that was closed: it has been resumed."""
        if prefix in self._left:
            self._left.remove(prefix)

    def give_back(self) -> None:
        """Tell the keeper which channels are closed."""
        if self._left:
            self._line.say(Word.PREFIXES_LEFT, intercom.pack_prefixes(self._left))
            self._left = []


class RemoteClaims:
    """Asks the keeper for channels; one that hears nothing in time opens a new one."""

    def __init__(self, line: Intercom) -> None:
        self._line = line
        self._waiting: dict[int, tuple[Claimed, asyncio.TimerHandle]] = {}
        self._next = 0

    def claim(self, token: bytes, key: bytes | None, told: Claimed) -> None:
        """As the keeper's own, but answered later."""
        if len(self._waiting) >= MAX_CLAIMS:
            told(Result.UNANSWERED, None)
            return
        number = self._next = self._next + 1 & 0xFFFFFFFF
        timer = asyncio.get_running_loop().call_later(CLAIM_S, self.answered, number, Result.UNANSWERED, None)
        self._waiting[number] = (told, timer)
        self._line.say(Word.CLAIM, intercom.pack_claim(number, token, key))
        crash.once_sent("branch.channel-claimed")

    def answered(self, number: int, result: Result, raw: Raw | None) -> None:
        """The keeper has answered, or has had its time; later its answer is of no use."""
        told, timer = self._waiting.pop(number, (None, None))
        if told is not None and timer is not None:
            timer.cancel()
            told(result, raw)


class RemoteBlocks:
    """Sends solutions at once, and tells the keeper, which stores and follows the blocks."""

    def __init__(self, line: Intercom, provider: Provider, *, clock: Callable[[], float]) -> None:
        self._line = line
        self._provider = provider
        self._clock = clock
        self._partial: deque[FoundBlock] = deque(maxlen=MAX_PARTIAL)
        self._wake = asyncio.Event()

    def found(self, verdict: Verdict) -> None:
        """A share that is a block."""
        found = found_block.send(verdict, self._provider, int(self._clock() * 1000))
        found = found.assembled(self._provider.shelf)
        self._line.say(Word.FOUND, intercom.pack_found(found))
        crash.once_sent("branch.block-told")
        if found.whole is None:
            self._partial.append(found)
            self._wake.set()

    async def run(self) -> None:
        """Tell the keeper of blocks again when they have become whole, until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(ASSEMBLE_S)
            oldest = int((self._clock() - PATIENCE_S) * 1000)
            for _ in range(len(self._partial)):
                found = self._partial.popleft().assembled(self._provider.shelf)
                if found.whole is not None:
                    self._line.say(Word.FOUND, intercom.pack_found(found))
                elif found.found_ms > oldest:
                    self._partial.append(found)
            if not self._partial:
                self._wake.clear()
