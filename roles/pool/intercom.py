"""What the processes of one pool say to each other, over a socket that no other program has.

The *keeper* is the process that was started; it keeps ledger, blocks and prefixes, and starts the *branches*,
which only serve miners. A message is its length (U32 LE, of what follows), a word (U8) and the rest.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple, cast

from protocols.ehash.errors import CreditCode
from roles.credit.ledger_rows import Entry, Fate, Outcome, Record
from roles.pool.found_block import FoundBlock
from roles.pool.resume_layout import SLOT, split
from roles.pool.resume_store import Raw, Result
from roles.runtime.errors import RuntimeFault
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

MAX_MESSAGE = 32 << 20
"""The longest is a block."""
MAX_UNREAD = 8 << 20
"""Bytes that a branch may leave unread before it is told no more that it can do without."""

_HEAD = Struct("<IB")
_ENTRY = Struct("<32s80s32sQ33s?")
_FIRST = Struct("<Q?")
_RECORD = Struct("<BQ")
_CONFIRMED = Struct("<QI32sQ")
_REFUSED = Struct("<QB")
_FOUND = Struct("<32s80sIQ?")
_PREFIX = Struct("4s")
_CLAIM = Struct("<I33s")
_CLAIMED = Struct("<IB")
_RESULTS = tuple(Result)
_NO_KEY = bytes(33)
_FATES = {fate.value: fate for fate in Fate}


class Word(IntEnum):
    """What a message is about. Those below 32 go to the keeper, the others to a branch."""

    ENTRIES = 1
    """Shares for the ledger; each message is answered in its turn, by RECORDED or NOT_STORED."""
    PREFIXES_WANTED = 2
    PREFIXES_LEFT = 3
    """Those of channels that are closed."""
    FOUND = 4
    """A block, again when it is whole."""
    STATE = 5
    """Why the branch is not ready, and its metrics; each second, which also says that it lives."""
    DEPARTED = 6
    """The difficulty of a miner that has gone; the keeper passes it on under the same word."""

    CLAIM = 7
    """A token that a miner presents; answered by CLAIMED under the same number."""
    RELEASED = 8
    """What RELEASE came to."""
    MINERS = 9
    """The answer to MINERS_WANTED under its number."""

    RECORDED = 32
    NOT_STORED = 33
    """A flag that tells a fault from a disk that fails, and the reason."""
    PREFIXES = 34
    SETTLED = 35
    """The node knows a block."""
    CONFIRMED = 36
    """Rows of the branch for which the mint holds quotes."""
    REFUSED = 37
    """A row of the branch that the mint refuses."""
    LISTEN = 38
    """Where miners are to be served."""
    CLAIMED = 39
    """What became of a token, and the channel that is the branch's now."""
    RELEASE = 40
    """Another process claims a channel of the branch; answered by RELEASED under the same number."""
    MINERS_WANTED = 41
    """A page of the miners that the branch serves is asked for."""
    CONFIGURATION = 42
    """The configuration was read again: both files, as the keeper took them over."""


class Garbled(RuntimeFault):
    """The other process says what it never would."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a branch is told before all else."""

    number: int
    config: PoolSettings
    shared: PoolSide
    state: Path
    identity: bytes
    """The issuer's public key, 33 bytes."""
    keeper: int
    """The process id of the keeper."""
    store: int
    """The number of the file in which the branch records channels that can be resumed."""


class ConfirmedRow(NamedTuple):
    """What a notice says of a row."""

    seq: int
    shift: int
    share_hash: bytes
    amount: int


class Intercom(asyncio.Protocol):
    """One end of the socket; `lost` is set when the other process is gone."""

    def __init__(self) -> None:
        self.lost = asyncio.Event()
        self._hear: Callable[[Word, bytes], None] | None = None
        self._wire: asyncio.Transport | None = None
        self._buffer = bytearray()

    def attend(self, hear: Callable[[Word, bytes], None]) -> None:
        """Hear each message from now on, those that have come included; what `hear` raises ends the link."""
        self._hear = hear
        self._pass_on()

    def say(self, word: Word, payload: bytes = b"") -> None:
        """Send a message, if there is still somebody to hear it."""
        if self._wire is not None and not self.lost.is_set():
            self._wire.write(_HEAD.pack(len(payload) + 1, word) + payload)

    def hint(self, word: Word, payload: bytes) -> None:
        """Send what the other process can do without, unless it reads nothing."""
        if self._wire is not None and self._wire.get_write_buffer_size() < MAX_UNREAD:
            self.say(word, payload)

    def close(self) -> None:
        """Hang up once everything is sent."""
        if self._wire is not None:
            self._wire.close()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._pass_on()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.lost.set()

    def _pass_on(self) -> None:
        hear, buffer, start = self._hear, self._buffer, 0
        if hear is None:
            return
        while len(buffer) - start >= _HEAD.size:
            size, word = _HEAD.unpack_from(buffer, start)
            if not 1 <= size <= MAX_MESSAGE:
                raise Garbled(f"a message of {size} bytes")
            end = start + _HEAD.size - 1 + size
            if len(buffer) < end:
                break
            payload = bytes(memoryview(buffer)[start + _HEAD.size : end])
            start = end
            hear(Word(word), payload)
        del buffer[:start]


def pack_entries(entries: Iterable[Entry]) -> bytes:
    """Shares for the ledger."""
    pack = _ENTRY.pack
    return b"".join(
        [
            pack(share_hash, header, target.to_bytes(32, "little"), amount, key or _NO_KEY, block)
            for share_hash, header, target, amount, key, block in entries
        ]
    )


def unpack_entries(payload: bytes) -> list[Entry]:
    """The same again."""
    # What Entry's own constructors come to, in half the time.
    number, make = int.from_bytes, tuple.__new__
    return [
        make(Entry, (name, header, number(target, "little"), amount, None if key == _NO_KEY else key, block))
        for name, header, target, amount, key, block in _ENTRY.iter_unpack(payload)
    ]


def pack_outcome(outcome: Outcome) -> bytes:
    """What became of shares."""
    records = outcome.records or ()
    return _FIRST.pack(outcome.first, outcome.records is not None) + b"".join(
        [_RECORD.pack(record.fate.value, record.seq) for record in records]
    )


def unpack_outcome(payload: bytes) -> Outcome:
    """The same again."""
    first, has_records = _FIRST.unpack_from(payload)
    if not has_records:
        return Outcome(first)
    records = _RECORD.iter_unpack(memoryview(payload)[_FIRST.size :])
    return Outcome(first, [Record(_FATES[fate], seq) for fate, seq in records])


def pack_confirmed(rows: Iterable[Any]) -> bytes:
    """Rows of the ledger, as far as notices need them."""
    return b"".join([_CONFIRMED.pack(row.seq, row.shift, row.share_hash, row.amount) for row in rows])


def unpack_confirmed(payload: bytes) -> list[ConfirmedRow]:
    """The same again."""
    return [ConfirmedRow(*fields) for fields in _CONFIRMED.iter_unpack(payload)]


def pack_refused(seq: int, code: CreditCode) -> bytes:
    """A row that the mint refuses, and why."""
    return _REFUSED.pack(seq, code)


def unpack_refused(payload: bytes) -> tuple[int, CreditCode]:
    """The same again."""
    seq, code = _REFUSED.unpack(payload)
    return seq, CreditCode(code)


def pack_prefixes(prefixes: Iterable[bytes]) -> bytes:
    """Extranonce prefixes of 4 bytes."""
    return b"".join(prefixes)


def unpack_prefixes(payload: bytes) -> list[bytes]:
    """The same again."""
    return [prefix for (prefix,) in _PREFIX.iter_unpack(payload)]


def pack_found(found: FoundBlock) -> bytes:
    """A block; whole, if it is."""
    head = _FOUND.pack(found.block_hash, found.header, found.height, found.found_ms, found.is_sent)
    return head + (found.whole or b"")


def unpack_found(payload: bytes) -> FoundBlock:
    """The same again, without what only the process that found it can make something of."""
    block_hash, header, height, found_ms, is_sent = _FOUND.unpack_from(payload)
    whole = payload[_FOUND.size :] or None
    return FoundBlock(block_hash, header, height, found_ms, is_sent, whole=whole)


def pack_claim(number: int, token: bytes, key: bytes | None) -> bytes:
    """A token with the locking key that it was presented with."""
    return _CLAIM.pack(number, key or _NO_KEY) + token


def unpack_claim(payload: bytes) -> tuple[int, bytes, bytes | None]:
    """The same again."""
    number, key = _CLAIM.unpack_from(payload)
    return number, payload[_CLAIM.size :], None if key == _NO_KEY else key


def pack_claimed(number: int, result: Result, raw: Raw | None) -> bytes:
    """What became of a token, and the channel as it was recorded."""
    head = _CLAIMED.pack(number, _RESULTS.index(result))
    return head if raw is None else head + raw.channel + raw.session + b"".join(raw.templates)


def unpack_claimed(payload: bytes) -> tuple[int, Result, Raw | None]:
    """The same again."""
    number, result = _CLAIMED.unpack_from(payload)
    if len(payload) == _CLAIMED.size:
        return number, _RESULTS[result], None
    session_at = _CLAIMED.size + SLOT
    at = session_at + SLOT
    raw = Raw(payload[_CLAIMED.size : session_at], payload[session_at:at], tuple(split(payload[at:])))
    return number, _RESULTS[result], raw


def pack_configuration(config: PoolSettings, shared: PoolSide) -> bytes:
    """Both files, as an assignment brings them; only for a process that this one has started."""
    return bytes(ForkingPickler.dumps((config, shared)))


def unpack_configuration(payload: bytes) -> tuple[PoolSettings, PoolSide]:
    """The same again; only from the process that has started this one."""
    config, shared = ForkingPickler.loads(payload)
    if not isinstance(config, PoolSettings) or not isinstance(shared, PoolSide):
        raise Garbled("a configuration that is none")
    return config, shared


def pack_json(value: Sequence[object] | Mapping[str, object]) -> bytes:
    """What comes seldom."""
    return json.dumps(value).encode()
