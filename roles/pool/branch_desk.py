"""Where the keeper answers one branch, from its first message to its end."""

import json
import logging
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from protocols.ehash.errors import CreditCode
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Fate, LedgerRow, Outcome
from roles.pool import intercom
from roles.pool.blocks import BlockDesk
from roles.pool.books import Claimed
from roles.pool.claims import KeptClaims
from roles.pool.inquiry import Inquiries
from roles.pool.intercom import Garbled, Intercom, Word
from roles.pool.prefixes import PrefixBook
from roles.pool.remote_books import STOCK
from roles.pool.resume_store import Raw, Result
from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.stratum.difficulties import Difficulties
from shared_config.address import Address

MAX_STRETCHES = 10_000
"""Rows of one message stand together; the oldest such stretches that wait for the mint are forgotten."""
MAX_OPEN_BLOCKS = 64

_log = logging.getLogger(__name__)


class KeptBooks:
    """What the keeper keeps for all."""

    def __init__(
        self,
        ledger: Ledger,
        blocks: BlockDesk,
        prefixes: PrefixBook,
        difficulties: Difficulties,
        claims: KeptClaims,
    ) -> None:
        self.claims = claims
        self.ledger = ledger
        self.blocks = blocks
        self.prefixes = prefixes
        self.difficulties = difficulties


class BranchDesk:
    """One life of a branch; `report` hears of its state, `departed` of miners that have left it."""

    def __init__(
        self,
        line: Intercom,
        books: KeptBooks,
        *,
        report: Callable[[dict[str, Any]], None],
        departed: Callable[["BranchDesk", bytes], None],
        store: int = 0,
    ) -> None:
        self.store = store
        """The number of the file in which the branch records channels that can be resumed."""
        self.inquiries = Inquiries(line)
        self._line = line
        self._books = books
        self._report = report
        self._departed = departed
        self._lent: set[bytes] = set()
        self._stretches: deque[tuple[int, int]] = deque(maxlen=MAX_STRETCHES)
        self._found: deque[bytes] = deque(maxlen=MAX_OPEN_BLOCKS)
        self._releases: dict[int, Claimed] = {}
        self._next_release = 0

    def hear(self, word: Word, payload: bytes) -> None:
        """Answer a message; raises Garbled for one that no branch sends."""
        match word:
            case Word.ENTRIES:
                entries = intercom.unpack_entries(payload)
                self._books.ledger.enter(entries, self._told, len(entries))
            case Word.PREFIXES_WANTED:
                lent = self._books.prefixes.lend(STOCK)
                self._lent.update(lent)
                self._line.say(Word.PREFIXES, intercom.pack_prefixes(lent))
            case Word.PREFIXES_LEFT:
                for prefix in intercom.unpack_prefixes(payload):
                    self._release(prefix)
            case Word.FOUND:
                found = intercom.unpack_found(payload)
                if found.block_hash not in self._found:
                    self._found.append(found.block_hash)
                self._books.blocks.follow(found)
            case Word.CLAIM:
                number, token, key = intercom.unpack_claim(payload)
                self._books.claims.claim_for(self, token, key, partial(self._claimed, number))
            case Word.RELEASED:
                number, result, raw = intercom.unpack_claimed(payload)
                told = self._releases.pop(number, None)
                if told is None:
                    raise Garbled("a channel is released that nobody claimed")
                told(result, raw)
            case Word.MINERS:
                self.inquiries.answered(payload)
            case Word.STATE:
                self._report(json.loads(payload))
            case Word.DEPARTED:
                self._books.difficulties.learn(*json.loads(payload))
                self._departed(self, payload)
            case _:
                raise Garbled(f"{word.name} is not for the keeper")

    def settled(self, block_hash: bytes) -> None:
        """The node knows a block: whoever found it sends it no more."""
        if block_hash in self._found:
            self._found.remove(block_hash)
            self._line.hint(Word.SETTLED, block_hash)

    def confirmed(self, rows: Sequence[LedgerRow]) -> None:
        """The mint holds a quote for each of these rows, which are in order; passes on the branch's own."""
        stretches = self._stretches
        for _ in range(len(stretches)):
            first, last = stretches[0]
            if first > rows[-1].seq:
                break
            mine = rows[bisect_left(rows, first, key=_seq) : bisect_right(rows, last, key=_seq)]
            if mine:
                self._line.hint(Word.CONFIRMED, intercom.pack_confirmed(mine))
            if last > rows[-1].seq:
                break
            stretches.popleft()

    def refused(self, seq: int, code: CreditCode) -> None:
        """The mint settled a row by refusing it; whose row it is the branch knows."""
        self._line.hint(Word.REFUSED, intercom.pack_refused(seq, code))

    def learn(self, payload: bytes) -> None:
        """A miner has left another process."""
        self._line.hint(Word.DEPARTED, payload)

    def reload(self, payload: bytes) -> None:
        """The configuration was read again."""
        self._line.say(Word.CONFIGURATION, payload)

    def listen(self, address: Address) -> None:
        """Miners are to be served there."""
        self._line.say(Word.LISTEN, intercom.pack_json([address.host, address.port]))

    def release(self, token: bytes, key: bytes | None, told: Claimed) -> None:
        """Have the branch give up the channel of a token."""
        self._next_release = self._next_release + 1 & 0xFFFFFFFF
        self._releases[self._next_release] = told
        self._line.say(Word.RELEASE, intercom.pack_claim(self._next_release, token, key))

    def own(self, prefix: bytes) -> None:
        """A prefix of the present tip is in use in the branch."""
        self._lent.add(prefix)

    def disown(self, prefix: bytes) -> None:
        """A prefix is another process's from now on."""
        self._lent.discard(prefix)

    def close(self) -> None:
        """The branch is gone."""
        self.inquiries.close()
        releases, self._releases = self._releases, {}
        for told in releases.values():
            told(Result.UNANSWERED, None)
        for prefix in tuple(self._lent):
            self._release(prefix)
        self._line.close()

    def _release(self, prefix: bytes) -> None:
        if prefix in self._lent:
            self._lent.remove(prefix)
            self._books.prefixes.release(prefix)

    def _claimed(self, number: int, result: Result, raw: Raw | None) -> None:
        self._line.say(Word.CLAIMED, intercom.pack_claimed(number, result, raw))

    def _told(self, count: int, outcome: Outcome | BaseException, start: int) -> None:
        if isinstance(outcome, BaseException):
            is_fault = not isinstance(outcome, StorageError)
            if is_fault:
                _log.error("shares of a front end cannot be stored", exc_info=outcome)
            text = str(outcome) or type(outcome).__name__
            self._line.say(Word.NOT_STORED, intercom.pack_json([text, is_fault]))
            return
        outcome = outcome.part(start, start + count)
        crash.at("pool.branch-shares-durable")
        self._line.say(Word.RECORDED, intercom.pack_outcome(outcome))
        crash.once_sent("pool.branch-answered")
        if outcome.records is None:
            self._stretches.append((outcome.first, outcome.first + count - 1))
            return
        new = [record.seq for record in outcome.records if record.seq and record.fate is Fate.RECORDED]
        if new:
            self._stretches.append((new[0], new[-1]))


_seq = attrgetter("seq")
