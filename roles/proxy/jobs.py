"""The upstream's jobs as one downstream channel sees them: around its own slice, with their targets frozen.

A future job waits for its SetNewPrevHash; from then on it has a tip and the target that the upstream judges
it by. Jobs of an upstream channel that is gone stay known until the next tip, but nobody judges their shares.
"""

from collections.abc import Hashable
from functools import lru_cache
from typing import NamedTuple, TypeVar, cast

from protocols.bitcoin.coinbase import strip_witness
from protocols.mining.job import MAX_FUTURE, Job, JobStore, Tip, Work
from protocols.mining.share import SeenShares
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash

ALIKE = 64
"""Values that are remembered, so that what all channels have the same of is held once."""

H = TypeVar("H", bound=Hashable)


@lru_cache(maxsize=ALIKE)
def _first(value: Hashable) -> Hashable:
    return value


def alike(value: H) -> H:
    """A value that is equal to this one: the same object for all who ask with equal ones."""
    return cast("H", _first(value))


class Origin(NamedTuple):
    """What a piece of work is upstream: its job id, and whether its version may be rolled."""

    job_id: int
    version_rolling: bool


class FutureJob(NamedTuple):
    """A job that waits for its tip, under its downstream id; `root` where the extranonce is fixed."""

    job_id: int
    work: Work
    root: bytes | None


def work_from(message: NewExtendedMiningJob, extranonce_head: bytes) -> Work:
    """The work of an upstream job; `extranonce_head` is what stands before the slice: prefix and padding.

    Raises CoinbaseError for a coinbase that carries half a witness.
    """
    prefix, suffix = strip_witness(message.coinbase_tx_prefix, message.coinbase_tx_suffix)
    origin = Origin(message.job_id, message.version_rolling_allowed)
    path = alike(message.merkle_path)
    return Work(origin, 0, message.version, prefix + extranonce_head, alike(suffix), path)


def origin_of(work: Work) -> Origin:
    """What a piece of work that `work_from` made is upstream."""
    origin = work.origin
    if not isinstance(origin, Origin):
        raise TypeError("work of another origin")
    return origin


class EdgeJobs:
    """The jobs of one downstream channel, and the shares seen within the tip."""

    __slots__ = ("_future", "_is_live", "_seen", "_store")

    def __init__(self) -> None:
        self._seen: SeenShares | None = None
        self._store: JobStore[Job] = JobStore()
        self._future: dict[int, FutureJob] | None = None
        self._is_live = False

    @property
    def seen(self) -> SeenShares:
        """The shares of the present tip."""
        if self._seen is None:
            self._seen = SeenShares()
        return self._seen

    @property
    def is_live(self) -> bool:
        """Whether the upstream would judge shares for these jobs."""
        return self._is_live

    @property
    def tip(self) -> Tip | None:
        """What the upstream's present jobs build on; None before its first SetNewPrevHash."""
        return self._store.active.tip if self._is_live and self._store.active else None

    @property
    def active(self) -> Job | None:
        """The newest job that the upstream would judge shares for."""
        return self._store.active if self._is_live else None

    def next_id(self) -> int:
        """A downstream job id that the channel has not had."""
        return self._store.next_id()

    def queue(self, job: FutureJob) -> None:
        """Keep a future job under its upstream id; the oldest goes when there are more than 8."""
        if self._future is None:
            self._future = {}
        self._future[origin_of(job.work).job_id] = job
        if len(self._future) > MAX_FUTURE:
            del self._future[next(iter(self._future))]

    def activate(self, message: SetNewPrevHash, *, target: int, now: int) -> Job | None:
        """Begin a tip with the future job that it names, whose target is now fixed; None if there is none."""
        future = self._future.get(message.job_id) if self._future else None
        if future is None:
            return None
        before = self._store.active
        if before is None or before.tip.previous != message.prev_hash:
            self._seen = None
        # The block target is not the edge's business: what is below the job's target goes upstream anyway.
        tip = alike(Tip(message.prev_hash, message.min_ntime, message.nbits, 0, now))
        job = Job(future.job_id, future.work, tip, target, future.root)
        self._store.begin(job)
        self._future = None
        self._is_live = True
        return job

    def follow(self, job: Job) -> None:
        """A job of the present tip."""
        self._store.replace(job)

    def retire(self) -> None:
        """The upstream channel is gone, and its jobs with it."""
        self._is_live = False
        self._future = None

    def find(self, job_id: int) -> Job:
        """The job that a share is for; raises StaleShare and UnknownJob."""
        return self._store.find(job_id)
