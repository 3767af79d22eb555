"""One extended channel at the upstream for all downstream channels: the proxy's aggregated mode.

The upstream sees one miner with the hash rate of all. Each share names its worker's key, so that tokens are
the workers' own. The channel is wanted while anybody mines: it is opened for the first downstream channel,
told of the total as others come and go, and closed when the last has gone. It may be lost and opened again
elsewhere; downstream channels stay, and get work around the other prefix.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.target import MAX_TARGET, from_work
from protocols.ehash.messages import EXTENSION, TLV_MINT_URL, TLV_SHARE_KEY, CreditRefused, QuoteNotice
from protocols.mining.announcement import Announcement
from protocols.mining.credit_target import CreditRule
from protocols.mining.errors import BannedByOperator, MinExtranonceSizeTooLarge
from protocols.mining.job import Work
from protocols.mining.vardiff import hashes_for
from protocols.sv2.layout import Message
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash
from protocols.sv2.tlv import Tlv
from roles.proxy.attribution import Attribution
from roles.proxy.downstream_channel import Edge, Share
from roles.proxy.jobs import EdgeJob, EdgeJobs, FutureJob, work_from
from roles.proxy.slices import SLICE_SIZE
from roles.runtime import crash
from roles.runtime.task_group import TaskGroup
from roles.stratum.errors import ChannelNotOpen
from roles.stratum.submissions import Settle
from roles.stratum.upstream_channel import UPSTREAM_LOST, OpenTerms, UpstreamChannel

if TYPE_CHECKING:
    from roles.proxy.fanout import Fanout
    from roles.proxy.member import Member

log = logging.getLogger(__name__)

TICK_S = 1.0
BREATH = 32
"""Connections served before others have their turn."""
WANTED_SIZE = 16
"""What is asked of an upstream first: a slice, and what a translator wants behind it."""
CHANGED_TOTAL = 1.1
"""A total that differs by less from the one told before is no news."""
SLOWEST_PER_MINUTE = 1.0
"""What miners want of targets is passed on as far as all together still find so many shares."""
MOST_OWNERS = 16_384
"""Shares whose owners are remembered until the mint's notice."""
TOO_SMALL = "the upstream grants too small an extranonce for miners that are here"


@dataclass(frozen=True, slots=True)
class AggregateTerms:
    """What each downstream channel is aimed at, and who we are upstream."""

    shares_per_minute: float
    rule: CreditRule
    user: str


class Aggregate:
    """Owns the upstream channel and its jobs.

    `number` counts the pieces of work that downstream channels are to be told of, `tip_number` those that
    begin a tip. `behind` is the room behind a slice.
    """

    def __init__(self, edge: Edge, attribution: Attribution, terms: AggregateTerms) -> None:
        self.edge = edge
        self.terms = terms
        self.jobs = EdgeJobs()
        self.number = self.tip_number = 0
        self.behind = 0
        self.min_ntime = 0
        """From when the newest job may be mined."""
        self._attribution = attribution
        self._upstream: UpstreamChannel | None = None
        self._fanouts: dict[Fanout, None] = {}
        self._homes: dict[Member, Fanout] = {}
        self._waiting: dict[Member, None] = {}
        self._owners: dict[bytes, tuple[Member, bytes]] = {}
        self._announcements: dict[tuple[int, bool], Announcement] = {}
        self._is_modest = False
        self._fits = True
        self._told = (0.0, MAX_TARGET)
        self._news = asyncio.Event()
        self._hold: asyncio.TimerHandle | None = None
        self._expired = asyncio.Event()

    async def run(self) -> None:
        """Bring work to everybody as it comes, and follow the miners, until cancelled."""
        async with TaskGroup() as tasks:
            tasks.create_task(self._distribute())
            tasks.create_task(self._follow())
            tasks.create_task(self._release())

    # What members and their lines ask

    @property
    def is_open(self) -> bool:
        """Whether there is an upstream channel."""
        return self._upstream is not None and self._upstream.is_open

    @property
    def is_live(self) -> bool:
        """Whether shares are taken for the jobs that there are."""
        upstream = self._upstream
        return self.jobs.is_live and upstream is not None and (upstream.is_open or upstream.is_resumable)

    @property
    def extensions(self) -> frozenset[int]:
        """What the upstream has granted."""
        return self._upstream.extensions if self._upstream else frozenset()

    def join(self, member: "Member", home: "Fanout") -> None:
        """A channel wants to be opened; raises ChannelsFull."""
        self._homes[member] = home
        self._waiting[member] = None
        self._fanouts[home] = None
        if self._upstream is not None:
            if self.is_open:
                self._admit()
            return
        try:
            self._upstream = self.edge.client.open(self)
        except BaseException:
            del self._homes[member], self._waiting[member]
            raise

    def leave(self, member: "Member", reason: str) -> None:
        """A channel is gone for good."""
        home = self._homes.pop(member, None)
        if home is None:
            return
        self._waiting.pop(member, None)
        home.remove(member)
        if not self._homes:
            self._give_up(reason)

    def leave_line(self, home: "Fanout") -> None:
        """A connection is gone."""
        self._fanouts.pop(home, None)

    def given_to(self, member: "Member") -> int:
        """The newest job that went to a member's group."""
        home = self._homes.get(member)
        return home.given if home else 0

    def rushed(self, member: "Member", now: float) -> None:
        """A member's shares come so fast that its target cannot wait."""
        if (home := self._homes.get(member)) is not None:
            home.adjust_one(member, now)

    def again(self, job: EdgeJob, after: int) -> EdgeJob:
        """The present job under an id that is newer than this one, for who has had it before."""
        if job.job_id <= after:
            job = EdgeJob(self.jobs.next_id(), job.work, job.tip, job.target, None, job.head, job.origin)
            self.jobs.follow(job)
        return job

    def announcement(self, job: EdgeJob, size: int, *, future: bool) -> Announcement:
        """The present job for channels that take so many bytes of the extranonce."""
        made = self._announcements.get((size, future))
        if made is None:
            work = job.work
            tail = bytes(max(0, SLICE_SIZE + self.behind - size))
            prefix, suffix = work.prefix + job.head, tail + work.suffix
            fitting = Work(work.origin, 0, work.version, prefix, suffix, work.merkle_path)
            made = self._announcements[size, future] = Announcement(
                fitting,
                job.tip,
                future=future,
                min_ntime=self.min_ntime,
                version_rolling=work.version_rolling,
            )
        return made

    def submit(
        self,
        share: Share,
        job: EdgeJob,
        share_hash: bytes,
        *,
        owner: "Member",
        rolled: bytes,
        key: bytes,
        settle: Settle,
    ) -> None:
        """Send a share for a locking key upstream; raises ChannelNotOpen and SubmissionsFull."""
        if self._upstream is None or not self.jobs.is_live:
            raise ChannelNotOpen("the upstream channel of this job is gone")
        knows_keys = EXTENSION in self._upstream.extensions
        self._upstream.submit(
            job_id=job.origin,
            nonce=share.nonce,
            ntime=share.ntime,
            version=share.version,
            extranonce=rolled,
            settle=settle,
            tlvs=(Tlv(EXTENSION, TLV_SHARE_KEY, key),) if knows_keys else (),
        )
        if knows_keys:
            self._owners[share_hash] = (owner, key)
            if len(self._owners) > MOST_OWNERS:
                del self._owners[next(iter(self._owners))]

    # The upstream channel's owner

    def opening(self, extensions: frozenset[int]) -> OpenTerms:
        """Ask for one channel for all; without the extension no key is named, as it would be one for all."""
        if self._is_modest:
            size = max(SLICE_SIZE + member.least_size for member in self._homes)
        else:
            size = max(WANTED_SIZE, *(member.size for member in self._homes))
            size = max(size, *(SLICE_SIZE + member.least_size for member in self._homes))
        self._told = self._wishes()
        user, tlvs = self.terms.user, tuple[Tlv, ...]()
        if EXTENSION in extensions:
            user, tlvs = self._attribution.on_wire(user, extensions)
        return OpenTerms(user, *self._told, size, tlvs)

    def opened(self, tlvs: tuple[Tlv, ...]) -> None:
        """Let in who waits; who is here keeps its extranonce, if there is still room for it."""
        for tlv in tlvs:
            if (tlv.extension, tlv.field) == (EXTENSION, TLV_MINT_URL):
                self.edge.mint.named(tlv.value)
        self._stop_hold()
        upstream = self._upstream
        assert upstream is not None
        if upstream.is_resumed:
            self.jobs.go_on()
        else:
            self.jobs.retire()
        granted = upstream.extranonce_size
        self.behind = max(0, granted - SLICE_SIZE)
        crowded = [member for member in self._homes if member.is_open and member.size > granted]
        is_too_small = bool(crowded) or granted < SLICE_SIZE
        self._fits = not (is_too_small and upstream.forsake(TOO_SMALL))
        if self._fits:
            # The one exception to keeping miners: their extranonce does not fit any more, nor anywhere else.
            for member in crowded:
                self._homes[member].release(member, "extranonce-too-small")
            self._admit()

    def refused(self, code: str) -> None:
        """The upstream does not open the channel; it is asked for less, where it was asked for too much."""
        if code == MinExtranonceSizeTooLarge.code and not self._is_modest and self._upstream is not None:
            self._is_modest = True
            if not self.is_open:
                self._upstream.close("asked for anew")
                self._upstream = self.edge.client.open(self)
            return
        for member in tuple(self._waiting):
            member.refuse(code)
        self._waiting.clear()
        if code == BannedByOperator.code and not self.is_open:
            # Waiting is of no use: those that are here mine on nothing until they look elsewhere.
            self._expired.set()

    def lost(self, reason: str) -> None:
        """Keep the miners for the hold, on work that earns nothing meanwhile."""
        log.debug("%d channels wait for the upstream: %s", len(self._homes), reason)
        if self._upstream is None or not self._upstream.is_resumable:
            self.jobs.retire()
        self._is_modest = False
        if self.edge.hold_s is not None:
            self._stop_hold()
            self._hold = asyncio.get_running_loop().call_later(self.edge.hold_s, self._expired.set)

    def received(self, message: Message) -> None:
        """Take work, and pass on what the upstream says of shares."""
        if not self._fits:
            return
        match message:
            case NewExtendedMiningJob():
                self._job(message)
            case SetNewPrevHash():
                self._new_tip(message)
            case QuoteNotice():
                self._notice(message)
            case CreditRefused():
                self.edge.meters.credits_refused.inc()
                log.warning("the mint refused the credit of a share", extra={"code": message.code})
            case _:
                # A target waits for the next job, a prefix is in the next job's coinbase.
                pass

    # Work

    def _job(self, message: NewExtendedMiningJob) -> None:
        upstream, tip = self._upstream, self.jobs.tip
        if upstream is None:
            return
        if tip is None and message.min_ntime is not None:
            log.warning("the upstream sent a job before its first tip")
            return
        try:
            work = work_from(message)
        except CoinbaseError as error:
            log.warning("the upstream sent a job that is none", extra={"reason": str(error)})
            return
        job_id, head = self.jobs.next_id(), upstream.extranonce_prefix
        if message.min_ntime is None or tip is None:
            self.jobs.queue(FutureJob(job_id, work, None, head, message.job_id))
            return
        self.jobs.follow(EdgeJob(job_id, work, tip, upstream.target, None, head, message.job_id))
        self._tell(message.min_ntime)

    def _new_tip(self, message: SetNewPrevHash) -> None:
        upstream = self._upstream
        if upstream is None:
            return
        before, was_resuming = self.jobs.tip, self.jobs.is_resuming
        job = self.jobs.activate(message, target=upstream.target, now=int(self.edge.clock()))
        if job is None:
            log.warning("the upstream's new tip names no future job")
            return
        # On a channel that was resumed it may be more work of the same tip.
        self.tip_number += not (was_resuming and before is not None and before.previous == message.prev_hash)
        self._tell(message.min_ntime)

    def _tell(self, min_ntime: int) -> None:
        self.number += 1
        self.min_ntime = min_ntime
        self._announcements.clear()
        self._news.set()

    async def _distribute(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            with self.edge.meters.fanout.time():
                await self._everywhere(lambda home: home.refresh())

    async def _everywhere(self, act: Callable[["Fanout"], Iterator[None]]) -> None:
        for number, home in enumerate(tuple(self._fanouts)):
            for _ in act(home):
                await asyncio.sleep(0)
            if number % BREATH == BREATH - 1:
                await asyncio.sleep(0)

    # Members

    def _admit(self) -> None:
        upstream = self._upstream
        if upstream is None:
            return
        active = self.jobs.active
        credit = active.target if active else upstream.target
        waiting, self._waiting = self._waiting, {}
        for member in waiting:
            if member.admit(upstream.extranonce_size, credit):
                self._homes[member].add(member)

    def _give_up(self, reason: str) -> None:
        """The last miner has gone: the upstream channel goes, too."""
        self._stop_hold()
        self.jobs.retire()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.close(reason)

    async def _follow(self) -> None:
        """Look at every channel's target each second, and tell the upstream of the total."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK_S)
            await self._everywhere(lambda home: home.adjust(loop.time()))
            self._update()

    def _update(self) -> None:
        if self._upstream is None or not self.is_open:
            return
        total, max_target = self._wishes()
        low, high = sorted((total, self._told[0]))
        if high > low * CHANGED_TOTAL or max_target < self._told[1]:
            self._told = (total, max_target)
            self._upstream.update(total, max_target)

    def _wishes(self) -> tuple[float, int]:
        """The hash rate of all, and the easiest target that suits everybody."""
        total = sum(member.hashes for member in self._homes) * self.terms.shares_per_minute / 60
        hardest = min((member.max_target for member in self._homes), default=MAX_TARGET)
        return total, max(hardest, from_work(max(1, hashes_for(total, SLOWEST_PER_MINUTE))))

    async def _release(self) -> None:
        """After the hold without an upstream miners are let go, so that they look elsewhere."""
        while True:
            await self._expired.wait()
            self._expired.clear()
            for home in tuple(self._fanouts):
                for _ in home.release_all(UPSTREAM_LOST):
                    await asyncio.sleep(0)
                if self.is_open:
                    break

    def _stop_hold(self) -> None:
        self._expired.clear()
        if self._hold is not None:
            self._hold.cancel()
            self._hold = None

    # Ehash

    def _notice(self, message: QuoteNotice) -> None:
        crash.at("proxy.notice-heard")
        owner = self._owners.pop(message.share_hash, None)
        if owner is None:
            self.edge.meters.notices.labels("unknown").inc()
            return
        member, key = owner
        member.notice(message, key)
