"""A downstream channel that shares one upstream channel with all others of the proxy.

Its extranonce is the upstream's prefix, its slice, what the miner rolls, and zeros where the upstream grants
more; slices have one place in the coinbase and differ, so no two miners ever make the same header. What the
miner is asked for follows its own rate, and is never harder than what the upstream credits; shares that miss
the upstream's target are answered here, and counted apart.
"""

import asyncio
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING

from protocols.bitcoin.target import MAX_TARGET
from protocols.bitcoin.target import work as work_of
from protocols.ehash.messages import EXTENSION, TLV_SHARE_KEY, QuoteNotice
from protocols.mining.errors import (
    BadExtranonceSize,
    InvalidShare,
    InvalidUserIdentity,
    MaxTargetOutOfRange,
    MinExtranonceSizeTooLarge,
    ShareRefused,
)
from protocols.mining.job import Job
from protocols.mining.share import SeenShares, Verdict, check_time, check_version, extended_root, judge
from protocols.mining.vardiff import Vardiff, hashes_for, probe_hashes, silence_s
from protocols.sv2.errors import MalformedTlv
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.tlv import Tlv, find_tlv
from roles.proxy.answers import Answers
from roles.proxy.attribution import Attribution
from roles.proxy.downstream_channel import DownstreamChannel, Line, OpenRequest, Share
from roles.proxy.errors import Overloaded
from roles.proxy.jobs import EdgeJob
from roles.proxy.sieve import Sieve
from roles.proxy.slices import SLICE_SIZE
from roles.runtime import crash
from roles.stratum.alike import alike
from roles.stratum.errors import ChannelNotOpen, SubmissionsFull
from roles.stratum.submissions import Outcome
from roles.stratum.submissions import Verdict as UpstreamVerdict

if TYPE_CHECKING:
    from roles.proxy.aggregate import Aggregate

MOST_WAITING = 1_024
CHANGED_RATE = 1.5
"""A declared hash rate that differs by less from the one before says nothing new."""


class Member(DownstreamChannel):
    """A channel of the aggregate; `tip_number` is the newest tip that it has been told of."""

    __slots__ = (
        "_aggregate", "_answers", "_declared", "_given", "_looked", "_max_target", "_seen", "_seen_on",
        "_sieve", "_vardiff", "tip_number", "wanted",
    )  # fmt: skip

    def __init__(
        self,
        request: OpenRequest,
        *,
        channel_id: int,
        extranonce_slice: bytes,
        attribution: Attribution,
        aggregate: "Aggregate",
        line: Line,
    ) -> None:
        super().__init__(
            request,
            channel_id=channel_id,
            extranonce_slice=extranonce_slice,
            attribution=attribution,
            edge=aggregate.edge,
            line=line,
        )
        self._aggregate = aggregate
        self._declared = request.nominal_hash_rate
        self.wanted = probe_hashes(self._declared, aggregate.terms.shares_per_minute)
        self._max_target = alike(request.max_target)
        self._sieve = Sieve(0)
        self._answers: Answers | None = None
        self._seen: SeenShares | None = None
        self._seen_on = b""
        self._vardiff: Vardiff | None = None
        self._looked = asyncio.get_running_loop().time()
        self._given = 0
        self.tip_number = 0

    # What differs between the kinds

    @abstractmethod
    def _success(self, group_id: int) -> Message:
        """The answer that opens the channel."""

    @abstractmethod
    def announce(self, job: EdgeJob, min_ntime: int | None) -> Message:
        """The message for a job of its own, a future one without `min_ntime`."""

    @abstractmethod
    def _roll(self, share: Share, job: EdgeJob) -> tuple[bytes, bytes]:
        """What stands behind the slice, and the merkle root of a share; raises ShareRefused."""

    # Opening

    @property
    def is_open(self) -> bool:
        """Whether the miner has its answer and has not been refused."""
        return self._answer == ""

    @property
    def max_target(self) -> int:
        """The easiest target that the miner wants."""
        return self._max_target

    @property
    def target(self) -> int:
        """What the miner has been told."""
        return self._sieve.target

    @property
    def hashes(self) -> int:
        """What a share of this miner takes in the long run, by experience, else by what it says to have."""
        settled = 0 if self._vardiff is None else self._vardiff.settled_hashes
        return settled or hashes_for(self._declared, self._aggregate.terms.shares_per_minute)

    @property
    def size(self) -> int:
        """The bytes of the upstream's extranonce that the miner takes: its slice, and what it rolls."""
        return SLICE_SIZE + self.extranonce_size

    def admit(self, granted: int, credit: int) -> bool:
        """The upstream grants so many bytes and credits by this target: whether the channel can open."""
        if granted - SLICE_SIZE < self.least_size:
            self._say(MinExtranonceSizeTooLarge.code)
        elif credit > self._max_target:
            self._say(MaxTargetOutOfRange.code)
        else:
            self.extranonce_size = granted - SLICE_SIZE
            self._sieve = Sieve(self._aim(credit))
            return True
        return False

    def open(self, group_id: int) -> None:
        """Answer the miner, as a member of a group of its line."""
        self._line.transmit(self._success(group_id))
        self._say("")

    def refuse(self, code: str) -> None:
        """The channel cannot be opened."""
        self._say(code)

    # Work and targets

    def fit(self, job: EdgeJob) -> None:
        """Tell a new target before a job whose credit asks for one."""
        if (target := self._aim(job.target)) != self._sieve.target:
            self._retarget(target, job)

    def bring(self, job: EdgeJob, min_ntime: int) -> None:
        """Send a job to the channel itself: a future one and its tip, where it has not had the tip."""
        self._given = job.job_id
        if self.tip_number == self._aggregate.tip_number:
            self._line.transmit(self.announce(job, min_ntime))
            return
        self.tip_number = self._aggregate.tip_number
        tip = job.tip
        self._line.transmit(self.announce(job, None))
        self._line.transmit(
            SetNewPrevHash(self.channel_id, job.job_id, tip.previous, tip.min_ntime, tip.bits)
        )

    def is_due(self, now: float) -> bool:
        """Whether it is time for `adjust`: shares have come, or their absence may say something."""
        vardiff = self._vardiff
        if vardiff is None:
            return now - self._looked >= silence_s(self._aggregate.terms.shares_per_minute)
        return vardiff.is_fresh or now - self._looked >= vardiff.patience_s

    def adjust(self, now: float, given: int) -> None:
        """Send a new target with a job under another id, if the miner's shares or their absence ask for it.

        `given` is the newest job that went to the channel's group.
        """
        self._looked = now
        job = self._aggregate.jobs.active
        if job is None or (self._vardiff is None and self._sieve.target == self._aim(job.target, 0)):
            # Nothing could be easier.
            return
        if self._vardiff is None:
            self._vardiff = self._new_vardiff(now)
        wanted = self._vardiff.wanted(work_of(self._sieve.target), now)
        if wanted is not None:
            self.wanted = wanted
            self._aim_anew(job, given)

    def _aim_anew(self, job: EdgeJob, given: int) -> None:
        target = self._aim(job.target)
        if target == self._sieve.target:
            return
        # The same work, but from the present time on, and by an id that tells the targets apart.
        again = self._aggregate.again(job, max(given, self._given))
        self._retarget(target, again)
        self.bring(again, max(again.tip.min_ntime, int(self._edge.clock())))

    def _retarget(self, target: int, job: Job) -> None:
        self._sieve.change(target, job.job_id, self._aggregate.tip_number)
        self._line.transmit(SetTarget(self.channel_id, target))

    def _aim(self, credit: int, wanted: int | None = None) -> int:
        hashes = self.wanted if wanted is None else wanted
        fitting = self._aggregate.terms.rule.target(hashes, network=credit, max_target=MAX_TARGET)
        # Work that the upstream would credit must not be lost, whatever the miner wishes.
        return alike(max(credit, min(fitting, self._max_target)))

    def _new_vardiff(self, now: float) -> Vardiff:
        return Vardiff(self._aggregate.terms.shares_per_minute, now)

    # Shares

    def submit(self, share: Share, tlvs: tuple[Tlv, ...]) -> None:
        """Take a share: refuse it, accept it here, or let the upstream judge it."""
        sequence = share.sequence_number
        try:
            key = find_tlv(tlvs, EXTENSION, TLV_SHARE_KEY) if tlvs else None
        except MalformedTlv:
            self.verdicts.refused(sequence, InvalidUserIdentity.code, "edge")
            return
        if key not in {None, self._attribution.key} and EXTENSION not in self._aggregate.extensions:
            self.verdicts.refused(sequence, InvalidUserIdentity.code, "edge")
            return
        if self._answers is None:
            self._answers = Answers(self.verdicts)
        try:
            job = self._aggregate.jobs.find(share.job_id)
            verdict, behind = self._judge(share, job)
        except ShareRefused as refusal:
            self.verdicts.refused(sequence, refusal.code, "edge")
            return
        if len(self._answers) >= MOST_WAITING:
            self._forget(verdict)
            self.verdicts.refused(sequence, Overloaded.code, "edge")
            return
        self.verdicts.found(int.from_bytes(verdict.share_hash, "little"), self._edge.monotonic())
        if int.from_bytes(verdict.share_hash, "little") <= job.target:
            self._forward(share, job, verdict, behind, key or self._attribution.key)
        elif self._aggregate.is_live:
            self._answers.local(sequence, work_of(verdict.job.target))
        else:
            self._forget(verdict)
            self.verdicts.lost(sequence)
        self._measure(work_of(verdict.job.target))

    def _judge(self, share: Share, job: EdgeJob) -> tuple[Verdict, bytes]:
        """The verdict by what the miner is asked for, and what is behind its slice."""
        behind, root = self._roll(share, job)
        check_time(share.ntime, job.tip, int(self._edge.clock()))
        check_version(share.version, job.work.version, rolling=job.work.version_rolling)
        if self._seen is None or self._seen_on != job.tip.previous:
            self._seen, self._seen_on = SeenShares(), job.tip.previous
        asked = self._sieve.at(job.job_id, self._aggregate.tip_number)
        own = Job(job.job_id, job.work, job.tip, asked)
        verdict = judge(own, root, self.slice + behind, share=share, key=None, seen=self._seen)
        return verdict, behind

    def _forward(self, share: Share, job: EdgeJob, verdict: Verdict, behind: bytes, key: bytes) -> None:
        answers = self._answers
        assert answers is not None
        place = answers.forwarded(share.sequence_number)
        settle = partial(self._settle, place, verdict, asyncio.get_running_loop().time())
        try:
            rolled = self.slice + behind
            self._aggregate.submit(
                share, job, verdict.share_hash, owner=self, rolled=rolled, key=key, settle=settle
            )
        except ChannelNotOpen:
            self._forget(verdict)
            answers.lost(place)
        except SubmissionsFull:
            self._forget(verdict)
            answers.refused(place, Overloaded.code, "edge")
        else:
            crash.once_sent("proxy.share-forwarded")

    def _settle(self, place: int, verdict: Verdict, since: float, word: UpstreamVerdict) -> None:
        """The upstream's word on a share, or its silence."""
        answers = self._answers
        assert answers is not None
        if word.outcome is Outcome.LOST:
            if self._aggregate.is_open:
                # One that is gone may have had it: should the same work come again, it is a repetition.
                self._forget(verdict)
            answers.lost(place)
            return
        crash.at("proxy.verdict-heard")
        seconds = asyncio.get_running_loop().time() - since
        self._edge.meters.verdict.observe(seconds)
        self._edge.figures.heard(seconds)
        if word.outcome is Outcome.REFUSED:
            # The upstream may have had no room for it; that it is a repetition is the upstream's to say then.
            self._forget(verdict)
            answers.refused(place, word.code, "upstream")
        else:
            answers.accepted(place, work_of(verdict.job.target), self._edge.monotonic())

    def _forget(self, verdict: Verdict) -> None:
        if self._seen is not None:
            self._seen.forget(verdict.share_hash)

    def _measure(self, work: int) -> None:
        now = asyncio.get_running_loop().time()
        if self._vardiff is None:
            self._vardiff = self._new_vardiff(self._looked)
        self._vardiff.accepted(work)
        if self._vardiff.is_rushed(work_of(self._sieve.target), now):
            self._aggregate.rushed(self, now)

    # Ehash

    def notice(self, message: QuoteNotice, key: bytes) -> None:
        """The mint has a quote for a share that was submitted for this key."""
        index = self._attribution.key_index
        self.earned(message.amount)
        if index is not None and key == self._attribution.key:
            self._edge.meters.notices.labels("wallet").inc()
            self._edge.mint.notice(index, message.share_hash, message.amount, message.unit)
            return
        self._edge.meters.notices.labels("foreign").inc()
        self._edge.mint.foreign(key, self.user, message.amount)
        if EXTENSION in self._line.extensions:
            notice = QuoteNotice(self.channel_id, message.share_hash, message.amount, message.unit)
            self._line.transmit(notice)

    # The miner's other wishes

    def update(self, message: UpdateChannel) -> None:
        """Another rate or easiest target; one that is harder than what the upstream credits is refused."""
        job = self._aggregate.jobs.active
        if job is not None and job.target > message.maximum_target:
            self._line.transmit(UpdateChannelError(self.channel_id, MaxTargetOutOfRange.code))
            return
        self._max_target = alike(message.maximum_target)
        now, rate = asyncio.get_running_loop().time(), message.nominal_hash_rate
        low, high = sorted((rate, self._declared))
        if rate and high > low * CHANGED_RATE:
            self._declared, self._looked = rate, now
            self.wanted = probe_hashes(rate, self._aggregate.terms.shares_per_minute)
            if self._vardiff is not None:
                self._vardiff.restart(now)
        if job is not None and self.is_open:
            self._aim_anew(job, self._aggregate.given_to(self))

    def close(self, reason: str, *, silently: bool) -> None:
        """Leave the aggregate; what is unanswered is counted when the upstream has answered."""
        if silently:
            self.verdicts.silence()
        self._aggregate.leave(self, reason)


class StandardMember(Member):
    """The proxy makes the coinbase: behind the slice stand zeros, and the miner gets a merkle root."""

    __slots__ = ()
    kind = "standard"

    @property
    def size(self) -> int:
        """Zeros are had of any number."""
        return SLICE_SIZE

    def _success(self, group_id: int) -> Message:
        return OpenStandardMiningChannelSuccess(
            self._request.request_id, self.channel_id, self.target, self.slice, group_id
        )

    def announce(self, job: EdgeJob, min_ntime: int | None) -> Message:
        return NewMiningJob(self.channel_id, job.job_id, min_ntime, job.work.version, self._root(job))

    def _roll(self, share: Share, job: EdgeJob) -> tuple[bytes, bytes]:
        if not isinstance(share, SubmitSharesStandard):
            raise InvalidShare("an extended share on a standard channel")
        return bytes(self._aggregate.behind), self._root(job)

    def _root(self, job: EdgeJob) -> bytes:
        return extended_root(job.work, job.head + self.slice + bytes(self._aggregate.behind))


class ExtendedMember(Member):
    """The miner rolls what the upstream granted behind the slice when the channel was opened."""

    __slots__ = ()
    kind = "extended"

    def _success(self, group_id: int) -> Message:
        return OpenExtendedMiningChannelSuccess(
            self._request.request_id,
            self.channel_id,
            self.target,
            self.extranonce_size,
            self.slice,
            group_id,
        )

    def announce(self, job: EdgeJob, min_ntime: int | None) -> Message:
        work = job.work
        return NewExtendedMiningJob(
            self.channel_id,
            job.job_id,
            min_ntime,
            work.version,
            work.version_rolling,
            work.merkle_path,
            work.prefix + job.head,
            self._tail + work.suffix,
        )

    @property
    def _tail(self) -> bytes:
        return bytes(max(0, self._aggregate.behind - self.extranonce_size))

    def _roll(self, share: Share, job: EdgeJob) -> tuple[bytes, bytes]:
        if not isinstance(share, SubmitSharesExtended):
            raise InvalidShare("a standard share on an extended channel")
        if len(share.extranonce) != self.extranonce_size:
            raise BadExtranonceSize(
                f"{len(share.extranonce)} bytes of extranonce, {self.extranonce_size} agreed"
            )
        behind = share.extranonce + self._tail
        return behind, extended_root(job.work, job.head + self.slice + behind)
