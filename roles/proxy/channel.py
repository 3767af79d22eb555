"""One downstream channel and its channel at the upstream: jobs down, shares up, verdicts down.

It owns an upstream channel that may come and go; the downstream one stays, with its slice of the
extranonce. What is answered to a miner is the upstream's word, but for shares that the edge can see to be
worthless: those are refused here, by the upstream's own rules and targets. A new target is held until work
that differs comes with it.
"""

import asyncio
import logging
from abc import abstractmethod
from functools import lru_cache, partial

from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.target import work as work_of
from protocols.ehash.messages import EXTENSION, TLV_MINT_URL, TLV_SHARE_KEY, CreditRefused, QuoteNotice
from protocols.mining.errors import BannedByOperator, InvalidUserIdentity, ShareRefused
from protocols.mining.lane import Lane
from protocols.mining.share import Verdict, check_time, check_version, judge
from protocols.sv2.errors import MalformedTlv
from protocols.sv2.job_frame import write_tip
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    SetNewPrevHash,
    SetTarget,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.tlv import Tlv, find_tlv
from roles.proxy.attribution import Attribution
from roles.proxy.downstream_channel import DownstreamChannel, Edge, Line, OpenRequest, Share
from roles.proxy.errors import Overloaded
from roles.proxy.jobs import ALIKE, EdgeJob, EdgeJobs, EdgeWork, FutureJob, work_from
from roles.proxy.slices import SLICE_SIZE
from roles.runtime import crash
from roles.stratum.alike import alike
from roles.stratum.connection import Plain
from roles.stratum.errors import ChannelNotOpen, SubmissionsFull
from roles.stratum.submissions import Outcome, Settle
from roles.stratum.submissions import Verdict as UpstreamVerdict
from roles.stratum.upstream_channel import UPSTREAM_LOST, OpenTerms, UpstreamChannel

log = logging.getLogger(__name__)

_work_of = lru_cache(maxsize=ALIKE)(work_of)

MAX_FOREIGN_SHARES = 1_024
MIN_TOO_LARGE = "min-extranonce-size-too-large"


class EdgeChannel(DownstreamChannel):
    """A downstream channel, and the owner of its upstream one."""

    __slots__ = (
        "_foreign_shares", "_hash_rate", "_hold", "_is_answered", "_jobs", "_lane", "_max_target",
        "_padding", "_told_target", "upstream",
    )  # fmt: skip

    def __init__(
        self,
        request: OpenRequest,
        *,
        channel_id: int,
        extranonce_slice: bytes,
        attribution: Attribution,
        edge: Edge,
        line: Line,
    ) -> None:
        super().__init__(
            request,
            channel_id=channel_id,
            extranonce_slice=extranonce_slice,
            attribution=attribution,
            edge=edge,
            line=line,
        )
        self._hash_rate = request.nominal_hash_rate
        self._max_target = alike(request.max_target)
        self._told_target = 0
        self._is_answered = False
        self._padding = b""
        self._jobs = EdgeJobs()
        self._foreign_shares: dict[bytes, None] | None = None
        self._lane: Lane | None = None
        self._hold: asyncio.TimerHandle | None = None
        self.upstream: UpstreamChannel = edge.client.open(self)

    # What differs between the kinds

    @abstractmethod
    def _success(self, target: int) -> Message:
        """The answer that opens the channel downstream."""

    @abstractmethod
    def _root(self, work: EdgeWork, head: bytes) -> bytes | None:
        """The merkle root of work, where it is the same for all shares."""

    @abstractmethod
    def _announce(self, job: FutureJob, min_ntime: int | None) -> Plain:
        """The frame for a job."""

    @abstractmethod
    def _roll(self, share: Share, job: EdgeJob) -> tuple[bytes, bytes]:
        """What the miner rolled, and the merkle root of its share; raises ShareRefused."""

    @property
    def target(self) -> int:
        """What the miner has been told."""
        return self._told_target

    # The upstream channel's owner

    def opening(self, extensions: frozenset[int]) -> OpenTerms:
        """Ask for what the miner asked for, with the locking key."""
        user, tlvs = self._attribution.on_wire(self._request.user_identity, extensions)
        return OpenTerms(
            user,
            self._hash_rate,
            self._max_target,
            self.least_size + SLICE_SIZE,
            tlvs,
        )

    def opened(self, tlvs: tuple[Tlv, ...]) -> None:
        """Answer the miner at the first opening; later ones fit the new prefix to the old extranonce."""
        for tlv in tlvs:
            if (tlv.extension, tlv.field) == (EXTENSION, TLV_MINT_URL):
                self._edge.mint.named(tlv.value)
        self._end_hold()
        if self.upstream.is_resumed:
            self._jobs.go_on()
        else:
            self._jobs.retire()
        if not isinstance(self._answer, str):
            self.extranonce_size = self.upstream.extranonce_size - SLICE_SIZE
            if self.extranonce_size < self.least_size:
                self._say(MIN_TOO_LARGE)
                return
            self._told_target = self.upstream.target
            self._line.transmit(self._success(self._told_target))
            self._say("")
            self._is_answered = True
        self._padding = bytes(max(0, self.upstream.extranonce_size - SLICE_SIZE - self.extranonce_size))
        reason = "the upstream grants too small an extranonce for miners that are here"
        if not self._fits and not self.upstream.forsake(reason):
            # The one exception to keeping the miner: its extranonce does not fit any more, nor anywhere else.
            self._line.release(self, "extranonce-too-small")

    @property
    def _head(self) -> bytes:
        """What stands before the slice."""
        return self.upstream.extranonce_prefix + self._padding

    @property
    def _fits(self) -> bool:
        """Whether the miner's extranonce has room in what the upstream grants."""
        return self.upstream.extranonce_size >= SLICE_SIZE + self.extranonce_size

    def refused(self, code: str) -> None:
        """The upstream does not open the channel; one that was open before is asked for again, unless its
        miner has come to be turned away there.
        """
        self._say(code)
        if self._is_answered and code == BannedByOperator.code:
            self._line.release(self, code)

    def lost(self, reason: str) -> None:
        """Keep the miner for the hold, on work that earns nothing meanwhile."""
        log.debug("channel %d waits for its upstream: %s", self.channel_id, reason)
        if not self.upstream.is_resumable:
            self._jobs.retire()
        if self._edge.hold_s is not None:
            self._end_hold()
            loop = asyncio.get_running_loop()
            self._hold = loop.call_later(self._edge.hold_s, self._line.release, self, UPSTREAM_LOST)

    def received(self, message: Message) -> None:
        """Pass on what the upstream says of this channel, to a miner that knows of the channel."""
        if not self._is_answered or not self._fits:
            return
        match message:
            case NewExtendedMiningJob():
                self._job(message)
            case SetNewPrevHash():
                self._new_tip(message)
            case QuoteNotice():
                self._notice(message)
            case CreditRefused():
                self._edge.meters.credits_refused.inc()
                log.warning("the mint refused the credit of a share", extra={"code": message.code})
            case UpdateChannelError():
                self._line.transmit(UpdateChannelError(self.channel_id, message.error_code))
            case _:
                # A target waits for the next job, a prefix is in the next job's coinbase.
                pass

    # Jobs

    def _job(self, message: NewExtendedMiningJob) -> None:
        tip = self._jobs.tip
        if tip is None and message.min_ntime is not None:
            log.warning("the upstream sent a job before its first tip", extra={"channel": self.channel_id})
            return
        try:
            work = work_from(message)
        except CoinbaseError as error:
            log.warning("the upstream sent a job that is none", extra={"reason": str(error)})
            return
        head = self._head
        job = FutureJob(self._jobs.next_id(), work, self._root(work, head), head, message.job_id)
        if message.min_ntime is None or tip is None:
            self._jobs.queue(job)
            if not self._jobs.is_resuming:
                self._line.transmit_plain(self._announce(job, None))
            return
        self._tell_target()
        self._jobs.follow(EdgeJob(job.job_id, work, tip, self._told_target, job.root, head, job.origin))
        self._line.transmit_plain(self._announce(job, message.min_ntime))

    def _new_tip(self, message: SetNewPrevHash) -> None:
        before, was_resuming = self._jobs.tip, self._jobs.is_resuming
        job = self._jobs.activate(message, target=self.upstream.target, now=int(self._edge.clock()))
        if job is None:
            log.warning("the upstream's new tip names no future job", extra={"channel": self.channel_id})
            return
        if was_resuming:
            future = FutureJob(job.job_id, job.work, job.root, job.head, job.origin)
            if before is not None and before.previous == message.prev_hash:
                # The miner goes on where it is; this is more work of the same tip.
                self._tell_target()
                self._line.transmit_plain(self._announce(future, message.min_ntime))
                return
            self._line.transmit_plain(self._announce(future, None))
        self._tell_target()
        tip = job.tip
        self._line.transmit_plain(
            write_tip(
                self.channel_id,
                job.job_id,
                previous=tip.previous,
                min_ntime=tip.min_ntime,
                bits=tip.bits,
            )
        )

    def _tell_target(self) -> None:
        if self.upstream.target != self._told_target:
            self._told_target = self.upstream.target
            self._line.transmit(SetTarget(self.channel_id, self._told_target))

    # Shares

    def submit(self, share: Share, tlvs: tuple[Tlv, ...]) -> None:
        """Take a share: refuse it here if it is worthless for certain, else let the upstream judge it.

        Where no upstream will, because the channel of its job is gone, nobody knows what it would have been.
        """
        sequence = share.sequence_number
        try:
            key = find_tlv(tlvs, EXTENSION, TLV_SHARE_KEY) if tlvs else None
        except MalformedTlv:
            self.verdicts.refused(sequence, InvalidUserIdentity.code, "edge")
            return
        if key is not None and not self._may_name(key):
            self.verdicts.refused(sequence, InvalidUserIdentity.code, "edge")
            return
        try:
            job = self._jobs.find(share.job_id)
            verdict, rolled = self._judge(share, job)
        except ShareRefused as refusal:
            self.verdicts.refused(sequence, refusal.code, "edge")
            return
        try:
            self._forward(share, job, verdict, rolled, key)
        except ChannelNotOpen:
            self._jobs.seen.forget(verdict.share_hash)
            self.verdicts.lost(sequence)
        except SubmissionsFull:
            self._jobs.seen.forget(verdict.share_hash)
            self.verdicts.refused(sequence, Overloaded.code, "edge")

    def _may_name(self, key: bytes) -> bool:
        """Whether a share may have this key: an upstream that does not hear of it credits the channel's."""
        return key == self._attribution.key or EXTENSION in self.upstream.extensions

    def _forward(
        self, share: Share, job: EdgeJob, verdict: Verdict, rolled: bytes, key: bytes | None
    ) -> None:
        if not self._jobs.is_live:
            raise ChannelNotOpen("the upstream channel of this job is gone")
        self.upstream.submit(
            job_id=job.origin,
            nonce=share.nonce,
            ntime=share.ntime,
            version=share.version,
            extranonce=self._padding + rolled,
            settle=self._settler(share.sequence_number, verdict.share_hash, job.target),
            tlvs=() if key is None else (Tlv(EXTENSION, TLV_SHARE_KEY, key),),
        )
        crash.once_sent("proxy.share-forwarded")
        if key is not None and key != self._attribution.key:
            if self._foreign_shares is None:
                self._foreign_shares = {}
            self._foreign_shares[verdict.share_hash] = None
            if len(self._foreign_shares) > MAX_FOREIGN_SHARES:
                del self._foreign_shares[next(iter(self._foreign_shares))]

    def _judge(self, share: Share, job: EdgeJob) -> tuple[Verdict, bytes]:
        rolled, root = self._roll(share, job)
        check_time(share.ntime, job.tip, int(self._edge.clock()))
        check_version(share.version, job.work.version, rolling=job.work.version_rolling)
        extranonce = self.slice + rolled
        verdict = judge(job, root, extranonce, share=share, key=None, seen=self._jobs.seen)
        return verdict, extranonce

    def _settler(self, sequence: int, share_hash: bytes, target: int) -> Settle:
        now = self._edge.monotonic()
        self.verdicts.found(int.from_bytes(share_hash, "little"), now)
        return partial(self._settle, sequence, share_hash, target, now)

    def _settle(
        self, sequence: int, share_hash: bytes, target: int, since: float, word: UpstreamVerdict
    ) -> None:
        """The upstream's word on a share, or its silence."""
        if word.outcome is Outcome.LOST:
            if self.upstream.is_open:
                # One that is gone may have had it: should the same work come again, it is a repetition.
                self._jobs.seen.forget(share_hash)
            self.verdicts.lost(sequence)
            return
        crash.at("proxy.verdict-heard")
        edge = self._edge
        now = edge.monotonic()
        edge.meters.verdict.observe(now - since)
        edge.figures.heard(now - since)
        if word.outcome is Outcome.REFUSED:
            # The upstream may have had no room for it; that it is a repetition is the upstream's to say then.
            self._jobs.seen.forget(share_hash)
            self.verdicts.refused(sequence, word.code, "upstream")
        else:
            self.verdicts.accepted(sequence, _work_of(target), now)

    # Ehash

    def _notice(self, message: QuoteNotice) -> None:
        crash.at("proxy.notice-heard")
        index = self._attribution.key_index
        self.earned(message.amount)
        shares = self._foreign_shares
        foreign = shares is not None and shares.pop(message.share_hash, self) is None
        if index is not None and not foreign:
            self._edge.meters.notices.labels("wallet").inc()
            self._edge.mint.notice(index, message.share_hash, message.amount, message.unit)
            return
        self._edge.meters.notices.labels("foreign").inc()
        if index is None and not foreign:
            self._edge.mint.foreign(self._attribution.key, self.user, message.amount)
        if EXTENSION in self._line.extensions:
            self._line.transmit(
                QuoteNotice(self.channel_id, message.share_hash, message.amount, message.unit)
            )

    # The miner's other wishes

    def update(self, message: UpdateChannel) -> None:
        """Pass a new hash rate and easiest target on, and ask for them when the channel is opened again."""
        self._hash_rate, self._max_target = message.nominal_hash_rate, alike(message.maximum_target)
        self.upstream.update(self._hash_rate, self._max_target)

    def close(self, reason: str, *, silently: bool) -> None:
        """End the upstream channel for good; `silently` where the miner has gone or closed the channel."""
        self._end_hold()
        if silently:
            self.verdicts.silence()
        self.upstream.close(reason)

    def _end_hold(self) -> None:
        hold, self._hold = self._hold, None
        if hold is not None:
            hold.cancel()
