"""One downstream channel and its channel at the upstream: jobs down, shares up, verdicts down.

It owns an upstream channel that may come and go; the downstream one stays, with its slice of the
extranonce. What is answered to a miner is the upstream's word, but for shares that the edge can see to be
worthless: those are refused here, by the upstream's own rules and targets. A new target is held until work
that differs comes with it.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.target import work as work_of
from protocols.ehash.messages import EXTENSION, TLV_MINT_URL, TLV_SHARE_KEY, CreditRefused, QuoteNotice
from protocols.mining.errors import InvalidUserIdentity, ShareRefused, TooManyShares
from protocols.mining.job import Job, Work
from protocols.mining.share import Verdict, check_time, check_version, judge
from protocols.sv2.errors import MalformedTlv
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenStandardMiningChannel,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.tlv import Tlv, find_tlv
from roles.proxy.attribution import Attribution
from roles.proxy.errors import Overloaded
from roles.proxy.jobs import EdgeJobs, FutureJob, alike, origin_of, work_from
from roles.proxy.meters import Meters
from roles.proxy.pools_mint import PoolsMint
from roles.proxy.slices import SLICE_SIZE
from roles.proxy.verdicts import Verdicts
from roles.runtime import crash
from roles.stratum.errors import ChannelNotOpen, SubmissionsFull
from roles.stratum.mining_client import MiningClient
from roles.stratum.pace import Pace
from roles.stratum.submissions import Outcome
from roles.stratum.submissions import Verdict as UpstreamVerdict
from roles.stratum.upstream_channel import UPSTREAM_LOST, OpenTerms, UpstreamChannel

log = logging.getLogger(__name__)

UPDATE_INTERVAL = 1.0
BURST_S = 10.0
"""Seconds over which rates of shares count."""
MAX_FOREIGN_SHARES = 1_024
MIN_TOO_LARGE = "min-extranonce-size-too-large"

Share = SubmitSharesStandard | SubmitSharesExtended
OpenRequest = OpenStandardMiningChannel | OpenExtendedMiningChannel


class Line(Protocol):
    """What a channel needs of its miner's connection."""

    @property
    def extensions(self) -> frozenset[int]:
        """The extensions that the miner's connection has."""

    def transmit(self, message: Message, tlvs: Iterable[Tlv] = ()) -> None:
        """Send with everything else of this turn of the loop."""

    def release(self, channel: "EdgeChannel", reason: str) -> None:
        """The channel is given up for good: tell the miner and forget it."""


@dataclass(frozen=True, slots=True)
class Edge:
    """What all channels of the proxy share; `clock` is Unix time in seconds, `hold_s` None for ever.

    `mint` hears of the pool's mint and of quotes there.
    """

    client: MiningClient
    meters: Meters
    clock: Callable[[], float]
    hold_s: float | None
    mint: PoolsMint
    shares_per_s: float = 100.0
    """Of one channel, over `BURST_S`."""


class EdgeChannel(ABC):
    """A downstream channel, and the owner of its upstream one.

    `answer` is done when the upstream has answered for the first time: with "" when the channel is open (the
    miner has its Success then, before anything else), with the code of the refusal when it is not. What only
    shares need is made with the first of them.
    """

    __slots__ = (
        "_answer", "_attribution", "_edge", "_foreign_shares", "_hash_rate", "_is_answered", "_jobs", "_line",
        "_max_target", "_pace", "_padding", "_request", "_timers", "_told_target", "_verdicts", "channel_id",
        "extranonce_size", "slice", "upstream",
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
        self.channel_id = channel_id
        self.slice = extranonce_slice
        self._answer: asyncio.Future[str] | str = asyncio.get_running_loop().create_future()
        self.extranonce_size = 0
        self._request = request
        self._attribution = attribution
        self._edge = edge
        self._line = line
        self._hash_rate = request.nominal_hash_rate
        self._max_target = alike(request.max_target)
        self._told_target = 0
        self._is_answered = False
        self._padding = b""
        self._jobs = EdgeJobs()
        self._verdicts: Verdicts | None = None
        self._foreign_shares: dict[bytes, None] | None = None
        self._pace: Pace | None = None
        self._timers: dict[str, asyncio.TimerHandle] | None = None
        self.upstream: UpstreamChannel = edge.client.open(self)

    # What differs between the kinds

    kind: str

    @property
    @abstractmethod
    def least_size(self) -> int:
        """The rollable bytes that the miner needs."""

    @abstractmethod
    def _success(self, target: int) -> Message:
        """The answer that opens the channel downstream."""

    @abstractmethod
    def _root(self, work: Work) -> bytes | None:
        """The merkle root of work, where it is the same for all shares."""

    @abstractmethod
    def _announce(self, job_id: int, min_ntime: int | None, work: Work, root: bytes | None) -> Message:
        """The message for a job."""

    @abstractmethod
    def _roll(self, share: Share, job: Job) -> tuple[bytes, bytes]:
        """What the miner rolled, and the merkle root of its share; raises ShareRefused."""

    @property
    def verdicts(self) -> Verdicts:
        """What the miner hears of its shares."""
        if self._verdicts is None:
            self._verdicts = Verdicts(self.channel_id, self._line.transmit, self._edge.meters)
        return self._verdicts

    # The upstream channel's owner

    async def answered(self) -> str:
        """Wait for the upstream's first answer: nothing when the channel is open, else the code."""
        return self._answer if isinstance(self._answer, str) else await asyncio.shield(self._answer)

    def _say(self, code: str) -> None:
        if not isinstance(self._answer, str):
            self._answer.set_result(code)
            self._answer = code

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
        self._cancel("hold")
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
    def _fits(self) -> bool:
        """Whether the miner's extranonce has room in what the upstream grants."""
        return self.upstream.extranonce_size >= SLICE_SIZE + self.extranonce_size

    def refused(self, code: str) -> None:
        """The upstream does not open the channel; one that was open before is asked for again."""
        self._say(code)

    def lost(self, reason: str) -> None:
        """Keep the miner for the hold, on work that earns nothing meanwhile."""
        log.debug("channel %d waits for its upstream: %s", self.channel_id, reason)
        self._jobs.retire()
        if self._edge.hold_s is not None:
            self._after("hold", self._edge.hold_s, partial(self._line.release, self, UPSTREAM_LOST))

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
            work = work_from(message, self.upstream.extranonce_prefix + self._padding)
        except CoinbaseError as error:
            log.warning("the upstream sent a job that is none", extra={"reason": str(error)})
            return
        job_id, root = self._jobs.next_id(), self._root(work)
        if message.min_ntime is None or tip is None:
            self._jobs.queue(FutureJob(job_id, work, root))
            self._line.transmit(self._announce(job_id, None, work, root))
            return
        self._tell_target()
        self._jobs.follow(Job(job_id, work, tip, self._told_target, root))
        self._line.transmit(self._announce(job_id, message.min_ntime, work, root))

    def _new_tip(self, message: SetNewPrevHash) -> None:
        job = self._jobs.activate(message, target=self.upstream.target, now=int(self._edge.clock()))
        if job is None:
            log.warning("the upstream's new tip names no future job", extra={"channel": self.channel_id})
            return
        self._tell_target()
        self._line.transmit(
            SetNewPrevHash(self.channel_id, job.job_id, message.prev_hash, message.min_ntime, message.nbits)
        )

    def _tell_target(self) -> None:
        if self.upstream.target != self._told_target:
            self._told_target = self.upstream.target
            self._line.transmit(SetTarget(self.channel_id, self._told_target))

    # Shares

    def refuses(self, share: Share, now: float) -> bool:
        """Whether the channel submits too fast, at `now` of the loop's clock; the share is answered then.

        With an error, and not by reading slower, because a connection may carry channels of many miners.
        """
        if self._pace is None:
            self._pace = Pace(self._edge.shares_per_s, self._edge.shares_per_s * BURST_S, now)
        if self._pace.admits(now):
            return False
        self.verdicts.refused(share.sequence_number, TooManyShares.code, "edge")
        return True

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
            verdict, rolled = self._judge(share)
        except ShareRefused as refusal:
            self.verdicts.refused(sequence, refusal.code, "edge")
            return
        try:
            self._forward(share, verdict, rolled, key)
        except ChannelNotOpen:
            self._jobs.seen.forget(verdict.share_hash)
            self.verdicts.lost(sequence)
        except SubmissionsFull:
            self._jobs.seen.forget(verdict.share_hash)
            self.verdicts.refused(sequence, Overloaded.code, "edge")

    def _may_name(self, key: bytes) -> bool:
        """Whether a share may have this key: an upstream that does not hear of it credits the channel's."""
        return key == self._attribution.key or EXTENSION in self.upstream.extensions

    def _forward(self, share: Share, verdict: Verdict, rolled: bytes, key: bytes | None) -> None:
        if not self._jobs.is_live:
            raise ChannelNotOpen("the upstream channel of this job is gone")
        self.upstream.submit(
            job_id=origin_of(verdict.job.work).job_id,
            nonce=share.nonce,
            ntime=share.ntime,
            version=share.version,
            extranonce=self._padding + rolled,
            settle=partial(self._settle, share.sequence_number, verdict, asyncio.get_running_loop().time()),
            tlvs=() if key is None else (Tlv(EXTENSION, TLV_SHARE_KEY, key),),
        )
        crash.once_sent("proxy.share-forwarded")
        if key is not None and key != self._attribution.key:
            if self._foreign_shares is None:
                self._foreign_shares = {}
            self._foreign_shares[verdict.share_hash] = None
            if len(self._foreign_shares) > MAX_FOREIGN_SHARES:
                del self._foreign_shares[next(iter(self._foreign_shares))]

    def _judge(self, share: Share) -> tuple[Verdict, bytes]:
        job = self._jobs.find(share.job_id)
        rolled, root = self._roll(share, job)
        check_time(share.ntime, job.tip, int(self._edge.clock()))
        check_version(share.version, job.work.version, rolling=origin_of(job.work).version_rolling)
        extranonce = self.slice + rolled
        verdict = judge(job, root, extranonce, share=share, key=None, seen=self._jobs.seen)
        return verdict, extranonce

    def _settle(self, sequence: int, verdict: Verdict, since: float, word: UpstreamVerdict) -> None:
        """The upstream's word on a share, or its silence."""
        if word.outcome is Outcome.LOST:
            if self.upstream.is_open:
                # One that is gone may have had it: should the same work come again, it is a repetition.
                self._jobs.seen.forget(verdict.share_hash)
            self.verdicts.lost(sequence)
            return
        crash.at("proxy.verdict-heard")
        self._edge.meters.verdict.observe(asyncio.get_running_loop().time() - since)
        if word.outcome is Outcome.REFUSED:
            # The upstream may have had no room for it; that it is a repetition is the upstream's to say then.
            self._jobs.seen.forget(verdict.share_hash)
            self.verdicts.refused(sequence, word.code, "upstream")
        else:
            self.verdicts.accepted(sequence, work_of(verdict.job.target))

    # Ehash

    def _notice(self, message: QuoteNotice) -> None:
        crash.at("proxy.notice-heard")
        index = self._attribution.key_index
        shares = self._foreign_shares
        foreign = shares is not None and shares.pop(message.share_hash, self) is None
        if index is not None and not foreign:
            self._edge.meters.notices.labels("wallet").inc()
            self._edge.mint.notice(index, message.share_hash, message.amount, message.unit)
            return
        self._edge.meters.notices.labels("foreign").inc()
        if EXTENSION in self._line.extensions:
            self._line.transmit(
                QuoteNotice(self.channel_id, message.share_hash, message.amount, message.unit)
            )

    # The miner's other wishes

    def update(self, message: UpdateChannel) -> None:
        """Pass a new hash rate and easiest target on, at most once a second."""
        self._hash_rate, self._max_target = message.nominal_hash_rate, message.maximum_target
        if not self._timers or "update" not in self._timers:
            self._after("update", UPDATE_INTERVAL, self._update)

    def _update(self) -> None:
        self.upstream.update(self._hash_rate, self._max_target)

    def close(self, reason: str, *, silently: bool) -> None:
        """End the upstream channel for good; `silently` where the miner has gone or closed the channel."""
        for name in tuple(self._timers or ()):
            self._cancel(name)
        if silently:
            self.verdicts.silence()
        self.upstream.close(reason)

    def _after(self, name: str, delay: float, act: Callable[[], None]) -> None:
        timers = self._timers = self._timers or {}

        def fire() -> None:
            timers.pop(name, None)
            act()

        self._cancel(name)
        timers[name] = asyncio.get_running_loop().call_later(delay, fire)

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None) if self._timers else None
        if timer is not None:
            timer.cancel()
