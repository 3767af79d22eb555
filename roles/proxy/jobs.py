"""The upstream's jobs as one downstream channel sees them: around its own slice, with their targets frozen.

What all channels have the same of is held once: their jobs differ in what stands between the coinbase and the
slice, and in ids and targets.

A future job waits for its SetNewPrevHash; from then on it has a tip and the target that the upstream judges
it by. Jobs of an upstream channel that is gone stay known until the next tip, but nobody judges their shares.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, NamedTuple

from protocols.bitcoin.coinbase import strip_witness
from protocols.bitcoin.header import ROLLABLE_VERSION_BITS
from protocols.bitcoin.target import work as work_of
from protocols.mining.errors import ShareRefused
from protocols.mining.job import MAX_FUTURE, Job, JobStore, Tip, Work
from protocols.mining.lane import CourseMaker
from protocols.mining.share import SeenShares
from protocols.sv2.job_frame import JobForm
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash
from roles.runtime.kernel import kernel

MOST_COURSES = 1_024
"""Targets of one piece of work that are remembered; pools have few."""
MOST_WORK = (1 << 64) - 1
ALIKE = 64
"""Values that are remembered, so that what all channels have the same of is held once."""

_FIXED_VERSION_BITS: Final = 0xFFFFFFFF ^ ROLLABLE_VERSION_BITS


@dataclass(frozen=True, slots=True)
class EdgeWork(Work):
    """The work of an upstream job, for all channels that are given the same; its version may be rolled or
    not.
    """

    version_rolling: bool = True
    _forms: list[tuple[int | None, JobForm]] = field(default_factory=list, compare=False, repr=False)
    _courses: list[tuple[Tip, dict[int, Any]]] = field(default_factory=list, compare=False, repr=False)

    def form(self, min_ntime: int | None) -> JobForm:
        """What its extended jobs have in common, of future ones without `min_ntime`; the last is kept."""
        for known, form in self._forms:
            if known == min_ntime:
                return form
        form = JobForm(
            NewExtendedMiningJob(
                0,
                0,
                min_ntime,
                self.version,
                self.version_rolling,
                self.merkle_path,
                self.prefix,
                self.suffix,
            )
        )
        self._forms[:] = [(min_ntime, form)]
        return form

    def course(self, maker: CourseMaker, tip: Tip, target: int) -> Any:
        """What lanes judge its shares by on a tip, for a target: one for all channels, kept for the last tip.

        None for a target that takes more than 2^64 hashes.
        """
        if not self._courses or self._courses[0][0] is not tip:
            self._courses[:] = [(tip, {})]
        courses = self._courses[0][1]
        course = courses.get(target)
        if course is None:
            work = work_of(target)
            if work > MOST_WORK:
                return None
            fixed = _FIXED_VERSION_BITS if self.version_rolling else 0xFFFFFFFF
            course = maker(
                self.prover(tip),
                min_ntime=tip.min_ntime,
                version=self.version,
                fixed=fixed,
                target=target,
                work=work,
            )
            if len(courses) >= MOST_COURSES:
                courses.clear()
            courses[target] = course
        return course


class FutureJob(NamedTuple):
    """A job that waits for its tip, under its downstream id and, `origin`, its upstream one.

    `head` stands before the slice: the upstream's prefix, and padding; `root` where the extranonce is fixed.
    """

    job_id: int
    work: EdgeWork
    root: bytes | None
    head: bytes
    origin: int


@dataclass(frozen=True, slots=True, eq=False)
class EdgeJob(Job):
    """A job on a tip; `head`, `root` and `origin` as before it had one."""

    work: EdgeWork
    head: bytes = b""
    origin: int = 0


def work_from(message: NewExtendedMiningJob) -> EdgeWork:
    """The work of an upstream job; raises CoinbaseError for a coinbase that carries half a witness."""
    return _work(
        message.coinbase_tx_prefix,
        message.coinbase_tx_suffix,
        message.merkle_path,
        message.version,
        message.version_rolling_allowed,
    )


@lru_cache(maxsize=ALIKE)
def _work(
    before: bytes, behind: bytes, path: tuple[bytes, ...], version: int, version_rolling: bool
) -> EdgeWork:
    prefix, suffix = strip_witness(before, behind)
    maker = kernel().prover
    return EdgeWork(None, 0, version, prefix, suffix, path, maker, version_rolling=version_rolling)


_tip = lru_cache(maxsize=ALIKE)(Tip)


class EdgeJobs:
    """The jobs of one downstream channel, and the shares seen within the tip."""

    __slots__ = ("_future", "_is_live", "_seen", "_store", "is_resuming")

    def __init__(self) -> None:
        self._seen: SeenShares | None = None
        self._store: JobStore[EdgeJob] = JobStore()
        self._future: dict[int, FutureJob] | None = None
        self._is_live = False
        self.is_resuming = False
        """Whether the upstream has resumed its channel and not yet sent work."""

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
    def active(self) -> EdgeJob | None:
        """The newest job that the upstream would judge shares for."""
        return self._store.active if self._is_live else None

    def next_id(self) -> int:
        """A downstream job id that the channel has not had."""
        return self._store.next_id()

    def queue(self, job: FutureJob) -> None:
        """Keep a future job under its upstream id; the oldest goes when there are more than 8."""
        if self._future is None:
            self._future = {}
        self._future[job.origin] = job
        if len(self._future) > MAX_FUTURE:
            del self._future[next(iter(self._future))]

    def activate(self, message: SetNewPrevHash, *, target: int, now: int) -> EdgeJob | None:
        """Begin a tip with the future job that it names, whose target is now fixed; None if there is none."""
        future = self._future.get(message.job_id) if self._future else None
        if future is None:
            return None
        before = self._store.active
        if before is None or before.tip.previous != message.prev_hash:
            self._seen = None
        # The block target is not the edge's business: what is below the job's target goes upstream anyway.
        tip = _tip(message.prev_hash, message.min_ntime, message.nbits, 0, now)
        job = EdgeJob(future.job_id, future.work, tip, target, future.root, future.head, future.origin)
        if self.is_resuming and before is not None and before.tip.previous == message.prev_hash:
            self._store.replace(job)
        else:
            self._store.begin(job)
        self._future = None
        self._is_live = True
        self.is_resuming = False
        return job

    def follow(self, job: EdgeJob) -> None:
        """A job of the present tip."""
        self._store.replace(job)

    def retire(self) -> None:
        """The upstream channel is gone, and its jobs with it."""
        self._is_live = False
        self.is_resuming = False
        self._future = None

    def go_on(self) -> None:
        """The upstream has resumed its channel: its jobs are as good as they were, and the next is one more
        even where it begins the same tip.
        """
        self.is_resuming = self._is_live
        self._future = None

    def live(self, job_id: int) -> EdgeJob | None:
        """The job that a share is for, if the upstream would judge it."""
        if not self._is_live:
            return None
        active = self._store.active
        if active is not None and active.job_id == job_id:
            return active
        try:
            return self._store.find(job_id)
        except ShareRefused:
            return None

    def age(self, job: EdgeJob) -> int:
        """How many newer jobs of the tip there are."""
        return self._store.age(job)

    def find(self, job_id: int) -> EdgeJob:
        """The job that a share is for; raises StaleShare and UnknownJob."""
        return self._store.find(job_id)
