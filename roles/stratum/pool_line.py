"""One live connection with an SV1 pool: its shares in flight, its silence, and its end."""

import asyncio
import logging
from typing import Final, Protocol

from protocols.sv1.client import Answered, Authorized, Event, Job, Judged, Message, Odd, Redirected
from protocols.sv1.errors import Rejection
from protocols.sv1.line import Overlong
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Submit
from protocols.translation.share import JudgedShare
from protocols.translation.upstream_job import UpstreamJob
from protocols.translation.verdict import code_of, is_known
from roles.runtime.errors import ConnectionLost
from roles.runtime.line_connection import Line
from roles.stratum.errors import UpstreamUnusable
from roles.stratum.latencies import Latencies
from roles.stratum.pace import Pace
from roles.stratum.pulse import Habits, Pulse
from roles.stratum.submissions import ACCEPTED, LOST, Outcome, Settle, Verdict
from roles.stratum.sv1_opener import OVERLONG, REDIRECTED, Sv1Link
from roles.stratum.trunk_metrics import TrunkMetrics
from roles.stratum.upstream_meters import UpstreamMeters

__all__ = ["LineOwner", "PoolLine", "Submitted"]

Submitted = Submit | PlainSubmit
"""What a miner has said, of which the header's time and nonce are sent on."""

LOOK_S: Final = 1.0
"""How often silence is looked at, at most."""
BURST_S: Final = 10.0
"""A pool may say at once what it may say in so many seconds."""
MESSAGES: Final = 10
"""Sentences of the pool that are logged of one connection."""

_log = logging.getLogger(__name__)


class LineOwner(Protocol):
    """Who hears what concerns all: jobs, names, changes."""

    def heard(self, line: "PoolLine", event: Event) -> None:
        """What the pool has said; not verdicts, nor what only the connection needs."""

    def has_others(self) -> bool:
        """Whether there is another pool to turn to."""


class PoolLine:
    """Runs until the connection ends, by whichever side; then all that was not answered is LOST."""

    def __init__(
        self,
        link: Sv1Link,
        owner: LineOwner,
        metrics: TrunkMetrics,
        meters: UpstreamMeters,
        latencies: Latencies,
    ) -> None:
        self.link = link
        self.session = link.session
        self.is_over = False
        self._owner = owner
        self._metrics = metrics
        self._shares = meters.shares
        # Looked up once, because it is most of what counting costs.
        self._accepted = metrics.verdicts.labels("accepted")
        self._accepted_there = meters.shares.labels(link.pool.name, "accepted")
        self._latencies = latencies
        self._loop = asyncio.get_running_loop()
        self.since = self._worked = self._heard_verdict = self._loop.time()
        self._times = link.opener.terms.times
        rate = link.opener.terms.limits.lines_per_s
        self._allowance = Pace(rate, rate * BURST_S, self.since)
        self._open_submits = link.opener.terms.limits.open_submits
        habits = Habits()
        # It has answered once: our name was let in.
        habits.answers = True
        self._pulse = Pulse(habits, self._times.stall_s, self.since)
        # By id, in the order of sending: when, and who hears.
        self._pending: dict[int, tuple[float, Settle]] = {}
        self._gather_s = link.opener.terms.gather_s
        self._unsent: list[bytes] = []
        self._sending: asyncio.TimerHandle | None = None
        self._failure: Exception | None = None
        self._messages = 0
        self._retirement: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle

    def __len__(self) -> int:
        return len(self._pending)

    async def run(self) -> None:
        """Hear the pool to the end, and raise why it came: ConnectionLost or UpstreamUnusable."""
        self._watch = self._loop.call_later(self._pace, self._look)
        try:
            await self.link.connection.hand_over(self._take)
        except ConnectionLost as error:
            if self._failure is not None:
                raise self._failure from error
            raise
        finally:
            self._watch.cancel()
            self.end()

    @property
    def _pace(self) -> float:
        times = self._times
        return min(LOOK_S, times.stall_s / 4, times.answer_s / 4, times.work_s / 4)

    def say(self, *lines: bytes) -> None:
        """Send lines; whoever reads hears if the connection has ended."""
        try:
            self.link.connection.send(*lines)
        except ConnectionLost:
            return

    def submit(
        self, user: str, job: UpstreamJob, share: JudgedShare, submit: Submitted, settle: Settle
    ) -> None:
        """Send a share, soon, with others; at once if it is a block."""
        if self.is_over or len(self._pending) >= self._open_submits:
            self._settle(settle, LOST)
            return
        id, line = self.session.submit(
            user,
            job.notify.job_id,
            extranonce2=share.extranonce,
            ntime=submit.ntime,
            nonce=submit.nonce,
            version_bits=job.version_bits(share.version),
        )
        self._pending[id] = self._loop.time(), settle
        self._metrics.pending.value += 1
        self._unsent.append(line)
        if not self._gather_s or int.from_bytes(share.share_hash, "little") <= job.block:
            self._send()
        elif self._sending is None:
            self._sending = self._loop.call_later(self._gather_s, self._send)

    def _send(self) -> None:
        """Send the shares that have come together."""
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        unsent, self._unsent = self._unsent, []
        if unsent:
            self.say(*unsent)

    def fail(self, error: Exception) -> None:
        """End the connection for a reason of ours."""
        if self._failure is None and not self.is_over:
            self._failure = error
            self.link.connection.abort(str(error), code="given-up")

    def retire(self) -> None:
        """Another connection has taken over: wait for verdicts that are on their way, for a while."""
        self._send()
        if not self._pending or not self._times.farewell_s:
            self.link.close()
        elif self._retirement is None:
            self._retirement = self._loop.call_later(self._times.farewell_s, self.link.close)

    def end(self) -> None:
        """Settle what nobody will answer."""
        if self.is_over:
            return
        self.is_over = True
        if self._retirement is not None:
            self._retirement.cancel()
        if self._sending is not None:
            self._sending.cancel()
        self._unsent.clear()
        pending, self._pending = self._pending, {}
        self._metrics.pending.value -= len(pending)
        for _, settle in pending.values():
            self._settle(settle, LOST)

    # What the pool says

    def _take(self, line: Line) -> None:
        now = self._loop.time()
        self._pulse.heard(now)
        if pause := self._allowance.take(now):
            self._metrics.throttled.inc()
            self.link.connection.hold()
            self._loop.call_later(pause, self.link.connection.release)
        if isinstance(line, Overlong):
            self.fail(UpstreamUnusable(OVERLONG))
            return
        if self._failure is not None:
            return
        accepted = self.session.accepted(line)
        if accepted is not None:
            self._answered(accepted, ACCEPTED, now)
            return
        event = self.session.receive(line)
        if isinstance(event, Judged):
            self._judged(event, now)
        elif isinstance(event, Odd):
            self._metrics.odd.labels(event.what).inc()
        elif isinstance(event, Answered):
            if event.line:
                self.say(event.line)
        elif isinstance(event, Message):
            self._message(event)
        elif isinstance(event, Redirected):
            self._redirected(event)
        else:
            if isinstance(event, Job):
                self._worked = now
            elif isinstance(event, Authorized):
                self._pulse.answered()
            self._owner.heard(self, event)

    def _judged(self, event: Judged, now: float) -> None:
        if event.is_late:
            self._heard_verdict = now
            self._metrics.verdicts.labels("late").inc()
        else:
            self._answered(event.id, _verdict(event.refusal), now)

    def _answered(self, id: int, verdict: Verdict, now: float) -> None:
        self._heard_verdict = now
        added, settle = self._pending.pop(id)
        self._metrics.pending.value -= 1
        self._latencies.add(now - added)
        self._settle(settle, verdict)
        if self._retirement is not None and not self._pending:
            self.link.close()

    def _settle(self, settle: Settle, verdict: Verdict) -> None:
        if verdict.outcome is Outcome.ACCEPTED:
            self._accepted.value += 1
            self._accepted_there.value += 1
        elif verdict.outcome is Outcome.REFUSED:
            self._metrics.verdicts.labels(verdict.code if is_known(verdict.code) else "other").inc()
            self._shares.labels(self.link.pool.name, "rejected").inc()
        else:
            self._metrics.verdicts.labels("lost").inc()
            self._shares.labels(self.link.pool.name, "unknown").inc()
        settle(verdict)

    def _message(self, event: Message) -> None:
        self._messages += 1
        if self._messages <= MESSAGES:
            _log.info("the pool says", extra={"upstream": self.link.pool.name, "message_text": event.text})

    def _redirected(self, event: Redirected) -> None:
        if not self.link.opener.redirect(event.where):
            self._metrics.redirects.labels("refused").inc()
            return
        self._metrics.redirects.labels("followed").inc()
        error = ConnectionLost("the pool sends us to another of its servers", code=REDIRECTED)
        self._loop.call_later(event.where.wait, self.fail, error)

    # Time

    def _look(self) -> None:
        if self.is_over:
            return
        now, times = self._loop.time(), self._times
        if self._pulse.is_gone(now):
            self.fail(UpstreamUnusable("the pool says nothing any more"))
        elif now - self._worked >= times.work_s and self._retirement is None:
            self.fail(UpstreamUnusable("the pool gives no work"))
        else:
            if self._pulse.asks(now):
                pool = self.link.pool
                self.say(self.session.authorize(pool.user, pool.password))
            self._expire(now - times.answer_s)
            self._watch = self._loop.call_later(self._pace, self._look)

    def _expire(self, before: float) -> None:
        is_mute = False
        while self._pending:
            id, (added, settle) = next(iter(self._pending.items()))
            if added >= before:
                break
            del self._pending[id]
            self._metrics.pending.value -= 1
            self.session.give_up(id)
            self._settle(settle, LOST)
            is_mute |= added >= self._heard_verdict
        if is_mute and self._owner.has_others():
            self.fail(UpstreamUnusable("the pool does not answer shares"))


def _verdict(refusal: Rejection | None) -> Verdict:
    return ACCEPTED if refusal is None else Verdict(Outcome.REFUSED, code_of(refusal))
