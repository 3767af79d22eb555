"""Two proxies in memory that hear the same: one whose shares pass through lanes, one that has none.

Both are made of the real session upstream, the real channels and the real line downstream; only sockets,
clocks and the mint are scripted.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Sequence
from itertools import cycle
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry

from protocols.bitcoin.target import from_work
from protocols.ehash.messages import MINING_MESSAGES
from protocols.mining.lane import Lanes, Relay
from protocols.mining.prover import PythonProver
from protocols.noise.frame_cipher import FrameCipher, PythonCipher
from protocols.noise.handshake import Session
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING, SetupConnection
from protocols.sv2.frame import frame_from
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    SetNewPrevHash,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesSuccess,
)
from roles.proxy.attribution import Attribution
from roles.proxy.channel_kinds import ExtendedEdgeChannel
from roles.proxy.downstream import Downstream
from roles.proxy.downstream_bounds import DownstreamBounds
from roles.proxy.downstream_channel import Edge
from roles.proxy.figures import Figures
from roles.proxy.meters import Meters
from roles.proxy.modes import PerMiner
from roles.proxy.slices import Slices
from roles.runtime.sv2_connection import Plain, Tell
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.mining_session import MiningSession, SessionTiming
from roles.stratum.pulse import Habits
from roles.stratum.upstream_channel import ChannelOwner, UpstreamChannel
from tests.native_kernel import native_cipher, native_kernel

CATALOGUE = MINING.with_messages(*MINING_MESSAGES)
HASHES = 4
BEGUN = 1_700_000_000
SIZE = 16
KEYS = b"a" * 32, b"b" * 32
TIMING = SessionTiming(watch=1e6, stall=1e6, opening=1e6, silence=1e6, verdict=20.0)
"""Of these only the verdict's comes in a test, which looks by itself."""
LIMIT = 12
"""Shares of a channel that may wait."""


Take = Callable[[Sequence[Plain]], int]


def _take_all(take: Take, frames: Sequence[Plain]) -> None:
    while frames:
        frames = frames[take(frames) :]


class Wire:
    """A connection that keeps what is sent over it."""

    def __init__(self) -> None:
        self.peer = self.host = "127.0.0.1"
        self.unsent = 0
        self.left_alone = 0
        self.handed_over = 0
        self.sent: list[Plain] = []
        self._near: socket.socket | None = None
        self._far: socket.socket | None = None
        self._mouth: socket.socket | None = None
        self._ear: socket.socket | None = None
        self.inlet: Any = None
        self._cipher = native_cipher(Session(b"", None, *KEYS), lambda _: None)
        self._peer: FrameCipher = PythonCipher(Session(b"", None, KEYS[1], KEYS[0]), lambda _: None)

    def send_plain(self, frames: Sequence[Plain]) -> None:
        self.drain()
        self.sent += frames

    def send_sealed(self, seal: Callable[[FrameCipher], bytes]) -> None:
        self.drain()
        self.sent += self._peer.receive(seal(self._cipher))

    def outlet(self) -> Any:
        """A real one, that is free every other time."""
        maker = native_kernel().outlet
        if maker is None:
            return None
        self._near, self._far = socket.socketpair()
        busy = cycle((0, 1))
        return maker(self._cipher, self._near.fileno(), lambda: next(busy), self._refuse)

    def read_plain(self, lanes: Lanes, tell: Tell, *, settles: bool) -> None:
        """A real one reads from now on."""
        maker = native_kernel().inlet
        assert maker is not None
        self._mouth, self._ear = socket.socketpair()
        self.inlet = maker(self._cipher, self._ear.fileno(), lanes, settles, tell, self._left, self._ended)

    def hear(self, frames: Sequence[Plain], take: Take, clock: int, now: float, cut: int) -> None:
        """Frames arrive, where they are read natively in two pieces."""
        if self.inlet is None:
            _take_all(take, frames)
            return
        assert self._mouth is not None
        self._take = take
        data = self._peer.send_many(frames)
        for piece in (data[: cut % len(data)], data[cut % len(data) :]) if data else ():
            if piece:
                self._mouth.sendall(piece)
                self.inlet.look(clock, now)

    def _left(self, frames: Sequence[Plain]) -> None:
        self.handed_over += len(frames)
        _take_all(self._take, frames)

    def _ended(self, error: Exception | None) -> None:
        raise error or AssertionError("the socket has not ended")

    def _refuse(self, _: bytes) -> None:
        raise AssertionError("the socket has room")

    def drain(self) -> None:
        """Hear what has left by the outlet."""
        while self._far is not None and select.select([self._far], [], [], 0)[0]:
            frames = self._peer.receive(self._far.recv(1 << 16))
            self.left_alone += len(frames)
            self.sent += frames

    def end(self) -> None:
        """No sockets are left."""
        if self.inlet is not None:
            self.inlet.close()
        for end in (self._near, self._far, self._mouth, self._ear):
            if end is not None:
                end.close()

    def hold(self) -> None:
        raise AssertionError("nothing is held here")

    release = close = hold


class Surroundings:
    """One upstream, which is as good as another."""

    name = "only"
    habits = Habits()

    def __init__(self) -> None:
        self.results: dict[str, int] = {}

    def adapt(self, terms: Any, _: object) -> Any:
        return terms

    def has_others(self) -> bool:
        return False

    def shares(self, result: str, count: int) -> None:
        self.results[result] = self.results.get(result, 0) + count


class Twin:
    """One of the two; everything that it says to either side is in `told`, channel by channel."""

    def __init__(self, relay: Relay | None, clock: Callable[[], float], *, reads: bool = False) -> None:
        self.relay = relay
        self._reads = reads and relay is not None
        self._cuts = 0
        self._clock = clock
        self.registry = CollectorRegistry()
        self.figures = Figures(clock=clock)
        edge = Edge(
            cast("Any", self),
            Meters(self.registry),
            lambda: BEGUN + clock(),
            None,
            cast("Any", None),
            shares_per_s=2.0,
            monotonic=clock,
            figures=self.figures,
            relay=relay,
        )
        self.metrics = ClientMetrics(self.registry)
        self.around = Surroundings()
        self.below = Wire()
        self.line = Downstream(
            cast("Any", self.below),
            edge=edge,
            mode=lambda line, _: PerMiner(edge, line),
            registrar=cast("Any", None),
            slices=Slices(7),
            watch=cast("Any", SimpleNamespace(is_released=False)),
            bounds=DownstreamBounds(),
        )
        self.hear_below(SetupConnection(PROTOCOL_MINING, 2, 2, 0, "", 0, "test", "", "", ""))
        self.channels: list[ExtendedEdgeChannel] = []
        self.wanted: list[UpstreamChannel] = []
        self.connect()

    def open(self, owner: ChannelOwner) -> UpstreamChannel:
        """What the client does for a channel."""
        channel = UpstreamChannel(owner, self.wanted.remove, LIMIT)
        self.wanted.append(channel)
        self.session.want(channel)
        return channel

    def connect(self) -> None:
        """A new connection upstream."""
        self.above = Wire()
        self.session = MiningSession(
            cast("Any", self.above), frozenset(), CATALOGUE, TIMING, self.metrics,
            around=cast("Any", self.around), relay=self.relay,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        self.session._loop = cast(
            "Any", SimpleNamespace(time=self._clock, call_soon=loop.call_soon, call_later=loop.call_later)
        )
        if self._reads:
            self.session._read_by_lanes()
        for channel in self.wanted:
            self.session.want(channel)

    def disconnect(self) -> None:
        """The connection upstream is lost."""
        self.session.end()
        self.above.end()
        self.connect()

    def begin(self, number: int) -> None:
        """A miner's channel."""
        request = OpenExtendedMiningChannel(number, f"rig.{number}", 1e6, (1 << 256) - 1, 8)
        channel = self.line._begin(request, Attribution(b"\x02" * 33, number))
        assert isinstance(channel, ExtendedEdgeChannel)
        self.channels.append(channel)

    def hear_above(self, *messages: Message | Plain) -> None:
        """The upstream says something."""
        self._hear(self.above, self.session._take, messages)

    def hear_below(self, *messages: Message | Plain) -> None:
        """The miner says something."""
        self._hear(self.below, self.line._take, messages)

    def _hear(self, wire: Wire, take: Take, messages: Sequence[Message | Plain]) -> None:
        self._cuts += 37
        now = self._clock()
        wire.hear([_plain(message) for message in messages], take, int(BEGUN + now), now, self._cuts)

    async def told(self) -> tuple[dict[int, list[object]], dict[int, object]]:
        """What was said since, above and below, by channel; successes below are counted together."""
        for _ in range(3):
            await asyncio.sleep(0)
        self.above.drain()
        above = _by_channel(self.above.sent)
        below = {channel: _summed(said) for channel, said in _by_channel(self.below.sent).items()}
        self.above.sent.clear()
        self.below.sent.clear()
        return above, below

    def books(self) -> object:
        """All that is counted and kept of shares."""
        samples = {
            (sample.name, *sample.labels.values()): sample.value
            for metric in self.registry.collect()
            for sample in metric.samples
            if not sample.name.endswith("_created")
        }
        kept = []
        for channel in self.channels:
            # In this order: the first look ends a loan.
            waiting = channel.upstream.submissions
            shares, number = waiting.shares, waiting.next
            pace = channel._pace and (round(channel._pace.tokens, 6), channel._pace.when)
            seen = channel._jobs.seen
            kept.append((shares, number, pace, list(seen.recent), list(seen.older)))
        tallies = [_tally(channel.tally) for channel in self.channels]
        verdicts = self.figures.totals.verdicts
        assert verdicts is not None
        quantiles = [round(each, 6) for each in verdicts.quantiles(0, 0.5, 1) or ()]
        return samples, kept, tallies, _tally(self.figures.totals), self.around.results, quantiles

    def open_above(self, number: int, channel_id: int, prefix: bytes) -> None:
        """The upstream grants a request."""
        answer = OpenExtendedMiningChannelSuccess(number, channel_id, from_work(HASHES), SIZE, prefix, 1)
        self.hear_above(answer)


def job(number: int, channel_id: int, *, min_ntime: int | None) -> NewExtendedMiningJob:
    """Work that differs from all other."""
    return NewExtendedMiningJob(
        channel_id, number, min_ntime, 0x20000000, True, (b"\x0a" * 32,),
        b"\x01" * 40 + number.to_bytes(4, "big"), b"\x02" * 30,
    )  # fmt: skip


def tip(number: int, channel_id: int, previous: int) -> SetNewPrevHash:
    """What makes that job the first of a tip."""
    return SetNewPrevHash(channel_id, number, bytes([previous]) * 32, BEGUN, 0x1D00FFFF)


def mined(
    channel: ExtendedEdgeChannel, sequence: int, salt: int, *, low: bool = False, age: int = 0
) -> SubmitSharesExtended:
    """A share of the channel's newest job or one that is older by `age` jobs, good or above its target."""
    found = channel._jobs.active
    past = list(channel._jobs._store._past.values())
    if age and past:
        found = past[max(0, len(past) - age)]
    assert found is not None
    work, extranonce = found.work, salt.to_bytes(channel.extranonce_size, "big")
    prover = PythonProver(work.prefix, work.suffix, work.merkle_path, found.tip.previous, found.tip.bits)
    nonce = 0
    while True:
        _, share_hash = prover.prove(found.head + channel.slice + extranonce, work.version, BEGUN, nonce)
        if (int.from_bytes(share_hash, "little") > found.target) == low:
            return SubmitSharesExtended(
                channel.channel_id, sequence, found.job_id, nonce, BEGUN, work.version, extranonce
            )
        nonce += 1


def _plain(message: Message | Plain) -> Plain:
    if isinstance(message, tuple):
        return message
    frame = encode(message)
    return frame.header(), frame.payload


def _by_channel(frames: Sequence[Plain]) -> dict[int, list[object]]:
    said: dict[int, list[object]] = {}
    for header, payload in frames:
        message, _ = CATALOGUE.decode(frame_from(header, payload))
        said.setdefault(int.from_bytes(payload[:4], "little"), []).append(message)
    return said


def _summed(said: Sequence[object]) -> object:
    """Errors name their share, so they may come before a success that waits for others."""
    errors = [each for each in said if isinstance(each, SubmitSharesError)]
    good = [each for each in said if isinstance(each, SubmitSharesSuccess)]
    others = [each for each in said if not isinstance(each, SubmitSharesError | SubmitSharesSuccess)]
    count = sum(each.new_submits_accepted_count for each in good)
    return errors, count, good[-1].last_sequence_number if good else 0, others


def _tally(tally: Any) -> object:
    work, squares, shares = tally.rate.sums
    return (
        tally.accepted, tally.unknown, dict(tally.rejected), tally.best, tally.last, work, squares, shares,
        [tally.rate.estimate(window, tally.last or 0.0) for window in ("1m", "5m")],
    )  # fmt: skip
