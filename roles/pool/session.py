"""One connection of a miner or proxy: setup, channels, shares, and what is sent without being asked."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence

from protocols.bitcoin.secp256k1 import is_point
from protocols.ehash.messages import EXTENSION, MINING_MESSAGES
from protocols.mining.errors import OpenRefused, TooManyShares
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING
from protocols.sv2.errors import InvalidFloat, SetupRefused, UnexpectedMessage, UnknownMessage
from protocols.sv2.frame import Frame
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
)
from protocols.sv2.setup import ServerSetup, refusal
from protocols.sv2.tlv import Tlv
from roles.pool.admission import OpenRequest
from roles.pool.allowance import Allowance
from roles.pool.floor import Floor
from roles.pool.miner_channel import MinerChannel
from roles.pool.notices import Route
from roles.pool.recollection import ShareKeys
from roles.pool.roster import GROUP, Addressing, Roster
from roles.pool.share_desk import Entered, Judged, Settled, Submission, fault_of
from roles.runtime import crash
from roles.runtime.errors import ConnectionLost
from roles.runtime.sv2_connection import Sv2Connection
from roles.stratum.hash_rate import refuse_hash_rate

CATALOGUE = MINING.with_messages(*MINING_MESSAGES)
REQUEST_COST = 5
"""What opening or changing a channel takes of a connection's allowance, in shares; a share that is not
looked at takes as much."""
BREATH = 8
"""Requests answered before other connections have their turn; one may cost as much as a hundred shares."""
MAX_UNSETTLED = 1_024
"""Shares of a connection that wait for the ledger, at which it is no longer read from."""
JD_NOT_SUPPORTED = "jd-not-supported"

_log = logging.getLogger(__name__)


class Session:
    """Serves one connection until it ends; raises ConnectionLost and Sv2Error, which end it."""

    def __init__(self, peer: Sv2Connection, floor: Floor) -> None:
        self._connection = peer
        self._floor = floor
        self._setup = ServerSetup(PROTOCOL_MINING, supported_flags=floor.terms.flags, extensions=(EXTENSION,))
        self._roster = Roster(floor.workshop, floor.meters)
        self._allowance = Allowance(floor.terms.shares_per_s, floor.monotonic())
        self._keys = ShareKeys(is_point, floor.terms.keys)
        self._flush: asyncio.TimerHandle | None = None
        self._unsettled: deque[tuple[list[Judged], Entered | None]] = deque()
        self._unsettled_shares = 0

    async def run(self) -> None:
        """Set up, then serve until the peer goes."""
        if not await self._set_up():
            return
        self._floor.sessions.add(self)
        try:
            while True:
                await self._serve(await self._receive())
        finally:
            self._floor.sessions.discard(self)
            if self._flush is not None:
                self._flush.cancel()
                self._flush_acknowledgements()
            self._close(GROUP)

    def refresh(self) -> None:
        """Send the present work to the channels that do not have it."""
        self._push(self._roster.refresh())

    def adjust(self) -> None:
        """Send new targets to the channels whose shares, or whose silence, ask for one."""
        self._push(self._roster.adjust(self._floor.monotonic()))

    def tell(self, frames: Sequence[Frame]) -> None:
        """Send frames, unless the connection has just ended."""
        try:
            self._connection.send(*frames)
        except ConnectionLost:
            # Whoever reads from the connection hears of it.
            pass

    def hashrate(self, now: float) -> float:
        """Estimated hashes a second of the channels."""
        return sum(member.vardiff.hashrate(now) for member in self._roster.members.values())

    # Setup and reading

    async def _set_up(self) -> bool:
        limit = self._floor.terms.setup_s
        try:
            async with asyncio.timeout(limit):
                frame = await self._connection.receive()
        except TimeoutError:
            self._connection.close(f"no SetupConnection within {limit:g} s", code="setup-timeout")
            return False
        try:
            answer = self._setup.receive(frame)
        except SetupRefused as error:
            self._connection.send(refusal(error))
            raise
        if answer is not None:
            self._connection.send(answer)
        self._roster.addressing = Addressing.of(self._flags)
        return True

    async def _receive(self) -> list[Frame]:
        if self._roster.members:
            return await self._connection.receive_batch()
        try:
            async with asyncio.timeout(self._floor.terms.idle_s):
                return await self._connection.receive_batch()
        except TimeoutError:
            raise ConnectionLost("no channel was opened", code="idle") from None

    async def _serve(self, frames: list[Frame]) -> None:
        judged: list[Judged] = []
        replies: list[Frame] = []
        now, moment = int(self._floor.clock()), self._floor.monotonic()
        cost = requests = 0
        try:
            for frame in frames:
                answer = self._setup.receive(frame)
                if answer is not None:
                    replies.append(answer)
                    continue
                try:
                    message, tlvs = CATALOGUE.decode(frame)
                except UnknownMessage:
                    self._floor.meters.ignored.inc()
                    continue
                except InvalidFloat:
                    replies.append(encode(refuse_hash_rate(frame)))
                    continue
                if isinstance(message, SubmitSharesExtended | SubmitSharesStandard):
                    outcome = self._judge(message, tlvs, now, moment)
                    if isinstance(outcome, Judged):
                        judged.append(outcome)
                        cost += 1
                    else:
                        replies.append(encode(outcome))
                        # A share that its channel submits too fast is not looked at.
                        cost += REQUEST_COST if outcome.error_code == TooManyShares.code else 1
                    continue
                replies += map(encode, self._answer(message, tlvs))
                cost += REQUEST_COST
                requests += 1
                if requests % BREATH == 0:
                    self._pass_on(judged, replies)
                    judged, replies = [], []
                    await asyncio.sleep(0)
        finally:
            # Whatever ends the connection, what was good before it is recorded.
            self._pass_on(judged, replies)
        while self._unsettled_shares >= MAX_UNSETTLED and (entered := self._unsettled[0][1]) is not None:
            await asyncio.wait({entered})
        await self._rest(cost)

    def _judge(
        self, share: Submission, tlvs: tuple[Tlv, ...], now: int, moment: float
    ) -> Judged | SubmitSharesError:
        member = self._roster.members.get(share.channel_id)
        if member is not None and not member.pace.admits(moment):
            # An error and not slower reading: others may mine on the same connection.
            return self._floor.desk.refuse_excess(share)
        return self._floor.desk.judge(member, share, self._used(tlvs), now, self._keys)

    def _pass_on(self, judged: list[Judged], replies: list[Frame]) -> None:
        if replies:
            self.tell(replies)
        if judged:
            self._hand_in(judged)

    async def _rest(self, cost: int) -> None:
        pause = self._allowance.use(cost, self._floor.monotonic()) if cost else 0.0
        if pause:
            self._floor.meters.throttled.inc()
            await asyncio.sleep(pause)

    # Shares

    def _hand_in(self, judged: list[Judged]) -> None:
        """Have shares made durable; the next are judged meanwhile, because one may be a block."""
        entered = self._floor.desk.enter(judged)
        self._unsettled.append((judged, entered))
        self._unsettled_shares += len(judged)
        if entered is not None:
            entered.add_done_callback(self._settle)
        elif len(self._unsettled) == 1:
            self._settle()

    def _settle(self, _: Entered | None = None) -> None:
        """Answer what is durable, in the order of submission: successes are counted, not named."""
        replies: list[Frame] = []
        while self._unsettled and _is_done(self._unsettled[0][1]):
            judged, entered = self._unsettled.popleft()
            self._unsettled_shares -= len(judged)
            fault = fault_of(entered)
            if fault is not None:
                _log.error("recording shares failed", exc_info=fault, extra={"peer": self._connection.peer})
                self._connection.close("recording shares failed", code="fault")
                continue
            replies += self._settled(*self._floor.desk.settle(judged, entered))
        if replies:
            self.tell(replies)

    def _settled(self, settled: list[Settled], errors: list[Message]) -> list[Frame]:
        replies = [encode(error) for error in errors]
        now = self._floor.monotonic()
        rushed: dict[MinerChannel, None] = {}
        for share in settled:
            member = share.member
            if member.channel.channel_id not in self._roster.members:
                continue
            if share.work:
                member.vardiff.accepted(share.work, now)
                if member.is_rushed(now):
                    rushed[member] = None
            if share.seq and EXTENSION in self._setup.extensions:
                route = Route(self, member.channel.channel_id, share.sequence_number)
                self._floor.notices.expect(share.seq, route)
            replies += self._acknowledge(share)
        for member in rushed:
            replies += map(encode, self._roster.adjust_one(member, now))
        return replies

    def _acknowledge(self, share: Settled) -> list[Frame]:
        answer = share.member.acks.add(share.sequence_number, share.work)
        if answer is not None:
            return [encode(answer)]
        if self._flush is None:
            loop = asyncio.get_running_loop()
            self._flush = loop.call_later(self._floor.terms.ack_delay_s, self._flush_acknowledgements)
        return []

    def _flush_acknowledgements(self) -> None:
        self._flush = None
        answers = (member.acks.flush() for member in self._roster.members.values())
        self._push([answer for answer in answers if answer is not None])
        crash.once_sent("pool.shares-acknowledged")

    # Everything else

    def _answer(self, message: Message, tlvs: tuple[Tlv, ...]) -> Iterable[Message]:
        match message:
            case OpenStandardMiningChannel() | OpenExtendedMiningChannel():
                return self._open(message, tlvs)
            case UpdateChannel():
                return self._roster.update(message, self._floor.monotonic())
            case CloseChannel():
                if not self._close(message.channel_id):
                    self._floor.meters.ignored.inc()
                return ()
            case SetCustomMiningJob():
                return (SetCustomMiningJobError(message.channel_id, message.request_id, JD_NOT_SUPPORTED),)
            case _:
                raise UnexpectedMessage(f"{type(message).__name__} is not for a server")

    def _open(self, request: OpenRequest, tlvs: tuple[Tlv, ...]) -> list[Message]:
        floor, roster = self._floor, self._roster
        try:
            member = floor.admission.open(
                request,
                self._used(tlvs),
                channel_id=roster.next_id,
                open_channels=len(roster.members),
                flags=self._flags,
                now=floor.monotonic(),
                group=roster.group,
                host=self._connection.host,
            )
        except OpenRefused as error:
            floor.meters.opens_refused.labels(error.code).inc()
            _log.info(
                "a channel is refused",
                extra={"peer": self._connection.peer, "code": error.code, "reason": str(error)},
            )
            return [OpenMiningChannelError(request.request_id, error.code)]
        user = request.user_identity[:80].encode("ascii", "backslashreplace").decode()
        fields = {"peer": self._connection.peer, "user": user, "keyless": member.channel.key is None}
        _log.info("a channel is open", extra={"channel": member.channel.channel_id, **fields})
        return roster.add(member, request.request_id)

    def _close(self, channel_id: int) -> int:
        """Close what the id means; returns how many channels that were."""
        closed = self._roster.close(channel_id)
        for member in closed:
            self._floor.admission.close(member)
        return len(closed)

    @property
    def _flags(self) -> int:
        return self._setup.client.flags if self._setup.client else 0

    def _used(self, tlvs: tuple[Tlv, ...]) -> tuple[Tlv, ...]:
        """Those of the extensions that the connection uses."""
        if not tlvs:
            return tlvs
        return tuple(tlv for tlv in tlvs if tlv.extension in self._setup.extensions)

    def _push(self, messages: list[Message]) -> None:
        if messages:
            self.tell([encode(message) for message in messages])


def _is_done(entered: Entered | None) -> bool:
    return entered is None or entered.done()
