"""The shares of one connection: judged as they come, entered into the ledger together, answered in order."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from protocols.mining.errors import DifficultyTooLow, ShareRefused, TooManyShares
from protocols.noise.frame_cipher import FrameCipher
from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from protocols.sv2.mining import SubmitSharesError
from protocols.sv2.share_frame import SUCCESS, pack_success, success
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
SETTLE_AT = 40
"""What a connection may use before its allowance is looked at."""

_log = logging.getLogger(__name__)


class Peer(Protocol):
    """The connection as its shares need it."""

    peer: str

    def send(self, *frames: Frame) -> None:
        """Send frames; raises ConnectionLost."""

    def send_plain(self, frames: Sequence[Plain]) -> None:
        """The same for frames as header and payload."""

    def send_one(self, header: bytes, payload: bytes) -> None:
        """The same for one frame."""

    def hold(self) -> None:
        """Read no more for now."""

    def release(self) -> None:
        """Read on."""

    def close(self, text: str, *, code: str) -> None:
        """End the connection."""


class Submissions:
    """Judges, records and answers the shares that come over one connection.

    Recording takes a while; the next shares are judged meanwhile, because one may be a block.
    """

    __slots__ = (
        "_floor",
        "_flush",
        "_is_holding",
        "_keys",
        "_pay",
        "_peer",
        "_roster",
        "_short",
        "_tip_number",
        "_unsettled",
        "_waiting",
        "heard_at",
        "owed",
        "tells_notices",
    )  # fmt: skip

    def __init__(
        self,
        peer: Peer,
        floor: Floor,
        roster: Roster,
        keys: ShareKeys,
        pay: Callable[[float], None],
    ) -> None:
        self.heard_at = floor.monotonic()
        """When the peer has sent something last, in monotonic seconds."""
        self.owed = 0
        """What it has used of its allowance, in shares; it has to `pay` when that is much."""
        self._pay = pay
        self.tells_notices = False
        """Whether the peer has asked to hear what the mint does with its shares."""
        self._peer = peer
        self._floor = floor
        self._roster = roster
        self._keys = keys
        self._short = ShortWay(floor.terms)
        self._tip_number = 0
        self._unsettled = 0
        self._is_holding = False
        self._waiting: dict[MinerChannel, None] | None = None
        self._flush: asyncio.TimerHandle | None = None

    def open(self, cipher: FrameCipher, data: bytes) -> Sequence[Plain]:
        """Open sealed bytes and judge the plain shares that come first; returns the other frames.

        Raises what the cipher does.
        """
        floor = self._floor
        moment = self.heard_at = floor.monotonic()
        tip, short = self._roster.tip_number, self._short
        if tip != self._tip_number:
            self._tip_number = tip
            short.forget()
        judged: list[Judged] = []
        entries: list[Entry] = []
        low: list[tuple[int, int]] = []
        left = short.opener(cipher, data, short.known, (floor.clock(), moment), (judged, entries, low))
        if low:
            self.owed += len(low)
            self.tell(self._refuse_low(low))
        if judged:
            self.owed += len(judged)
            self.hand_in(judged, entries)
        if self.owed >= SETTLE_AT:
            self._pay(moment)
        return left

    def take_plain(self, frames: Sequence[Plain], moment: float) -> int:
        """Judge the plain shares that come first, at `moment` in monotonic seconds; returns how many."""
        judged: list[Judged] = []
        entries: list[Entry] = []
        low: list[tuple[int, int]] = []
        tip = self._roster.tip_number
        if tip != self._tip_number:
            self._tip_number = tip
            self._short.forget()
        when = self._floor.clock(), moment
        taken = self._short.take(frames, 0, when, (judged, entries, low))
        if low:
            self.tell(self._refuse_low(low))
        if judged:
            self.hand_in(judged, entries)
        return taken

    def take_more(self, frames: Sequence[Plain], start: int, turn: Turn) -> int:
        """Judge plain shares from `start` on in a turn that knows others, too; returns the place of the first
        other frame, or the end.
        """
        if self._roster.tip_number != self._tip_number:
            return start
        low: list[tuple[int, int]] = []
        found = turn.judged, turn.entries, low
        taken = self._short.take(frames, start, (turn.now, turn.moment), found)
        turn.replies += self._refuse_low(low)
        turn.refused += len(low)
        return taken

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
            if member is not None:
                member.refused(error.code)
            return desk.refuse(share.channel_id, share.sequence_number, error)
        job = judged.member.channel.find(share.job_id)
        # A job of an earlier tip is good only until its channel is told of the next one.
        if job.tip is self._floor.workshop.tip:
            self._short.learn(judged.member, job)
        return judged

    def _refuse_low(self, low: Sequence[tuple[int, int]]) -> list[Frame]:
        """The answers to shares above their target, as (channel, sequence number)."""
        # Not where shares are judged: what a comprehension shares with its function is slower in all of it.
        error = DifficultyTooLow("the hash is above the job's target")
        frames = []
        for channel_id, sequence_number in low:
            if (member := self._roster.members.get(channel_id)) is not None:
                member.refused(error.code)
            frames.append(encode(self._floor.desk.refuse(channel_id, sequence_number, error)))
        return frames

    def once_answered(self, act: Callable[[], None]) -> None:
        """Call `act` when the shares that have come are settled, and read nothing more before that."""
        if not self._unsettled:
            act()
            return
        self._peer.hold()
        self._floor.desk.enter((), self._reached, act)

    def _reached(self, act: Callable[[], None], _: Outcome | BaseException | None, _start: int) -> None:
        act()
        self._peer.release()

    def acknowledge(self, member: MinerChannel) -> None:
        """Answer what waits for more shares of a channel, because there will be none."""
        if member.acks_made is not None and (answer := member.acks_made.flush()) is not None:
            self._tell([success(*answer)])

    def hand_in(self, shares: list[Judged], entries: list[Entry]) -> None:
        """Have shares made durable, `entries` being theirs, and answer them then."""
        before = self._unsettled
        self._unsettled = unsettled = before + len(shares)
        desk = self._floor.desk
        if entries and not desk.disk.is_low:
            if crash.is_armed:
                crash.at("pool.shares-judged")
            desk.enter(entries, self._told, shares)
            if unsettled >= MAX_UNSETTLED and not self._is_holding:
                self._is_holding = True
                self._peer.hold()
        elif before:
            desk.enter((), self._passed, shares)
        else:
            self._passed(shares, None, 0)

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

    def _told(self, shares: list[Judged], outcome: Outcome | BaseException, start: int) -> None:
        """The ledger says what has become of shares: they are answered in the order of submission."""
        if len(shares) != 1 or not isinstance(outcome, Outcome) or outcome[1] is not None:
            self._unsettled -= len(shares)
            self._answer(shares, outcome, start)
        else:
            # What `_answer` comes to for one new share, as most are; calls would be felt.
            self._unsettled -= 1
            if crash.is_armed:
                crash.at("pool.shares-durable")
            member, sequence, _, work, _, _ = shares[0]
            meters = self._floor.meters
            meters.accepted.value += 1
            meters.work.value += work
            if member.channel.channel_id in self._roster.members:
                moment = self.heard_at
                is_rushed = member.credit(work, moment, 1)
                answer = (member.acks_made or member.acks).add(sequence, work)
                if answer is None:
                    self._wait(member)
                else:
                    try:
                        self._peer.send_one(SUCCESS, pack_success(*answer))
                    except ConnectionLost:
                        # Whoever reads from the connection hears of it.
                        pass
                if is_rushed:
                    self.tell(self._roster.adjust_one(member, moment))
                if self.tells_notices:
                    self._expect_notices(shares, outcome, start)
        if self._is_holding:
            self._read_on()

    def _passed(self, shares: list[Judged], _: Outcome | BaseException | None, start: int) -> None:
        """It is the turn of shares of which the ledger was given nothing."""
        self._unsettled -= len(shares)
        self._answer(shares, None, start)
        if self._is_holding:
            self._read_on()

    def _read_on(self) -> None:
        if self._unsettled < MAX_UNSETTLED:
            self._is_holding = False
            self._peer.release()

    def _answer(self, shares: list[Judged], outcome: Outcome | BaseException | None, start: int) -> None:
        replies: list[Plain] = []
        if isinstance(outcome, BaseException):
            self._fail(shares, outcome, replies)
        else:
            self._settle(shares, outcome, start, replies)
        if replies:
            self._tell(replies)

    def end(self) -> None:
        """The connection is gone, or about to go: what is durable is acknowledged at once."""
        # What pays has these submissions: thousands of circles would be left to the collector.
        self._pay = _owe_nothing
        if self._flush is not None:
            self._flush.cancel()
            self._acknowledge_waiting()

    def _settle(
        self, shares: list[Judged], outcome: Outcome | None, start: int, replies: list[Plain]
    ) -> None:
        crash.at("pool.shares-durable")
        now = self._floor.monotonic()
        credits, errors = self._floor.desk.settle(shares, outcome, start)
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
            self._expect_notices(shares, outcome, start)
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

    def _expect_notices(self, shares: list[Judged], outcome: Outcome | None, start: int) -> None:
        if outcome is None:
            return
        entered = ((member, sequence) for member, sequence, *_, entry in shares if entry is not None)
        for place, (member, sequence) in enumerate(entered, start):
            fate, seq = outcome.of(place)
            if seq and fate is Fate.RECORDED:
                self._floor.notices.expect(seq, Route(self, member.channel.channel_id, sequence))


def _owe_nothing(_moment: float) -> None:
    """There is nobody who could be read more slowly."""


def _plain(frame: Frame) -> Plain:
    return frame.header(), frame.payload
