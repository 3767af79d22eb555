"""The file in which one process records the channels that can be resumed, and how such files are read.

Nothing is synced: what is written is the kernel's when the call returns, and outlives the process if not the
machine. So recording costs a share nothing, and a job or a target a microsecond before it is sent. Whatever
cannot be written ends recording for this life, as a record that lags behind is worse than none.
"""

import contextlib
import logging
import os
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from hmac import compare_digest
from pathlib import Path
from typing import Final, NamedTuple

from protocols.ehash.resume_token import ResumeToken, digest
from protocols.mining.channel import Channel, ExtendedChannel
from protocols.mining.job import Template, Tip
from roles.pool import resume_layout as layout
from roles.pool.resume_layout import ChannelState, JobRecord, TargetRecord
from roles.runtime import crash

DIRECTORY: Final = "resume"
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_SECRET_SIZE: Final = 24

_log = logging.getLogger(__name__)


class Result(Enum):
    """What becomes of a token that is presented."""

    RESUMED = "resumed"
    UNKNOWN = "unknown"
    """Forged, of another key, forgotten, or of a life that recorded nothing."""
    EXPIRED = "expired"
    USED = "used"
    OTHER_TIP = "other-tip"
    UNFIT = "unfit"
    """Another kind of channel, or a target that the client does not accept now."""
    UNANSWERED = "unanswered"


class Raw(NamedTuple):
    """A channel as its file has it: its slot, its session's, and the templates of its jobs, packed."""

    channel: bytes
    session: bytes
    templates: tuple[bytes, ...]


class Found(NamedTuple):
    """What a token leads to; `session` and `channel_id` of one whose connection is not over, else 0."""

    result: Result
    raw: Raw | None = None
    session: int = 0
    channel_id: int = 0


class SessionRecord:
    """What is recorded of a connection: the jobs that go to the group."""

    __slots__ = ("_place", "_store", "number", "slot")

    def __init__(self, store: "ResumeStore", slot: int, number: int) -> None:
        self.slot = slot
        self.number = number
        self._store = store
        self._place = 0

    def job(self, job_id: int, template: int, revision: int) -> None:
        """A job is about to go to the group."""
        at = layout.SESSION.size + self._place * layout.JOB.size
        self._place = (self._place + 1) % layout.SESSION_JOBS
        self._store.write(self.slot, at, layout.JOB.pack(job_id, template, revision))


class ChannelRecord:
    """What is recorded of a channel."""

    __slots__ = ("_job_place", "_since", "_store", "_target_place", "slot")

    def __init__(self, store: "ResumeStore", slot: int, targets: Sequence[TargetRecord], jobs: int) -> None:
        self.slot = slot
        self._store = store
        self._since = targets[-1].since
        self._target_place = min(len(targets), layout.TARGETS) - 1
        self._job_place = min(jobs, layout.JOBS) % layout.JOBS

    def job(self, job_id: int, template: int, revision: int) -> None:
        """A job is about to go to the channel itself."""
        at = layout.JOBS_AT + self._job_place * layout.JOB.size
        self._job_place = (self._job_place + 1) % layout.JOBS
        self._store.write(self.slot, at, layout.JOB.pack(job_id, template, revision))

    def target(self, since: int, target: int) -> None:
        """A target is about to be told, which is for work from a revision on."""
        if since != self._since:
            self._since = since
            self._target_place = (self._target_place + 1) % layout.TARGETS
        at = layout.TARGETS_AT + self._target_place * layout.TARGET.size
        self._store.write(self.slot, at, layout.pack_target(since, target))


class ResumeFile:
    """A file of this process or of one that is gone; opened by `ResumeStore.create` and `ResumeFile.open`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._templates: dict[int, bytes | None] = {}

    @classmethod
    def open(cls, path: Path, recipe: bytes) -> "ResumeFile | None":
        """The file of a process that is gone; None if there is none that is any good."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        made = cls(path, descriptor)
        if made.read(0, layout.HEAD.size) != _head(recipe):
            made.close()
            return None
        return made

    def close(self) -> None:
        """Leave the file as it is."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def beat(self) -> float:
        """When its process was last seen alive, in Unix seconds."""
        beat: int = layout.BEAT.unpack(self.read(layout.BEAT_AT, layout.BEAT.size))[0]
        return float(beat)

    def find(self, token: ResumeToken, key: bytes | None, now: float, life_s: float, beat: float) -> Found:
        """The channel of a token, at `now` in Unix seconds; `beat` is when this file's process last lived."""
        slot = self.read(_at(token.slot), layout.SLOT)
        state = ChannelState.unpack(slot)
        if not state.state or not compare_digest(state.digest, digest(token.pack(), key)):
            return Found(Result.UNKNOWN)
        if state.state == layout.TAKEN:
            return Found(Result.USED)
        session = self.read(_at(state.session), layout.SLOT)
        number, ended = layout.SESSION.unpack_from(session)
        if number != state.session_number or abs(now - (ended or beat)) > life_s:
            return Found(Result.EXPIRED)
        jobs = (*layout.session_jobs(session), *state.jobs)
        numbers = dict.fromkeys(job.template for job in jobs)
        templates = (self.template(each) for each in numbers)
        raw = Raw(slot, session, tuple(each for each in templates if each is not None))
        return Found(Result.RESUMED, raw, 0 if ended else state.session, 0 if ended else state.channel_id)

    def take(self, slot: int) -> bool:
        """Make a token good for nothing more; False where that cannot be written."""
        is_taken = self.put(_at(slot), bytes((layout.TAKEN,)))
        crash.at("pool.token-taken")
        return is_taken

    def template(self, number: int) -> bytes | None:
        """The packed template of this number, if it is still there."""
        if number not in self._templates:
            self._templates[number] = layout.read_template(self.read(_page_at(number), layout.PAGE), number)
        return self._templates[number]

    def tips(self) -> Iterator[Tip]:
        """Those of all templates that are there."""
        for place in range(2 * layout.TEMPLATES):
            page = self.read(layout.PAGE * (1 + place), layout.PAGE)
            packed = layout.read_template(page, layout.number_of(page))
            if packed is not None:
                yield layout.unpack_template(packed)[1]

    def read(self, at: int, size: int) -> bytes:
        """Bytes of the file, zeros where it is shorter."""
        try:
            return os.pread(self._descriptor, size, at).ljust(size, b"\0")
        except OSError:
            return bytes(size)

    def put(self, at: int, data: bytes) -> bool:
        """Write bytes; False where that cannot be done."""
        try:
            return os.pwrite(self._descriptor, data, at) == len(data)
        except OSError as error:
            _log.warning("channels cannot be recorded", extra={"reason": str(error)})
            return False


class ResumeStore(ResumeFile):
    """The file of this process, which tells tokens by `number`; at most `limit` channels and sessions."""

    def __init__(self, path: Path, descriptor: int, number: int, *, limit: int, life_s: float) -> None:
        super().__init__(path, descriptor)
        self.number = number
        self._limit = limit
        self._life_s = life_s
        self._end = 1
        self._free: list[int] = []
        self._leaving: deque[tuple[float, list[int]]] = deque()
        self._imported: OrderedDict[bytes, int] = OrderedDict()
        self._next_import = 0

    @classmethod
    def create(
        cls, directory: Path, number: int, recipe: bytes, *, limit: int, life_s: float
    ) -> "ResumeStore | None":
        """A new file, mode 0600; None where none can be made, or none is wanted."""
        if not limit or not life_s:
            return None
        path = path_of(directory, number)
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except OSError as error:
            _log.warning("channels cannot be recorded", extra={"reason": str(error)})
            return None
        made = cls(path, descriptor, number, limit=limit, life_s=life_s)
        made.write_head(_head(recipe))
        return made

    @property
    def held(self) -> int:
        """Slots in use."""
        return self._end - 1 - len(self._free)

    @property
    def is_open(self) -> bool:
        """Whether channels can be recorded."""
        return self._descriptor >= 0

    def write_head(self, head: bytes) -> None:
        """Begin the file."""
        if not self.put(0, head):
            self.give_up()
        self.sweep(time.time())

    def give_up(self) -> None:
        """Record no more: tokens of this life are good for nothing."""
        if self.is_open:
            with contextlib.suppress(OSError):
                self.path.unlink()
            self.close()

    def write(self, slot: int, at: int, data: bytes) -> None:
        """Write into a slot."""
        if self.is_open and not self.put(_at(slot) + at, data):
            self.give_up()

    def sweep(self, now: float) -> None:
        """Say that the process lives, and free what has been gone for long enough."""
        if self.is_open and not self.put(layout.BEAT_AT, layout.BEAT.pack(int(now))):
            self.give_up()
        while self._leaving and self._leaving[0][0] <= now:
            self._free += self._leaving.popleft()[1]

    def begin_session(self) -> SessionRecord | None:
        """A connection that will have channels; None where there is no room for it."""
        slot = self._allot()
        if slot is None:
            return None
        number = secrets.randbits(32) | 1
        self.write(slot, 0, layout.SESSION.pack(number, 0).ljust(layout.SLOT, b"\0"))
        return SessionRecord(self, slot, number)

    def begin_channel(
        self,
        session: SessionRecord,
        channel: Channel,
        targets: Sequence[TargetRecord],
        jobs: Sequence[JobRecord] = (),
    ) -> tuple[ChannelRecord, bytes] | None:
        """A channel that is about to be opened, and the token for it; None where there is no room."""
        slot = self._allot()
        if slot is None:
            return None
        token = ResumeToken(self.number, slot, secrets.token_bytes(_SECRET_SIZE)).pack()
        state = ChannelState(
            layout.HELD,
            isinstance(channel, ExtendedChannel),
            channel.prefix,
            digest(token, channel.key),
            session.slot,
            session.number,
            channel.channel_id,
            tuple(targets),
            tuple(jobs),
        )
        self.write(slot, 0, state.pack())
        return ChannelRecord(self, slot, targets, len(jobs)), token

    def end_session(self, session: SessionRecord, slots: Iterable[int], now: float) -> None:
        """A connection is over, and with it the channels in these slots."""
        self.write(session.slot, 0, layout.SESSION.pack(session.number, int(now) or 1))
        self.leave([session.slot, *slots], now)

    def leave(self, slots: list[int], now: float) -> None:
        """Keep slots for as long as a token may be presented, and no longer."""
        self._leaving.append((now + self._life_s + 1, slots))

    def drop(self, record: ChannelRecord) -> None:
        """A client has closed its channel."""
        self.write(record.slot, 0, b"\0")
        self._free.append(record.slot)

    def note_template(self, template: Template, tip: Tip, number: int, template_id: int) -> None:
        """A template is about to be mined on under this number."""
        packed = layout.pack_template(template, tip, number, template_id)
        self._templates.clear()
        if packed is not None and self.is_open and not self.put(_page_at(number), packed):
            self.give_up()

    def import_template(self, packed: bytes) -> int:
        """The number under which a template of another process is here."""
        number = self._imported.get(packed)
        if number is None:
            number = layout.IMPORTED + self._next_import
            self._next_import += 1
            self._imported[packed] = number
            if len(self._imported) > layout.TEMPLATES:
                self._imported.popitem(last=False)
            self._templates.clear()
            if self.is_open and not self.put(_page_at(number), layout.renumber(packed, number)):
                self.give_up()
        return number

    def _allot(self) -> int | None:
        if not self.is_open:
            return None
        if self._free:
            return self._free.pop()
        if self._end > self._limit:
            return None
        self._end += 1
        return self._end - 1


def path_of(directory: Path, number: int) -> Path:
    """Where the file of this number is."""
    return directory / f"{number:08x}"


def former_tips(directory: Path, recipe: bytes) -> dict[bytes, Tip]:
    """The tips of all files that are there by previous hash, each with the least time that it had."""
    tips: dict[bytes, Tip] = {}
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            file = ResumeFile.open(path, recipe)
            for tip in file.tips() if file is not None else ():
                known = tips.get(tip.previous)
                if known is None or tip.min_ntime < known.min_ntime:
                    tips[tip.previous] = tip
            if file is not None:
                file.close()
    return tips


def clear(directory: Path, alive: Iterable[int], now: float, life_s: float) -> None:
    """Delete the files of processes that have been gone for longer than a token lives."""
    names = {path_of(directory, number).name for number in alive}
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if path.name not in names and abs(now - path.stat().st_mtime) > life_s + 1:
                path.unlink()


def _at(slot: int) -> int:
    return layout.SLOTS_AT + slot * layout.SLOT


def _page_at(number: int) -> int:
    place = number % layout.TEMPLATES
    if number >= layout.IMPORTED:
        place += layout.TEMPLATES
    return layout.PAGE * (1 + place)


def _head(recipe: bytes) -> bytes:
    try:
        boot = BOOT_ID.read_bytes().strip()
    except OSError:
        boot = b""
    return layout.HEAD.pack(layout.FORMAT, recipe, boot)
