"""One set-up connection of the mining client: opens channels, routes what arrives, watches for silence."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import monotonic
from typing import Any, Protocol

from protocols.mining.errors import NoVerdict
from protocols.mining.lane import Relay
from protocols.sv2.codec import Catalogue, encode
from protocols.sv2.connection import Reconnect
from protocols.sv2.errors import EncodeError, Sv2Error, UnknownMessage
from protocols.sv2.frame import Frame, frame_from
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    OpenStandardMiningChannelSuccess,
    SetGroupChannel,
    SetNewPrevHash,
    SubmitSharesError,
    SubmitSharesSuccess,
    UpdateChannelError,
)
from protocols.sv2.share_frame import SUCCESS, read_success
from protocols.sv2.tlv import Tlv
from protocols.sv2.work_reader import WorkReader
from roles.runtime import crash
from roles.runtime.errors import ConnectionLost
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.connection import FrameConnection, Plain
from roles.stratum.errors import UpstreamUnusable
from roles.stratum.keepsake import Tie
from roles.stratum.pulse import NOBODY, QUESTION, Habits, Pulse
from roles.stratum.submissions import ACCEPTED
from roles.stratum.upstream_channel import OpenSuccess, OpenTerms, UpstreamChannel
from roles.stratum.upstream_requests import UpstreamRequests

__all__ = ["MiningSession", "SessionTiming", "Settling"]

_log = logging.getLogger(__name__)

_OPENINGS = 64
"""Open requests without an answer; more of them would only wait in the upstream's queue."""
_CROWD = 64
"""Channels of a group that hear of a message before others have their turn."""
_REFUSALS = 3
"""In a row, without a channel open, after which another upstream is tried if there is one."""


@dataclass(frozen=True, slots=True)
class SessionTiming:
    """In seconds: how often to look, how long an open request may take, how long the upstream may be silent
    while shares wait, when a share counts as never to be answered, and the pauses before asking again for a
    channel that was refused or closed; where there are other upstreams the shorter one holds for both.
    `stall`: after so long without a word the upstream is asked whether it lives, and left after as long
    without an answer; where there are others, also when a share has waited for twice as long, or when it has
    opened channels and given no work for `work`. `gather`: how long a share waits for others to go up with.
    """

    watch: float = 1.0
    stall: float = 3.0
    work: float = 10.0
    opening: float = 10.0
    silence: float = 30.0
    verdict: float = 120.0
    refused: float = 5.0
    closed: float = 1.0
    gather: float = 0.0


class Surroundings(Protocol):
    """What a session needs to know of the upstream that it is at, and of others."""

    def adapt(self, terms: OpenTerms, extensions: frozenset[int]) -> OpenTerms:
        """What this upstream is asked for instead."""

    def has_others(self) -> bool:
        """Whether there is another upstream to turn to."""

    def pass_over(self) -> bool:
        """This upstream grants too little: try it last; False where it is the last that is left."""

    @property
    def name(self) -> str:
        """What tells this upstream from others."""

    @property
    def habits(self) -> Habits:
        """What is known of this upstream over its connections."""

    def shares(self, result: str, count: int) -> None:
        """Shares were "accepted", "rejected", or are "unknown"."""


Settling = Callable[[Sequence[Plain], int], tuple[int, int]]
"""Is given frames and the place of the first that counts; returns how many shares it settled as accepted, and
the place of the first frame that is left.
"""


class MiningSession:
    """Lives as long as one connection.

    While `takes_over` is set, channels that are open elsewhere are opened here, too, and are then here.
    """

    def __init__(
        self,
        connection: FrameConnection,
        extensions: frozenset[int],
        catalogue: Catalogue,
        timing: SessionTiming,
        metrics: ClientMetrics,
        *,
        around: Surroundings,
        relay: Relay | None = None,
    ) -> None:
        self.outlet = connection.outlet()
        """By which the native kernel sends what waits for nothing here, or None."""
        self.lanes = None if relay is None else relay.lanes(self)
        if self.lanes is not None:
            self.lanes.outlet = self.outlet
        self.extensions = extensions
        self.takes_over = False
        self._around = around
        self._refusals = 0
        self._connection = connection
        self._catalogue = catalogue
        self._timing = timing
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()
        self.requests = UpstreamRequests(self._loop, self.transmit, self._ask)
        """What channels want changed, and which are to be closed."""
        self._request_ids = count(1)
        self._waiting: deque[UpstreamChannel] = deque()
        self._opening: dict[int, tuple[float, UpstreamChannel]] = {}
        self._open: dict[int, UpstreamChannel] = {}
        # All that have unanswered shares, and some others: of thousands few have any.
        self._busy: dict[UpstreamChannel, None] = {}
        self._groups: dict[int, set[int]] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._outbox: list[Plain] = []
        self._flushing: asyncio.Handle | None = None
        self._is_gathering = False
        self._crowd: deque[UpstreamChannel] = deque()
        self._works = WorkReader()
        self._pulse = Pulse(around.habits, timing.stall, self._loop.time())
        self._opened_at = 0.0
        self.has_work = False
        """Whether a tip has come for any channel."""
        self.settle: Settling | None = None
        """Settles shares that somebody else has sent."""
        self._failure = ""

    @property
    def is_settled(self) -> bool:
        """Whether every open request has been answered."""
        return not self._waiting and not self._opening

    @property
    def channels(self) -> tuple[UpstreamChannel, ...]:
        """Those that are open here."""
        return tuple(self._open.values())

    @property
    def where(self) -> str:
        """The name of the upstream."""
        return self._around.name

    def tie(self, token: bytes) -> Tie:
        """How a channel with this token can be resumed."""
        around = self._around
        return Tie(token, around.name, self.extensions, around.shares, self._metrics.late)

    def now(self) -> float:
        """Monotonic seconds."""
        return self._loop.time()

    def transmit(self, frame: Frame) -> None:
        """Send with everything else of this turn of the loop, in one write."""
        self._outbox.append((frame.header(), frame.payload))
        if self._flushing is None or self._is_gathering:
            if self._flushing is not None:
                self._flushing.cancel()
            self._is_gathering = False
            self._flushing = self._loop.call_soon(self._flush)

    def send_lanes(self) -> None:
        """Send what lanes have for the upstream."""
        assert self.lanes is not None
        try:
            self._connection.send_sealed(self.lanes.seal)
        except ConnectionLost:
            # The reader hears of it, too, and ends the session.
            self.lanes.discard()

    def watch_over(self, channel: UpstreamChannel) -> None:
        """Shares of a channel wait."""
        self._busy[channel] = None

    def submit(self, channel: UpstreamChannel, share: Plain) -> None:
        """Send a share with those of the next moments, in one write."""
        self._outbox.append(share)
        self._busy[channel] = None
        if self._flushing is None:
            if self._timing.gather:
                self._is_gathering = True
                self._flushing = self._loop.call_later(self._timing.gather, self._flush)
            else:
                self._flushing = self._loop.call_soon(self._flush)

    def forward(self, shares: Sequence[Plain]) -> None:
        """Send shares now, behind what waits to be sent."""
        self._outbox.extend(shares)
        if self._flushing is not None:
            self._flushing.cancel()
        self._flush()

    def want(self, channel: UpstreamChannel) -> None:
        """Open this channel when its turn comes."""
        self._waiting.append(channel)
        self._ask()

    def release(self, channel: UpstreamChannel) -> None:
        """The owner has closed this channel, or it is elsewhere now."""
        self._around.shares("unknown", len(channel.submissions))
        self._drop(channel)

    def forsake(self, reason: str) -> bool:
        """End the connection if there is another upstream to turn to."""
        if not self._around.pass_over():
            return False
        self._fail(reason)
        return True

    async def run(self) -> None:
        """Serve until the connection is lost; raises ConnectionLost, Sv2Error or UpstreamUnusable."""
        self._later(self._timing.watch, self._watch)
        if self.lanes is not None and not crash.is_armed:
            self._loop.call_soon(self._read_by_lanes)
        try:
            await self._connection.hand_over(self._take)
        except ConnectionLost as error:
            if self._failure:
                raise UpstreamUnusable(self._failure) from error
            raise

    def end(self) -> None:
        """The connection is gone: settle every share as lost and tell the owners."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._flushing is not None:
            self._flushing.cancel()
        self._outbox.clear()
        if self.lanes is not None:
            self.lanes.discard()
        self._pulse.end()
        self.requests.end()
        self._waiting.clear()
        self._opening.clear()
        self._crowd.clear()
        self._busy.clear()
        channels, self._open = list(self._open.values()), {}
        self._groups.clear()
        self._metrics.channels.set(0)
        for channel in channels:
            if channel.is_carried_by(self):
                count = len(channel.submissions)
                if channel.lose("the connection to the upstream was lost"):
                    self._around.shares("unknown", count)

    # Opening

    def _ask(self) -> None:
        while self._waiting and len(self._opening) < _OPENINGS and not self.requests.is_closing:
            channel = self._waiting.popleft()
            if channel.is_closed:
                continue
            request_id = next(self._request_ids) & 0xFFFFFFFF
            try:
                request = channel.request(request_id, self._around.name, self.extensions, self._around.adapt)
            except EncodeError as error:
                _log.warning("a channel cannot be asked for", extra={"reason": str(error)})
                channel.owner.refused(error.code)
                continue
            self._opening[request_id] = (self._loop.time(), channel)
            self.transmit(request)

    def _opened(self, answer: OpenSuccess, tlvs: tuple[Tlv, ...]) -> None:
        channel = self._answered(answer.request_id)
        if answer.channel_id in self._open:
            raise UpstreamUnusable(f"the upstream opened channel {answer.channel_id} twice")
        if channel is None or channel.is_closed or (channel.is_open and not self.takes_over):
            self.requests.close(answer.channel_id, "no longer wanted")
            return
        self._refusals = 0
        self._opened_at = self._opened_at or self._loop.time()
        self._open[answer.channel_id] = channel
        self._groups.setdefault(answer.group_channel_id, set()).add(answer.channel_id)
        self._metrics.channels.set(len(self._open))
        sent_again = channel.grant(self, answer, tlvs)
        if channel.is_resumed:
            self._metrics.resumed.inc()
            self._metrics.sent_again.inc(sent_again)

    def _refused(self, answer: OpenMiningChannelError) -> None:
        channel = self._answered(answer.request_id)
        if channel is not None and not channel.is_closed:
            self._metrics.refusals.inc()
            channel.owner.refused(answer.error_code)
            self._refusals += 1
            has_others = self._around.has_others()
            if has_others and not self._open and self._refusals >= _REFUSALS:
                raise UpstreamUnusable(f"the upstream opens no channel: {answer.error_code}")
            pause = self._timing.closed if has_others else self._timing.refused
            self._later(pause, partial(self.want, channel))

    def _answered(self, request_id: int) -> UpstreamChannel | None:
        entry = self._opening.pop(request_id, None)
        self._ask()
        return entry[1] if entry else None

    def _closed(self, message: CloseChannel, channel: UpstreamChannel) -> None:
        self._drop(channel)
        self._metrics.refusals.inc()
        self._around.shares("unknown", len(channel.submissions))
        channel.lose(f"the upstream closed the channel: {message.reason_code}", message.reason_code)
        self._later(self._timing.closed, partial(self.want, channel))

    def _drop(self, channel: UpstreamChannel) -> None:
        del self._open[channel.id]
        self.requests.forget(channel.id)
        self._leave_group(channel)
        self._metrics.channels.set(len(self._open))

    # Routing

    def _take(self, frames: Sequence[Plain]) -> int:
        self._pulse.heard(self._loop.time())
        channels, lanes = self._open, self.lanes
        accepted = 0
        taken = 0
        settle_many = self.settle
        try:
            while taken < len(frames):
                if lanes is not None:
                    taken, settled, below = lanes.settle(frames, taken, monotonic())
                    accepted += settled
                    for line in below:
                        line.answer()
                    if taken == len(frames):
                        break
                header, payload = frames[taken]
                if settle_many is not None and header == SUCCESS:
                    settled, reached = settle_many(frames, taken)
                    accepted += settled
                    if reached > taken:
                        taken = reached
                        continue
                taken += 1
                if header == SUCCESS:
                    channel_id, last, count = read_success(payload)
                    channel = channels.get(channel_id)
                    settle = channel.submissions.take_oldest(last) if channel and count == 1 else None
                    if settle is None:
                        accepted += self._accepted(channel_id, last, count)
                    else:
                        accepted += 1
                        settle(ACCEPTED)
                elif (work := self._works.read(header, payload)) is not None:
                    self._hear(work, work.channel_id)
                else:
                    self._receive(frame_from(header, payload))
                if self._crowd:
                    break
        except UpstreamUnusable as error:
            self._fail(str(error))
        finally:
            if accepted:
                self._around.shares("accepted", accepted)
        return taken

    def _read_by_lanes(self) -> None:
        self._connection.read_plain(self.lanes, self._settled, settles=True)

    def _settled(self, accepted: int, _owed: float, below: tuple[Any, ...]) -> None:
        """Lanes have settled shares by themselves."""
        self._pulse.heard(self._loop.time())
        try:
            for line in below:
                line.answer()
        finally:
            self._around.shares("accepted", accepted)

    def _receive(self, frame: Frame) -> None:
        try:
            message, tlvs = self._catalogue.decode(frame)
        except UnknownMessage:
            self._metrics.ignored.inc()
            return
        match message:
            case SubmitSharesSuccess():
                count = message.new_submits_accepted_count
                accepted = self._accepted(message.channel_id, message.last_sequence_number, count)
                self._around.shares("accepted", accepted)
            case SubmitSharesError():
                self._share_refused(message)
            case OpenExtendedMiningChannelSuccess() | OpenStandardMiningChannelSuccess():
                self._opened(message, tlvs)
            case OpenMiningChannelError():
                self._refused(message)
            case CloseChannel():
                self._for_each(message.channel_id, partial(self._closed, message))
            case SetGroupChannel():
                self._regroup(message)
            case Reconnect():
                raise UpstreamUnusable("the upstream asked us to connect anew")
            case UpdateChannelError(channel_id=channel_id) if channel_id == NOBODY:
                self._pulse.answered()
            case _ if message.channel:
                if isinstance(message, NewExtendedMiningJob):
                    self._works.learn(message, frame.payload)
                self._hear(message, frame.channel_id)
            case _:
                self._metrics.ignored.inc()

    def _hear(self, message: Message, channel_id: int) -> None:
        """Deliver a message to the channels that an id means."""
        self.has_work = self.has_work or isinstance(message, SetNewPrevHash)
        channel = self._open.get(channel_id)
        if channel is not None and channel.is_carried_by(self):
            channel.deliver(message)
        else:
            self._for_each(channel_id, partial(UpstreamChannel.deliver, message=message))

    def _accepted(self, channel_id: int, last: int, count: int) -> int:
        """Settle shares, and return how many."""
        channel = self._open.get(channel_id)
        if channel is None:
            self._metrics.ignored.inc()
            return 0
        submissions = channel.submissions
        before = len(submissions)
        if not submissions.accepted(last, count):
            self._metrics.mismatches.inc()
        return before - len(submissions)

    def _share_refused(self, message: SubmitSharesError) -> None:
        channel = self._open.get(message.channel_id)
        if channel is None:
            self._metrics.ignored.inc()
        elif not channel.submissions.refused(message.sequence_number, message.error_code):
            self._metrics.mismatches.inc()
        else:
            self._around.shares("unknown" if message.error_code == NoVerdict.code else "rejected", 1)

    def _for_each(self, channel_id: int, act: Callable[[UpstreamChannel], None]) -> None:
        """Do something for the channels that an id means, of many in turns with others; what comes next
        waits for it.
        """
        channels = self._addressed(channel_id)
        if not channels:
            self._metrics.ignored.inc()
        if len(channels) > _CROWD:
            self._crowd.extend(channels)
            self._connection.hold()
            self._serve_crowd(act)
            return
        for channel in channels:
            if channel.is_carried_by(self):
                act(channel)

    def _serve_crowd(self, act: Callable[[UpstreamChannel], None]) -> None:
        try:
            for _ in range(min(_CROWD, len(self._crowd))):
                channel = self._crowd.popleft()
                if channel.is_carried_by(self):
                    act(channel)
        except Sv2Error as error:
            self._crowd.clear()
            self._fail(str(error))
        if self._crowd:
            self._loop.call_soon(self._serve_crowd, act)
        else:
            self._connection.release()

    def _addressed(self, channel_id: int) -> list[UpstreamChannel]:
        channel = self._open.get(channel_id)
        if channel is not None:
            return [channel]
        return [self._open[member] for member in sorted(self._groups.get(channel_id, ()))]

    def _regroup(self, message: SetGroupChannel) -> None:
        for channel_id in message.channel_ids:
            channel = self._open.get(channel_id)
            if channel is not None:
                self._leave_group(channel)
                channel.group_id = message.group_channel_id
                self._groups.setdefault(channel.group_id, set()).add(channel_id)

    def _leave_group(self, channel: UpstreamChannel) -> None:
        members = self._groups.get(channel.group_id, set())
        members.discard(channel.id)
        if not members:
            self._groups.pop(channel.group_id, None)

    # Time and output

    def _watch(self) -> None:
        """Close a connection on which nothing moves though something should."""
        now, timing = self._loop.time(), self._timing
        lanes = self.lanes
        for channel in () if lanes is None else lanes.overdue(now - timing.verdict):
            channel.bring_back()
        self._busy = {channel: None for channel in self._busy if channel.is_waiting}
        busy = [channel for channel in self._busy if channel.is_carried_by(self)]
        oldest = [channel.submissions.oldest for channel in busy]
        if lanes is not None:
            oldest.append(lanes.oldest)
        waiting = now - min((added for added in oldest if added is not None), default=now)
        has_others = self._around.has_others()
        patience = 2 * timing.stall if has_others else timing.silence
        is_idle = self._open and not self.has_work and now - self._opened_at >= timing.work
        if any(now - asked >= timing.opening for asked, _ in self._opening.values()):
            self._fail("the upstream does not answer a request for a channel")
        elif self._pulse.is_gone(now):
            self._fail("the upstream does not answer any more")
        elif waiting >= patience and (has_others or self._pulse.silence(now) >= patience):
            self._fail("the upstream does not answer shares")
        elif is_idle and has_others:
            self._fail("the upstream gives no work")
        else:
            if self._open and NOBODY not in self._open and self._pulse.asks(now):
                self.transmit(encode(QUESTION))
            for channel in busy:
                if expired := channel.submissions.expire(now - timing.verdict):
                    self._metrics.mismatches.inc()
                    self._around.shares("unknown", expired)
            self._later(self._timing.watch, self._watch)

    def _fail(self, reason: str) -> None:
        self._failure = reason
        self._connection.close()

    def _later(self, delay: float, act: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            act()

        timer = self._loop.call_later(delay, fire)
        self._timers.add(timer)

    def _flush(self) -> None:
        frames, self._outbox, self._flushing = self._outbox, [], None
        self._is_gathering = False
        if frames:
            try:
                self._connection.send_plain(frames)
            except ConnectionLost:
                # The reader hears of it, too, and ends the session.
                pass
