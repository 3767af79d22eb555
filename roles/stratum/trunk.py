"""One SV1 connection with the pool in use, on which many miners sit; kept over losses and changes of pool.

Miners keep their slice, which is their extranonce1, whatever the pool grants: that stands in each job's
first coinbase part. The listener hears `opened`, then `job` after `job`, then `lost`, then `opened` again;
where another pool takes over without a gap, `opened` comes without `lost`.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Protocol

from protocols.mining.prover import ProverMaker
from protocols.sv1.client import Authorized, Changed, Event, Job
from protocols.sv1.errors import Rejection
from protocols.sv1.notifications import Notify
from protocols.sv1.results import Subscription
from protocols.translation.errors import SlicesExhausted
from protocols.translation.extranonce import Layout
from protocols.translation.seats import Seats
from protocols.translation.share import JudgedShare
from protocols.translation.upstream_job import UpstreamJob, UpstreamJobs
from roles.stratum.errors import NamesFull
from roles.stratum.latencies import Latencies
from roles.stratum.pace import Pace
from roles.stratum.pool_line import PoolLine, Submitted
from roles.stratum.submissions import LOST, Outcome, Settle, Verdict
from roles.stratum.sv1_opener import Sv1Link, Sv1Pool
from roles.stratum.trunk_metrics import TrunkMetrics
from roles.stratum.upstream_meters import UpstreamMeters
from shared_config.sv1_upstream import UpstreamLimits

__all__ = ["Told", "Trunk", "TrunkKit", "TrunkListener", "UpstreamJob"]

JOBS_AT_ONCE: Final = 8.0
"""That are passed on however fast they come."""
STALE: Final = Verdict(Outcome.REFUSED, "stale-share")

Told = Callable[[Rejection | None], None]
"""Hears whether the pool lets a name in: after it was asked for, and again after each reconnection."""


class TrunkListener(Protocol):
    """Who serves the miners on all trunks; calls come from the event loop's thread and must not block."""

    def opened(self, trunk: "Trunk") -> None:
        """It is connected; work follows. At another pool than before no name is known yet: authorize those
        that are here.
        """

    def job(self, trunk: "Trunk", job: UpstreamJob) -> None:
        """Work for all miners on it; `job.clean` ends all that was before."""

    def lost(self, trunk: "Trunk", reason: str) -> None:
        """The connection has ended; shares that were not answered have been settled as LOST."""


@dataclass(slots=True)
class TrunkKit:
    """What all trunks have in common; `number` counts jobs."""

    listener: TrunkListener
    limits: UpstreamLimits
    metrics: TrunkMetrics
    meters: UpstreamMeters
    latencies: Latencies
    number: Callable[[], int]
    maker: ProverMaker
    has_others: Callable[[], bool]
    too_small: Callable[["Trunk"], bool]
    """Another pool is to be turned to, if there is any."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A job that waits because too many came; with what was in force when it did."""

    notify: Notify
    granted: Subscription
    mask: int
    difficulty: Fraction


class Trunk:
    """Miners sit on it by `seat`; all that it needs of them comes through its methods.

    `granted` is what the pool grants at present, or granted last; `job` the present work, None while there is
    none.
    """

    def __init__(self, kit: TrunkKit) -> None:
        self.pool = ""
        """The name of the pool that it is connected to, or was last."""
        self.is_connected = False
        self.latencies = kit.latencies
        self.granted: Subscription | None = None
        self.job: UpstreamJob | None = None
        self.source: Sv1Pool | None = None
        """The pool that it is connected to, or was last."""
        self.idle_since = asyncio.get_running_loop().time()
        """When the last miner left, while there is none."""
        self._kit = kit
        self._loop = asyncio.get_running_loop()
        self._seats = Seats(secrets.randbits(32))
        self._line: PoolLine | None = None
        self._serial = 0
        self._owner = b""
        self._maker = UpstreamJobs(kit.number, kit.maker)
        self._jobs: dict[int, UpstreamJob] = {}
        self._names: dict[str, tuple[str, Told]] = {}
        self._tip_hash = b""
        self._pace = Pace(kit.limits.notifies_per_s, JOBS_AT_ONCE, self._loop.time())
        self._held: _Held | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Miners on it."""
        return len(self._seats)

    @property
    def needed(self) -> int:
        """The bytes that a pool must grant for all who sit on it."""
        return self._seats.needed

    @property
    def known_names(self) -> int:
        """Workers that the pool is told of."""
        return len(self._names)

    @property
    def pending(self) -> int:
        """Shares that wait for the pool's verdict."""
        return len(self._line) if self._line else 0

    # What miners need

    def find(self, number: int) -> UpstreamJob | None:
        """The job whose number a `Work` carries as its `job_id`, if shares for it may still be sent."""
        return self._jobs.get(number)

    def seat(self, layout: Layout) -> bytes:
        """A miner's extranonce1; raises SlicesExhausted, and ExtranonceTooSmall."""
        if self.granted is not None:
            layout.padding(self.granted.extranonce2_size)
        if len(self) >= self._kit.limits.seats_per_connection:
            raise SlicesExhausted(f"{len(self)} miners are on this connection")
        extranonce1 = self._seats.take(layout)
        self._kit.metrics.seats.inc()
        return extranonce1

    def give_back(self, layout: Layout, extranonce1: bytes) -> None:
        """The miner is gone for good."""
        self._seats.give_back(layout, extranonce1)
        self._kit.metrics.seats.dec()
        self.idle_since = self._loop.time()

    def authorize(self, user: str, password: str, told: Told) -> None:
        """Have the pool let a name in, now and after each reconnection with the same pool.

        Raises NamesFull.
        """
        if user not in self._names:
            if len(self._names) >= self._kit.limits.names:
                raise NamesFull(f"the pool was told of {len(self._names)} workers on one connection")
            self._kit.metrics.names.inc()
        self._names[user] = (password, told)
        if self._line is not None:
            self._line.say(self._line.session.authorize(user, password))

    def forget(self, user: str) -> None:
        """The name is not needed any more."""
        if self._names.pop(user, None) is not None:
            self._kit.metrics.names.dec()

    def submit(
        self, user: str, job: UpstreamJob, share: JudgedShare, submit: Submitted, settle: Settle
    ) -> None:
        """Send a share on; `settle` is called exactly once, now or later.

        LOST where the connection of the job is gone or the pool never answers; refused as stale where its tip
        is.
        """
        line = self._line
        if line is None or job.serial != self._serial:
            self._kit.metrics.verdicts.labels("lost").inc()
            settle(LOST)
        elif job.number not in self._jobs:
            self._kit.metrics.verdicts.labels(STALE.code).inc()
            settle(STALE)
        else:
            line.submit(user, job, share, submit, settle)

    # What its keeper does

    def take_over(self, link: Sv1Link) -> PoolLine:
        """Be on this connection from now on; the caller runs what is returned, and says when it has ended."""
        former, is_same = self._line, self.source == link.pool
        resumed = is_same and link.granted.extranonce1 == self._owner
        if not resumed:
            self._serial += 1
            self._jobs.clear()
        else:
            self._kit.metrics.resumed.inc()
        line = PoolLine(link, self, self._kit.metrics, self._kit.meters, self._kit.latencies)
        self._line, self.source, self.granted = line, link.pool, link.granted
        self.pool, self.is_connected = link.pool.name, True
        self._drop_held()
        if former is not None:
            former.retire()
        if not is_same:
            self._kit.metrics.names.dec(len(self._names))
            self._names.clear()
        self._kit.listener.opened(self)
        if self._names:
            line.say(*(line.session.authorize(user, word) for user, (word, _) in self._names.items()))
        self._owner = link.granted.extranonce1
        self._pace.tokens = JOBS_AT_ONCE
        is_new = not (resumed and link.notify.previous == self._tip_hash)
        self._announce(_Held(replace(link.notify, clean=is_new), link.granted, *self._in_force(line)))
        return line

    def ended(self, line: PoolLine, reason: str) -> None:
        """A connection has ended, perhaps one that has been replaced."""
        line.end()
        if self._line is not line:
            return
        self._line = None
        self.job, self.is_connected = None, False
        self._drop_held()
        opener = line.link.opener
        if line.session.granted is not None:
            self._owner = line.session.granted.extranonce1
            opener.resume(line.session.granted.session)
        self._kit.listener.lost(self, reason)

    def is_on(self, line: PoolLine) -> bool:
        """Whether this is its connection now."""
        return self._line is line

    def fail(self, error: Exception) -> None:
        """Leave the pool."""
        if self._line is not None:
            self._line.fail(error)

    def close(self) -> None:
        """Nobody needs it any more."""
        self._drop_held()
        self._kit.metrics.names.dec(len(self._names))
        self._names.clear()

    # What the line says

    def heard(self, line: PoolLine, event: Event) -> None:
        """A job, a name's fate, or something else that is in force from the next job on."""
        if line is not self._line:
            return
        if isinstance(event, Job):
            assert line.session.granted is not None
            self._arrived(_Held(event.notify, line.session.granted, *self._in_force(line)))
        elif isinstance(event, Authorized):
            known = self._names.get(event.user)
            if known is not None:
                known[1](event.refusal)
        elif isinstance(event, Changed):
            self.granted = line.session.granted

    def has_others(self) -> bool:
        """Whether there is another pool to turn to."""
        return self._kit.has_others()

    @staticmethod
    def _in_force(line: PoolLine) -> tuple[int, Fraction]:
        return line.session.mask, line.session.difficulty or Fraction(1)

    def _fits(self, granted: Subscription) -> bool:
        """Whether miners here can use it; if not and there is another pool, that is turned to."""
        if self.needed <= granted.extranonce2_size:
            return True
        return not self._kit.too_small(self)

    def _arrived(self, held: _Held) -> None:
        """Pass a job on, unless so many come that only the newest is passed on now and then."""
        if self._held is not None:
            self._kit.metrics.jobs.labels("left-out").inc()
            was_clean = self._held.notify.clean
            self._held = replace(held, notify=replace(held.notify, clean=was_clean or held.notify.clean))
        elif self._pace.admits(self._loop.time()):
            self._announce(held)
        else:
            self._held = held
            wait = (1 - self._pace.tokens) / self._pace.rate
            self._timer = self._loop.call_later(wait, self._release)

    def _release(self) -> None:
        held, self._held, self._timer = self._held, None, None
        if held is not None and self._line is not None:
            self._pace.take(self._loop.time())
            self._announce(held)

    def _drop_held(self) -> None:
        self._held = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _announce(self, held: _Held) -> None:
        notify = held.notify
        if notify.previous != self._tip_hash:
            self._tip_hash = notify.previous
            self._seats.new_tip()
            notify = replace(notify, clean=True)
        if not self._fits(held.granted):
            return
        if notify.clean:
            self._jobs.clear()
        elif len(self._jobs) >= self._kit.limits.jobs:
            del self._jobs[next(iter(self._jobs))]
        job = self._maker.take(
            notify, held.granted, mask=held.mask, difficulty=held.difficulty, serial=self._serial
        )
        self.job = self._jobs[job.number] = job
        self._kit.metrics.jobs.labels("passed-on").inc()
        self._kit.listener.job(self, job)
