"""The shares of one connection: judged as they come, entered into the ledger together, answered in order."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from protocols.mining.errors import DifficultyTooLow, ShareRefused, TooManyShares
from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from protocols.sv2.mining import SubmitSharesError
from protocols.sv2.share_frame import success
from protocols.sv2.tlv import Tlv
from roles.credit.ledger_rows import Entry, Fate, Outcome
from roles.pool.floor import Floor
from roles.pool.miner_channel import MinerChannel
from roles.pool.notices import Route
from roles.pool.recollection import ShareKeys
from roles.pool.roster import Roster
from roles.pool.share_desk import Judged, Submission
from roles.pool.short_way import ShortWay
from roles.pool.turn import Turn
from roles.runtime import crash
from roles.runtime.errors import ConnectionLost, StorageError
from roles.runtime.sv2_connection import Plain

MAX_UNSETTLED = 1_024
"""Shares of a connection that wait for the ledger, at which it is no longer read from."""

_log = logging.getLogger(__name__)


class Peer(Protocol):
    """The connection as its shares need it."""

    peer: str

    def send(self, *frames: Frame) -> None:
        """Send frames; raises ConnectionLost."""

    def send_plain(self, frames: Sequence[Plain]) -> None:
        """The same for frames as header and payload."""

    def hold(self) -> None:
        """Read no more for now."""

    def release(self) -> None:
        """Read on."""

    def close(self, text: str, *, code: str) -> None:
        """End the connection."""


class Batch:
    """Shares that were judged together and wait for the ledger; `outcome` None: the ledger takes nothing."""

    __slots__ = ("_submissions", "is_settled", "outcome", "shares")

    def __init__(self, submissions: "Submissions", shares: list[Judged]) -> None:
        self.shares = shares
        self.outcome: Outcome | BaseException | None = None
        self.is_settled = False
        self._submissions = submissions

    def told(self, outcome: Outcome | BaseException | None) -> None:
        """The ledger says what has become of them."""
        self.outcome = outcome
        self.is_settled = True
        self._submissions.settle()


class Submissions:
    """Judges, records and answers the shares that come over one connection.

    Recording takes a while; the next shares are judged meanwhile, because one may be a block.
    """

    __slots__ = (
        "_batches", "_floor", "_flush", "_is_holding", "_keys", "_peer", "_roster", "_short", "_tip_number",
        "_unsettled", "_waiting", "tells_notices",
    )  # fmt: skip

    def __init__(self, peer: Peer, floor: Floor, roster: Roster, keys: ShareKeys) -> None:
        self.tells_notices = False
        """Whether the peer has asked to hear what the mint does with its shares."""
        self._peer = peer
        self._floor = floor
        self._roster = roster
        self._keys = keys
        self._short = ShortWay(floor.terms, self._refuse_low)
        self._tip_number = 0
        self._batches: deque[Batch] | None = None
        self._unsettled = 0
        self._is_holding = False
        self._waiting: dict[MinerChannel, None] | None = None
        self._flush: asyncio.TimerHandle | None = None

    def take_plain(self, frames: Sequence[Plain], start: int, turn: Turn) -> int:
        """Judge plain shares from `start` on; returns the place of the first other frame, or the end."""
        tip = self._roster.tip_number
        if tip != self._tip_number:
            self._tip_number = tip
            self._short.forget()
        return self._short.take(frames, start, turn)

    def forget(self) -> None:
        """A channel is gone."""
        self._short.forget()

    def judge(self, share: Submission, tlvs: tuple[Tlv, ...], turn: Turn) -> Judged | SubmitSharesError:
        """The verdict on any share, or the error that answers it."""
        desk, member = self._floor.desk, self._roster.members.get(share.channel_id)
        try:
            if member is not None and not member.pace.admits(turn.moment):
                # An error and not slower reading: others may mine on the same connection.
                raise TooManyShares("the channel submits too fast")
            judged = desk.judge(member, share, tlvs, now=turn.now, keys=self._keys)
        except ShareRefused as error:
            return desk.refuse(share.channel_id, share.sequence_number, error)
        job = judged.member.channel.find(share.job_id)
        # A job of an earlier tip is good only until its channel is told of the next one.
        if job.tip is self._floor.workshop.tip:
            self._short.learn(judged.member, job)
        return judged

    def _refuse_low(self, channel_id: int, sequence_number: int) -> Frame:
        error = DifficultyTooLow("the hash is above the job's target")
        return encode(self._floor.desk.refuse(channel_id, sequence_number, error))

    def hand_in(self, shares: list[Judged], entries: list[Entry]) -> None:
        """Have shares made durable, `entries` being theirs, and answer them then."""
        batch = Batch(self, shares)
        if self._batches is None:
            self._batches = deque()
        self._batches.append(batch)
        self._unsettled += len(shares)
        if not self._floor.desk.enter(entries, batch.told):
            batch.told(None)
        elif self._unsettled >= MAX_UNSETTLED and not self._is_holding:
            self._is_holding = True
            self._peer.hold()

    def tell(self, frames: Sequence[Frame]) -> None:
        """Send frames, unless the connection has just ended."""
        try:
            self._peer.send(*frames)
        except ConnectionLost:
            # Whoever reads from the connection hears of it.
            pass

    def _tell(self, frames: Sequence[Plain]) -> None:
        try:
            self._peer.send_plain(frames)
        except ConnectionLost:
            # Whoever reads from the connection hears of it.
            pass

    def settle(self) -> None:
        """Answer what is durable, in the order of submission: successes are counted, not named."""
        replies: list[Plain] = []
        now = self._floor.monotonic()
        while self._batches and self._batches[0].is_settled:
            batch = self._batches.popleft()
            self._unsettled -= len(batch.shares)
            self._settle(batch.shares, batch.outcome, now, replies)
        if replies:
            self._tell(replies)
        if self._is_holding and self._unsettled < MAX_UNSETTLED:
            self._is_holding = False
            self._peer.release()

    def end(self) -> None:
        """The connection is gone, or about to go: what is durable is acknowledged at once."""
        if self._flush is not None:
            self._flush.cancel()
            self._acknowledge_waiting()

    def _settle(
        self,
        shares: list[Judged],
        outcome: Outcome | BaseException | None,
        now: float,
        replies: list[Plain],
    ) -> None:
        if isinstance(outcome, BaseException):
            self._fail(shares, outcome, replies)
            return
        crash.at("pool.shares-durable")
        credits, errors = self._floor.desk.settle(shares, outcome)
        for error in errors:
            replies.append(_plain(encode(error)))
        rushed: list[MinerChannel] = []
        members = self._roster.members
        for member, last, count, new, work in credits:
            if member.channel.channel_id not in members:
                continue
            if new and member.credit(work, now, new):
                rushed.append(member)
            answer = member.acks.add(last, work, count)
            if answer is None:
                self._wait(member)
            else:
                replies.append(success(*answer))
        if self.tells_notices:
            self._expect_notices(shares, outcome)
        for member in rushed:
            replies += map(_plain, self._roster.adjust_one(member, now))

    def _fail(self, shares: list[Judged], error: BaseException, replies: list[Plain]) -> None:
        if isinstance(error, StorageError):
            # The store's own watch says it once; a line for each batch would not help a disk that is full.
            _log.debug("shares cannot be stored", extra={"shares": len(shares), "reason": str(error)})
            replies += [_plain(encode(message)) for message in self._floor.desk.not_stored(shares, error)]
            return
        _log.error("recording shares failed", exc_info=error, extra={"peer": self._peer.peer})
        self._peer.close("recording shares failed", code="fault")

    def _wait(self, member: MinerChannel) -> None:
        """A member's answer waits for more shares, or for the timer."""
        if self._waiting is None:
            self._waiting = {}
        self._waiting[member] = None
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(self._floor.terms.ack_delay_s, self._acknowledge_waiting)

    def _acknowledge_waiting(self) -> None:
        self._flush = None
        waiting, self._waiting = self._waiting or {}, None
        answers = [answer for member in waiting if (answer := member.acks.flush()) is not None]
        if answers:
            self._tell([success(*answer) for answer in answers])
        crash.once_sent("pool.shares-acknowledged")

    def _expect_notices(self, shares: list[Judged], outcome: Outcome | None) -> None:
        if outcome is None:
            return
        entered = (share for share in shares if share.entry is not None)
        for place, share in enumerate(entered):
            fate, seq = outcome.of(place)
            if seq and fate is Fate.RECORDED:
                route = Route(self, share.member.channel.channel_id, share.sequence_number)
                self._floor.notices.expect(seq, route)


def _plain(frame: Frame) -> Plain:
    return frame.header(), frame.payload
