"""One miner's connection, or a translator's: set-up, channels, shares, and what is sent back."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any

from protocols.ehash.messages import EXTENSION, MINING_MESSAGES
from protocols.mining.errors import (
    CapacityExhausted,
    MinExtranonceSizeTooLarge,
    MiningError,
    OpenRefused,
    StandardJobsRequired,
    UnknownChannel,
    UnknownShareChannel,
)
from protocols.mining.lane import Lanes, Relay
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING, SetupConnection, SetupConnectionError
from protocols.sv2.errors import InvalidFloat, SetupRefused, UnknownMessage
from protocols.sv2.extensions import EXTENSION_NEGOTIATION
from protocols.sv2.frame import Frame, frame_from
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    SetCustomMiningJob,
    SetCustomMiningJobError,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    UpdateChannel,
    UpdateChannelError,
)
from protocols.sv2.setup import (
    REQUIRES_STANDARD_JOBS,
    REQUIRES_VERSION_ROLLING,
    ServerSetup,
    refusal,
)
from protocols.sv2.share_frame import SHARE, read_share
from protocols.sv2.tlv import Tlv
from roles.proxy.attribution import Attribution, Registrar
from roles.proxy.channel_kinds import GROUP_ID
from roles.proxy.downstream_bounds import DownstreamBounds
from roles.proxy.downstream_channel import BURST_S, DownstreamChannel, Edge, OpenRequest
from roles.proxy.errors import Overloaded, ProxyError, UpstreamAway
from roles.proxy.modes import ENDED, Berth, Mode
from roles.proxy.slices import SLICE_SIZE, Slices
from roles.proxy.verdicts import Verdicts, printable
from roles.proxy.watch import UpstreamWatch
from roles.runtime import crash
from roles.runtime.errors import ConnectionLost
from roles.runtime.sv2_connection import Plain, Sv2Connection
from roles.stratum.errors import ChannelsFull
from roles.stratum.hash_rate import refuse_hash_rate
from roles.stratum.pace import Pace

log = logging.getLogger(__name__)

CATALOGUE = MINING.with_messages(*MINING_MESSAGES)
FIRST_CHANNEL = GROUP_ID + 1
MAX_EXTRANONCE = 32
"""Bytes of a full extranonce that any server may grant."""
BREATH = 32
"""Frames taken, or channels given up, before other connections have their turn."""
PIECE = 128
"""Messages of one write; where there are more, the next ones wait until the miner has taken them."""
TAKEN = 1 << 16
"""Bytes on their way to the miner that say nothing."""
UNSENT = 4_096
UNSENT_PER_CHANNEL = 8
"""Messages that may wait for a miner that takes them slowly."""
MOMENT_S = 0.05
REQUEST_COST = 5
"""What a request, or a share that is not looked at, takes of a connection's pace, in shares; closing a
channel takes nothing.
"""
CROWD = 16
"""Lanes for which the native kernel reads the connection by itself, which takes one more descriptor."""

Pay = Callable[[float, int], float]
"""Takes so many shares of the pace, and tells how long to wait for more."""


class Downstream:
    """Serves one connection until either side ends it."""

    def __init__(
        self,
        connection: Sv2Connection,
        *,
        edge: Edge,
        mode: Mode,
        registrar: Registrar,
        slices: Slices,
        watch: UpstreamWatch,
        bounds: DownstreamBounds,
    ) -> None:
        self._connection = connection
        self._edge = edge
        self._registrar = registrar
        self._slices = slices
        self._watch = watch
        self._bounds = bounds
        self._setup = ServerSetup(
            PROTOCOL_MINING,
            supported_flags=REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING,
            extensions=(EXTENSION,),
        )
        self._channels: dict[int, DownstreamChannel] = {}
        self._leaving: deque[tuple[DownstreamChannel, str]] = deque()
        self._ids = count(FIRST_CHANNEL)
        self._berth: Berth = mode(self, lambda: next(self._ids))
        self._openings: set[asyncio.Task[None]] = set()
        self._outbox: deque[Plain] = deque()
        self._pump: asyncio.Task[None] | None = None
        self._releasing: deque[tuple[DownstreamChannel, str]] = deque()
        self._unsaid: list[Verdicts] = []
        self._is_flushing = False
        self._loop = asyncio.get_running_loop()
        self._heard = edge.monotonic()
        self._pace = Pace(bounds.shares_per_s, bounds.shares_per_s * BURST_S, self._heard)
        self._pay: Pay = self._pace.take
        self._owed = 0.0
        self._lanes: Lanes | None = None
        self._is_read = False
        self._agent = ""
        self._idle: asyncio.TimerHandle | None = None

    @property
    def extensions(self) -> frozenset[int]:
        """The extensions that this connection has."""
        return self._setup.extensions

    def _name(self) -> str:
        """What the peer calls itself, made once for all of its channels."""
        client = self._setup.client
        if client is not None and not self._agent:
            parts = (client.vendor, client.hardware_version, client.firmware)
            self._agent = " ".join(part for part in parts if part)
        return self._agent

    async def run(self) -> None:
        """Serve; raises ConnectionLost at the end, and Sv2Error for what is no SV2 at all."""
        try:
            self._receive(await self._first_frame())
            self._look_for_channels()
            await self._connection.hand_over(self._take)
        finally:
            if self._idle is not None:
                self._idle.cancel()
            for task in (*self._openings, *(() if self._pump is None else (self._pump,))):
                task.cancel()
            if self._is_read:
                self._edge.figures.forget(self._catch_up)
            self._berth.end()
            self._leaving.clear()
            self._releasing.clear()
            for number, channel in enumerate(tuple(self._channels.values()), 1):
                self._drop(channel, "the miner has gone")
                if number % BREATH == 0:
                    await asyncio.sleep(0)
            # Thousands may go at once: what knows each other would all be left to the collector.
            self._berth, self._lanes, self._pay = ENDED, None, self._pace.take

    async def _first_frame(self) -> Frame:
        """What sets the connection up; raises ConnectionLost after too long without it."""
        try:
            async with asyncio.timeout(self._bounds.setup_s):
                return await self._connection.receive()
        except TimeoutError:
            text = "no SetupConnection for too long"
            self._connection.close(text, code="setup-timeout")
            raise ConnectionLost(text, code="setup-timeout") from None

    def _look_for_channels(self) -> None:
        """Cut a miner that says nothing, and has no channel, for too long."""
        if self._is_read:
            self._catch_up()
        silent = self._edge.monotonic() - self._heard
        if self._channels or self._openings or silent < self._bounds.idle_s:
            wait = self._bounds.idle_s if self._channels else max(MOMENT_S, self._bounds.idle_s - silent)
            self._idle = self._loop.call_later(wait, self._look_for_channels)
        else:
            self._connection.close("no channel for too long", code="idle")

    # What a channel uses

    def transmit(self, message: Message, tlvs: Iterable[Tlv] = ()) -> None:
        """Send with everything else of this turn of the loop, in one write."""
        self._queue(encode(message, tlvs))

    def send_frames(self, frames: Iterable[Frame]) -> None:
        """Send messages that have been encoded, likewise."""
        for frame in frames:
            self._queue(frame)

    def transmit_plain(self, frame: Plain) -> None:
        """The same for a frame as header and payload."""
        self._outbox.append(frame)
        self._flush_soon()

    def acknowledge(self, verdicts: Verdicts) -> None:
        """Send the answer that waits there behind everything else of this turn."""
        self._unsaid.append(verdicts)
        self._flush_soon()

    def release(self, channel: DownstreamChannel, reason: str) -> None:
        """Give a channel up; a connection that has no other is closed, so that the miner looks elsewhere.

        Of many channels in turns with others: all of a line may be given up in one moment.
        """
        self._releasing.append((channel, reason))
        if len(self._releasing) == 1:
            self._loop.call_soon(self._release_some)

    def _release_some(self) -> None:
        for _ in range(min(BREATH, len(self._releasing))):
            channel, reason = self._releasing.popleft()
            if self._channels.get(channel.channel_id) is not channel:
                continue
            self._edge.meters.released.inc()
            self._forget(channel)
            if (answer := channel.verdicts.due()) is not None:
                self._outbox.append(answer)
            channel.close(reason, silently=False)
            self.transmit(CloseChannel(channel.channel_id, reason))
            if not self._channels:
                self._send(len(self._outbox))
                self._connection.close()
        if self._releasing:
            self._loop.call_soon(self._release_some)

    # What arrives

    def _take(self, frames: Sequence[Plain]) -> int:
        """Serve frames, up to the request after which others have their turn; returns how many."""
        edge, channels = self._edge, self._channels
        clock, now = int(edge.clock()), edge.monotonic()
        self._heard = now
        place = self._pass_on(frames, 0, clock, now)
        requests = 0
        while place < len(frames):
            header, payload = frames[place]
            if header[:3] == SHARE:
                share, end = read_share(payload)
                channel = channels.get(share.channel_id)
                if channel is not None and end == len(payload):
                    if edge.relay is not None and channel.lend(share.job_id, now, self._lanes_of(edge.relay)):
                        after = self._pass_on(frames, place, clock, now)
                        if after > place:
                            place = after
                            continue
                    if channel.take(share, clock, now):
                        place = self._pass_on(frames, place + 1, clock, now)
                        continue
            self._receive(frame_from(header, payload))
            requests += 1
            place += 1
            if requests == BREATH or self._leaving:
                break
            place = self._pass_on(frames, place, clock, now)
        if self._leaving:
            self._connection.hold()
            self._drop_some()
        plain = place - requests
        if plain:
            self._owed = self._pay(now, plain)
        if self._owed:
            pause, self._owed = self._owed, 0.0
            self._throttle(pause)
        return place

    def _throttle(self, pause: float) -> None:
        """Who hands in more than its pace is not read from until it has caught up."""
        self._edge.meters.throttled.inc()
        self._connection.hold()
        self._loop.call_later(pause, self._connection.release)

    def _pass_on(self, frames: Sequence[Plain], start: int, clock: int, now: float) -> int:
        """Let lanes have shares from a place on; returns the place of the first that is left."""
        lanes = self._lanes
        if lanes is None:
            return start
        end, best, above = lanes.take(frames, start, clock, now)
        if end > start:
            self._edge.figures.found(best, now)
            for upstream in above:
                upstream.send_lanes()
            if crash.is_armed:
                for _ in range(start, end):
                    crash.once_sent("proxy.share-forwarded")
        return end

    def _lanes_of(self, relay: Relay) -> Lanes:
        lanes = self._lanes
        if lanes is None:
            lanes = self._lanes = relay.lanes(self)
            pace = self._pace
            lanes.limit(pace.tokens, pace.when, pace.rate, pace.burst)
            self._pay = lanes.pay
        elif len(lanes) >= CROWD and not (self._is_read or crash.is_armed):
            self._is_read = True
            self._edge.figures.watch(self._catch_up)
            self._connection.read_plain(lanes, self._passed, settles=False)
        return lanes

    def _passed(self, _shares: int, owed: float, above: tuple[Any, ...]) -> None:
        """Lanes have passed shares on by themselves."""
        for upstream in above:
            upstream.send_lanes()
        if owed:
            self._throttle(owed)

    def _catch_up(self) -> None:
        """Count what lanes have found by themselves."""
        lanes = self._lanes
        assert lanes is not None
        heard, best = lanes.found()
        if heard:
            self._heard = max(self._heard, heard)
            self._edge.figures.found(best, heard)

    def answer(self) -> None:
        """Send the miner what lanes have for it, when it is counted."""
        lanes, edge = self._lanes, self._edge
        if lanes is None:
            return
        seconds, work, squares, full = lanes.sums()
        edge.meters.accepted.inc(len(seconds))
        edge.meters.verdict.observe_all(seconds)
        edge.figures.accepted(work, squares, seconds, edge.monotonic())
        for channel in full:
            channel.read_journal()
        if crash.is_armed:
            for _ in seconds:
                crash.at("proxy.verdict-heard")
        try:
            self._connection.send_sealed(lanes.seal)
        except ConnectionLost:
            # The reader hears of it, too, and ends the connection.
            lanes.discard()

    def _receive(self, frame: Frame) -> None:
        is_setup = not self._setup.ready or frame.extension == EXTENSION_NEGOTIATION or frame.msg_type == 0
        if is_setup and self._set_up(frame):
            return
        try:
            message, tlvs = CATALOGUE.decode(frame)
        except UnknownMessage:
            self._edge.meters.ignored.inc()
            return
        except InvalidFloat:
            answer = refuse_hash_rate(frame)
            if isinstance(answer, OpenMiningChannelError):
                self._edge.meters.refusal(answer.error_code)
            self.transmit(answer)
            return
        match message:
            case SubmitSharesExtended() | SubmitSharesStandard():
                self._share(message, tlvs if EXTENSION in self.extensions else ())
            case OpenExtendedMiningChannel() | OpenStandardMiningChannel():
                self._open(message, tlvs if EXTENSION in self.extensions else ())
            case CloseChannel() if self._close(message):
                # Paid for with its opening.
                pass
            case _:
                self._owed = self._pay(self._edge.monotonic(), REQUEST_COST)
                self._request(message)

    def _request(self, message: Message) -> None:
        match message:
            case UpdateChannel():
                self._update(message)
            case SetCustomMiningJob():
                self.transmit(
                    SetCustomMiningJobError(message.channel_id, message.request_id, "jd-not-supported")
                )
            case _:
                self._edge.meters.ignored.inc()

    def _set_up(self, frame: Frame) -> bool:
        """Let the set-up have a frame; False when it is not one of its own."""
        try:
            answer = self._setup.receive(frame)
        except SetupRefused as error:
            self._send_now(refusal(error))
            raise
        if answer is None:
            return False
        if self._watch.is_released and (frame.extension, frame.msg_type) == (0, SetupConnection.msg_type):
            self._send_now(encode(SetupConnectionError(0, UpstreamAway.code)))
            self._connection.close()
            return True
        self._queue(answer)
        if frame.extension == 0 and self._setup.client is not None:
            client = self._setup.client
            about = {"vendor": client.vendor, "hardware": client.hardware_version, "flags": client.flags}
            log.info("a miner is there", extra=about)
        return True

    def _share(self, share: SubmitSharesExtended | SubmitSharesStandard, tlvs: tuple[Tlv, ...]) -> None:
        now = self._edge.monotonic()
        self._owed = self._pay(now, 1)
        channel = self._channels.get(share.channel_id)
        if channel is None:
            code = UnknownShareChannel.code
            self._edge.meters.rejection(code, "edge")
            self.transmit(SubmitSharesError(share.channel_id, share.sequence_number, code))
        elif channel.refuses(share, now):
            self._owed = self._pay(now, REQUEST_COST - 1)
        else:
            channel.submit(share, tlvs)

    def _update(self, message: UpdateChannel) -> None:
        channel = self._channels.get(message.channel_id)
        if channel is None:
            self.transmit(UpdateChannelError(message.channel_id, UnknownChannel.code))
            return
        channel.update(message)

    def _close(self, message: CloseChannel) -> bool:
        """Close what an id means; False where it is nothing."""
        wanted, reason = message.channel_id, printable(message.reason_code)
        if (channel := self._channels.get(wanted)) is not None:
            self._drop(channel, reason)
            return True
        # A group may have thousands: others have their turn meanwhile.
        group = self._berth.addressed(wanted)
        closing = self._channels.values() if group is None else group
        leaving = [(channel, reason) for channel in closing]
        self._leaving.extend(leaving)
        return bool(leaving)

    def _drop_some(self) -> None:
        """Drop those that leave in turns with others, and read on when it is done."""
        for _ in range(min(BREATH, len(self._leaving))):
            self._drop(*self._leaving.popleft())
        if self._leaving:
            self._loop.call_soon(self._drop_some)
        else:
            self._connection.release()

    # Opening

    def _open(self, request: OpenRequest, tlvs: tuple[Tlv, ...]) -> None:
        self._owed = self._pay(self._edge.monotonic(), REQUEST_COST)
        try:
            self._check(request)
        except (OpenRefused, ProxyError) as error:
            self._refuse(request, error.code, str(error))
            return
        task = asyncio.get_running_loop().create_task(self._opening(request, tlvs))
        self._openings.add(task)
        task.add_done_callback(self._opening_done)

    def _check(self, request: OpenRequest) -> None:
        if self._watch.is_released:
            raise UpstreamAway("there is no upstream to mine at")
        if len(self._openings) >= self._bounds.open_requests:
            raise Overloaded("too many open requests are unanswered")
        client = self._setup.client
        standard_only = client is not None and client.flags & REQUIRES_STANDARD_JOBS
        if standard_only and isinstance(request, OpenExtendedMiningChannel):
            raise StandardJobsRequired("this connection cannot use extended jobs")
        least = request.min_extranonce_size if isinstance(request, OpenExtendedMiningChannel) else 0
        if least > MAX_EXTRANONCE - SLICE_SIZE:
            raise MinExtranonceSizeTooLarge(f"{least} bytes do not fit any coinbase")

    async def _opening(self, request: OpenRequest, tlvs: tuple[Tlv, ...]) -> None:
        try:
            attribution = await self._registrar.attribute(request.user_identity, tlvs)
            self._registrar.admit(request.user_identity, attribution)
            channel = self._begin(request, attribution)
        except ChannelsFull as error:
            self._refuse(request, CapacityExhausted.code, str(error))
            return
        except (MiningError, ProxyError) as error:
            self._refuse(request, error.code, str(error))
            return
        try:
            async with asyncio.timeout(self._bounds.opening_s):
                code = await channel.answered()
        except TimeoutError:
            code = UpstreamAway.code
        if code:
            self._drop(channel, "not opened")
            self._refuse(request, printable(code), "by the upstream")

    def _opening_done(self, task: asyncio.Task[None]) -> None:
        self._openings.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("opening a channel failed", exc_info=error)
            self._connection.close()

    def _begin(self, request: OpenRequest, attribution: Attribution) -> DownstreamChannel:
        """A channel that waits for its upstream one; raises ChannelsFull and CapacityExhausted."""
        if len(self._channels) >= self._bounds.channels:
            raise CapacityExhausted("this connection has as many channels as it may have")
        taken = self._slices.take()
        try:
            channel = self._berth.open(
                request, channel_id=next(self._ids), extranonce_slice=taken, attribution=attribution
            )
        except ChannelsFull:
            self._slices.give_back(taken)
            raise
        peer, host = self._connection.peer, self._connection.host
        self._edge.figures.enter(channel, self, peer=peer, host=host, agent=self._name())
        self._channels[channel.channel_id] = channel
        self._edge.meters.channels.labels(channel.kind).inc()
        return channel

    def _refuse(self, request: OpenRequest, code: str, reason: str) -> None:
        about = {"peer": self._connection.peer, "code": code, "reason": reason}
        log.info("a channel is refused", extra=about)
        self._edge.meters.refusal(code)
        self.transmit(OpenMiningChannelError(request.request_id, code))

    # Ending

    def _drop(self, channel: DownstreamChannel, reason: str) -> None:
        """The miner no longer has this channel."""
        self._forget(channel)
        channel.close(reason, silently=True)

    def _forget(self, channel: DownstreamChannel) -> None:
        if self._channels.pop(channel.channel_id, None) is not None:
            self._slices.give_back(channel.slice)
            self._edge.figures.leave(channel)
            self._edge.meters.channels.labels(channel.kind).dec()

    # Output

    def _queue(self, frame: Frame) -> None:
        self._outbox.append((frame.header(), frame.payload))
        self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_flushing:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def _send_now(self, frame: Frame) -> None:
        self._outbox.append((frame.header(), frame.payload))
        self._send(len(self._outbox))

    def _flush(self) -> None:
        """Send what has come up in this turn; very much of it in pieces, as the miner takes it."""
        self._is_flushing = False
        if self._unsaid:
            self._outbox += [answer for verdicts in self._unsaid if (answer := verdicts.due()) is not None]
            self._unsaid.clear()
        waiting = len(self._outbox)
        if self._pump is None and waiting <= PIECE and self._connection.unsent <= TAKEN:
            self._send(waiting)
        elif self._pump is None:
            self._pump = self._loop.create_task(self._send_rest())
        elif waiting > UNSENT + UNSENT_PER_CHANNEL * len(self._channels):
            self._connection.abort(f"the miner has not taken {waiting} messages", code="not-reading")

    async def _send_rest(self) -> None:
        try:
            while self._outbox:
                await self._connection.drain()
                self._send(PIECE)
                await asyncio.sleep(0)
        except ConnectionLost:
            # The reader hears of it, too.
            pass
        finally:
            self._pump = None

    def _send(self, count: int) -> None:
        frames = [self._outbox.popleft() for _ in range(min(count, len(self._outbox)))]
        if frames:
            try:
                self._connection.send_plain(frames)
            except ConnectionLost:
                # The reader hears of it, too, and ends the connection.
                pass
