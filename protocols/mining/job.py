"""From templates to jobs, and the life of a job on its channel.

A job is future until its tip arrives, active, past while a later job of the same tip is active, and stale
when the next tip has come; ids of older tips are unknown. The coinbase of a job carries the revision of its
channel's target, so that work under two targets can never be the same work (one piece of work has one price;
how channels of a connection share revisions and jobs stands in `group`).
"""

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from protocols.bitcoin.coinbase import CoinbaseTemplate, coinbase_parts
from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.transaction import TxOut
from protocols.mining.errors import StaleShare, UnknownJob
from protocols.mining.extranonce import FULL_SIZE
from protocols.mining.prover import Prover, ProverMaker, PythonProver

MAX_TAG = 61
MAX_PAST = 256
MAX_FUTURE = 8


@dataclass(frozen=True, slots=True)
class Tip:
    """What jobs build on: previous hash (internal order), least header time, nbits, and the target of a
    block.

    `received` is when the server learned of it, in unix seconds.
    """

    previous: bytes
    min_ntime: int
    bits: int
    block_target: int
    received: int


@dataclass(frozen=True, slots=True)
class Template:
    """A block template without its tip; `origin` names it to whoever made it."""

    origin: Hashable
    version: int
    coinbase: CoinbaseTemplate
    merkle_path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """A template made ready for miners: the coinbase in two parts around the full extranonce, without BIP141
    bytes.
    """

    origin: Hashable
    revision: int
    version: int
    prefix: bytes
    suffix: bytes
    merkle_path: tuple[bytes, ...]
    maker: ProverMaker = field(default=PythonProver, compare=False)
    _provers: list[tuple[Tip, Prover]] = field(default_factory=list, compare=False, repr=False)

    def prover(self, tip: Tip) -> Prover:
        """What makes headers of the work on a tip; the last one asked for is kept."""
        for known, prover in self._provers:
            if known is tip:
                return prover
        prover = self.maker(self.prefix, self.suffix, self.merkle_path, tip.previous, tip.bits)
        self._provers[:] = [(tip, prover)]
        return prover

    def coinbase(self, extranonce: bytes) -> bytes:
        """The coinbase without witness around a full extranonce."""
        return self.prefix + extranonce + self.suffix


def coinbase_tag(pool: str, revision: int) -> bytes:
    """The text that a coinbase of ours carries: Sv2/<pool>/<revision in hex, none for 0>/.

    Raises CoinbaseError for more than 61 bytes.
    """
    tag = f"Sv2/{pool}/{f'{revision:x}' if revision else ''}/".encode()
    if len(tag) > MAX_TAG:
        raise CoinbaseError(f"the coinbase tag has {len(tag)} bytes, at most {MAX_TAG} fit")
    return tag


def build_work(
    template: Template,
    rewards: Sequence[TxOut],
    *,
    pool: str,
    revision: int,
    extranonce_size: int = FULL_SIZE,
    maker: ProverMaker = PythonProver,
) -> Work:
    """The work of a template for channels whose target has this revision; raises CoinbaseError.

    `rewards` are the outputs before the template's own and take its whole value.
    """
    prefix, suffix = coinbase_parts(
        template.coinbase, rewards, tag=coinbase_tag(pool, revision), extranonce_size=extranonce_size
    )
    return Work(template.origin, revision, template.version, prefix, suffix, template.merkle_path, maker)


@dataclass(frozen=True, slots=True, eq=False)
class GroupJob:
    """Work under an id, for whoever it was sent to."""

    job_id: int
    work: Work
    tip: Tip


@dataclass(frozen=True, slots=True, eq=False)
class Job(GroupJob):
    """Work under an id of a channel, with the target by which its shares are judged and credited for good.

    `root` is the merkle root where the extranonce is fixed, as on standard channels.
    """

    target: int
    root: bytes | None = None


J = TypeVar("J", bound=GroupJob)


class JobIds:
    """Ids that no job of a connection has had, U32, from 1."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        """The next id; after the last comes 1 again."""
        self._last = self._last % 0xFFFFFFFF + 1
        return self._last

    def skip(self, last: int) -> None:
        """Give out no id up to `last`: those mean something already."""
        self._last = max(self._last, last)


_NO_JOBS: dict[int, Any] = {}
"""Stands for every empty collection and is never written to: most channels never have two jobs at once."""


class JobStore(Generic[J]):
    """The jobs of one channel or group, by id and state; bounded in all of them."""

    __slots__ = ("_future", "_ids", "_past", "_stale", "active")

    def __init__(self, ids: JobIds | None = None) -> None:
        self.active: J | None = None
        self._ids = ids or JobIds()
        self._future: dict[int, J] = _NO_JOBS
        self._past: dict[int, J] = _NO_JOBS
        self._stale: Collection[int] = ()

    def next_id(self) -> int:
        """An id for a job of this store, U32."""
        return self._ids.next()

    def queue(self, job: J) -> None:
        """Keep a future job until a tip names it; the oldest goes when there are more than 8."""
        if not self._future:
            self._future = {}
        self._future[job.job_id] = job
        if len(self._future) > MAX_FUTURE:
            del self._future[next(iter(self._future))]

    def activate(self, job_id: int) -> J:
        """A new tip: the named future job is active, active and past ones are stale, other future ones are
        gone.

        Raises UnknownJob when no future job has this id.
        """
        job = self._future.get(job_id)
        if job is None:
            raise UnknownJob(f"job {job_id} is no future job of this channel")
        self.begin(job)
        return job

    def begin(self, job: J) -> None:
        """A new tip with its first job; what was active or past is stale, and future jobs are gone."""
        self.retire()
        self.active = job

    def retire(self) -> None:
        """Another tip, without work on it: active and past jobs are stale, future ones are gone."""
        active = () if self.active is None else (self.active.job_id,)
        self._stale = frozenset((*self._past, *active)) if self._past else active
        self._past = self._future = _NO_JOBS
        self.active = None

    def replace(self, job: J) -> None:
        """A job of the same tip to start on at once; the one before it stays good until the tip changes."""
        if self.active is not None:
            if not self._past:
                self._past = {}
            self._past[self.active.job_id] = self.active
            if len(self._past) > MAX_PAST:
                del self._past[next(iter(self._past))]
        self.active = job

    def age(self, job: J) -> int:
        """How many newer jobs of the tip there are than one that `find` finds."""
        return 0 if job is self.active else len(self._past) - list(self._past).index(job.job_id)

    def find(self, job_id: int) -> J:
        """The job that shares may be made for; raises StaleShare and UnknownJob."""
        if self.active is not None and self.active.job_id == job_id:
            return self.active
        job = self._past.get(job_id)
        if job is not None:
            return job
        if job_id in self._stale:
            raise StaleShare(f"job {job_id} belongs to the previous tip")
        raise UnknownJob(f"job {job_id} is not known on this channel")
