"""Where one SV1 miner's shares are looked at, sent on, answered and counted."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.messages import Call, error_reply, reply
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Submit, read_submit
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare, judge
from protocols.translation.verdict import NO_VERDICT, rejection
from protocols.translation.work import Work
from roles.runtime.kernel import kernel
from roles.stratum.cost import CostAccount
from roles.stratum.deadlines import Deadlines
from roles.stratum.own_difficulty import OwnDifficulty
from roles.stratum.replies import OrderedReplies, Place
from roles.stratum.seat import Seat
from roles.stratum.sent_jobs import SEEN_LIMIT, SentJob, SentJobs
from roles.stratum.submissions import Outcome, Settle, Verdict
from roles.stratum.tally import Tally, reason

__all__ = ["ShareDesk", "Submitter"]

_YES: Final = b'{"id":%b,"result":true,"error":null}\n'


class Submitter(Protocol):
    """Takes a good share upstream."""

    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle) -> None:
        """Send a share on; `settle` is called once, now or later, LOST where it cannot be sent. Must not
        raise.
        """


class OpenShare(Place):
    """A share that waits for the upstream's verdict, which it is called with; `since` in loop seconds."""

    __slots__ = ("_desk", "hashes", "share_hash", "since")

    def __init__(self, id: bytes, desk: "ShareDesk", share_hash: bytes, hashes: float, since: float) -> None:
        self.id = id
        self.line = None
        self._desk = desk
        self.share_hash = share_hash
        self.hashes = hashes
        self.since = since

    def __call__(self, verdict: Verdict) -> None:
        self._desk.settle(self, verdict)

    def overdue(self) -> None:
        """The miner waits no longer."""
        self._desk.no_verdict(self)


class ShareDesk:
    """Checks shares against the jobs that were sent, forwards good ones, and answers each with its true
    verdict.

    `verdict_s`: how long the upstream's word is waited for. `clock` tells unix seconds. `hurry` is called
    when shares that the upstream has no use for come so fast that harder work should not be waited for.
    `remembered`: how many shares of a tip are known again.
    """

    def __init__(
        self,
        submitter: Submitter,
        replies: OrderedReplies,
        *,
        extranonce1: bytes,
        layout: Layout,
        verdict_s: float,
        deadlines: Deadlines,
        clock: Callable[[], float],
        totals: Tally,
        cost: CostAccount,
        hurry: Callable[[], None] = lambda: None,
        tally: Tally | None = None,
        remembered: int = SEEN_LIMIT,
    ) -> None:
        self.jobs = SentJobs(remembered)
        self.own: OwnDifficulty | None = None
        self.seat: Seat | None = None
        """Who takes plain shares at present, if that is somebody else."""
        self.calmed: Callable[[], None] | None = None
        """Called when a share was accepted and no other waits."""
        self._tally = tally or Tally()
        self._pending = 0
        self.bad_shares = 0
        """How many in a row have been refused here, the last one included."""
        self.bad_since = 0.0
        """When the first of them came, by the loop's clock."""
        self._totals = totals
        self._cost = cost
        self._hurry = hurry
        self._submitter = submitter
        self._replies = replies
        self._extranonce1 = extranonce1
        self._layout = layout
        self._own = (extranonce1, layout.extranonce2_size)
        self._verdict_s = verdict_s
        self._deadlines = deadlines
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._find = kernel().find

    @property
    def tally(self) -> Tally:
        """What became of the miner's shares."""
        if self.seat is not None:
            self.seat.catch_up()
        return self._tally

    @tally.setter
    def tally(self, tally: Tally) -> None:
        self._tally = tally

    @property
    def pending(self) -> int:
        """Shares that wait for their verdict."""
        return self._pending + (self.seat.pending if self.seat is not None else 0)

    @property
    def is_calm(self) -> bool:
        """Whether no share waits, and the last one was good."""
        return not (self._pending or self.bad_shares or self._replies)

    @property
    def own_extranonce(self) -> tuple[bytes, int]:
        """The miner's extranonce1, and the size of its extranonce2."""
        return self._own

    def reopen(self, id: bytes, share_hash: bytes, hashes: float, since: float) -> "OpenShare":
        """A share that somebody else took waits here from now on."""
        place = OpenShare(id, self, share_hash, hashes, since)
        self._replies.add(place)
        self._pending += 1
        self._deadlines.add(since + self._verdict_s, place)
        return place

    def found_elsewhere(self, shares: int, when: float, hashes: float, best: bytes) -> None:
        """Good shares that somebody else took, of so many hashes together; the last and the lowest one."""
        self._tally.found(int.from_bytes(best, "little"), when)
        if self.own is not None:
            self.own.found_many(hashes, shares)

    def accepted_elsewhere(self, work: float, squares: float, shares: int, when: float) -> None:
        """So many of them were accepted at that time."""
        self._tally.accepted += shares
        self._tally.rate.add_many(work, squares, shares, when)

    def grant(self, extranonce1: bytes, layout: Layout) -> None:
        """Whose bytes the extranonce is, from now on."""
        self._extranonce1, self._layout = extranonce1, layout
        self._own = (extranonce1, layout.extranonce2_size)

    def continue_from(self, former: "ShareDesk") -> None:
        """The miner has reconnected: what it was given to do on its former socket still counts."""
        self.jobs = former.jobs
        self.own = former.own
        self.jobs.reconnected()
        self._extranonce1 = former._extranonce1
        self._layout = former._layout
        self._own = former._own

    def submit(self, call: Call, mask: int, refusal: Rejection | None) -> None:
        """Take a mining.submit; `mask` is what the miner was granted, `refusal` why it may not submit at
        all.
        """
        place = OpenShare(call.id, self, b"", 0.0, 0.0)
        self._replies.add(place)
        try:
            if refusal is not None:
                raise refusal
            submit = read_submit(call.params)
            job = self.jobs.find(submit.job_id)
            share = judge(
                submit,
                job.work,
                layout=self._layout,
                extranonce1=self._extranonce1,
                mask=mask,
                miner_target=job.miner_target,
                now=int(self._clock()),
            )
            if self.jobs.remember(share.share_hash):
                self._replies.fill(place, reply(place.id, True))
                return
            number, now = int.from_bytes(share.share_hash, "little"), self._loop.time()
            self._tally.found(number, now)
            self._totals.found(number, now)
            if self.own is not None:
                self.own.found(job.hashes)
        except Rejection as error:
            if error.code != ErrorCode.JOB_NOT_FOUND:
                self._cost.bad_share()
            if not self.bad_shares:
                self.bad_since = self._loop.time()
            self.bad_shares += 1
            self._reject(place, error)
            return
        self.bad_shares = 0
        if not share.forward:
            for tally in (self._tally, self._totals):
                tally.local += 1
                tally.rate.add(job.hashes, now)
            self._replies.fill(place, reply(place.id, True))
            if self.own is not None and self.own.is_rushed(now):
                self._hurry()
            return
        self._forward(place, share, submit, job, now)

    def take(self, line: bytes, mask: int, now: float) -> bool:
        """The short way of a share that nothing is unusual about, in a line that came at `now` of the loop's
        clock; False for every other line, and for a share that must go the long way, which comes to the same
        verdict.
        """
        found = self._find(line, self.jobs.present, self._own, mask, int(self._clock()))
        if found is None:
            return False
        submit, share, job = found
        share_hash = share.share_hash
        if not self.jobs.take_new(share_hash):
            return False
        self.bad_shares = 0
        number = int.from_bytes(share_hash, "little")
        self._tally.found(number, now)
        self._totals.found(number, now)
        if self.own is not None:
            self.own.found(job.hashes)
        place = OpenShare(b"%d" % submit.id, self, b"", 0.0, 0.0)
        self._replies.add(place)
        self._forward(place, share, submit, job, now)
        return True

    def _forward(
        self,
        place: OpenShare,
        share: JudgedShare,
        submit: Submit | PlainSubmit,
        job: SentJob,
        now: float,
    ) -> None:
        place.share_hash, place.hashes, place.since = share.share_hash, job.hashes, now
        self._pending += 1
        self._deadlines.add(now + self._verdict_s, place)
        self._submitter.found(share, submit, job.work, place)

    def settle(self, share: OpenShare, verdict: Verdict) -> None:
        """The upstream's word on a share has come."""
        self._pending -= 1
        now = self._loop.time()
        outcome = verdict.outcome
        if outcome is not Outcome.LOST and self._totals.verdicts is not None:
            self._totals.verdicts.add(now - share.since)
        if outcome is Outcome.ACCEPTED:
            self._tally.credit(share.hashes, now)
            self._totals.credit(share.hashes, now)
            self.jobs.accepted(share.share_hash)
            self._replies.fill(share, _YES % share.id)
            if self.calmed is not None and not self._pending:
                self.calmed()
        elif outcome is Outcome.REFUSED:
            self._reject(share, rejection(verdict.code))
        else:
            self._tally.unknown += 1
            self._totals.unknown += 1
            self.jobs.forget(share.share_hash)
            self.no_verdict(share)

    def no_verdict(self, place: Place) -> None:
        """Tell the miner that nobody knows, unless it has its answer."""
        if place.line is None:
            self._tally.unanswered += 1
            self._totals.unanswered += 1
            self._replies.fill(place, error_reply(place.id, Rejection(*NO_VERDICT)))

    def _reject(self, place: Place, error: Rejection) -> None:
        why = reason(error)
        self._tally.rejected[why] += 1
        self._totals.rejected[why] += 1
        self._replies.fill(place, error_reply(place.id, error))
