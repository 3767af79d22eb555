"""One connection of a miner or proxy: setup, channels, shares, and what is sent without being asked."""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from functools import partial

from protocols.bitcoin.secp256k1 import is_point
from protocols.ehash.messages import EXTENSION, MINING_MESSAGES, TLV_MINT_URL
from protocols.mining.errors import BannedByOperator, OpenRefused, TooManyShares
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import PROTOCOL_MINING
from protocols.sv2.errors import InvalidFloat, SetupRefused, UnexpectedMessage, UnknownMessage
from protocols.sv2.frame import Frame, frame_from
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    CloseChannel,
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    OpenStandardMiningChannel,
    SetCustomMiningJob,
    SetCustomMiningJobError,
    SubmitSharesExtended,
    SubmitSharesStandard,
    UpdateChannel,
)
from protocols.sv2.setup import ServerSetup, refusal
from protocols.sv2.share_frame import SHARE, read_share
from protocols.sv2.tlv import Tlv, parse_tlvs
from roles.pool.admission import OpenRequest
from roles.pool.allowance import Allowance
from roles.pool.floor import Floor
from roles.pool.miner_channel import MinerChannel
from roles.pool.recollection import ShareKeys
from roles.pool.revival import Revived
from roles.pool.roster import Addressing, Roster
from roles.pool.share_desk import Judged, Submission
from roles.pool.submissions import SETTLE_AT, Submissions
from roles.pool.turn import Turn
from roles.runtime import crash
from roles.runtime.sv2_connection import Plain, Sv2Connection
from roles.stratum.hash_rate import refuse_hash_rate

CATALOGUE = MINING.with_messages(*MINING_MESSAGES)
EXTENSIONS = frozenset({EXTENSION})
REQUEST_COST = 5
"""What opening or changing a channel takes of a connection's allowance, in shares; a share that is not
looked at takes as much, and closing a channel nothing."""
BREATH = 8
"""Requests answered before other connections have their turn; one may cost as much as a hundred shares."""
SLICE = 64
"""Channels that are given work, looked at or closed before other connections have their turn."""
JD_NOT_SUPPORTED = "jd-not-supported"
RESUMED_ELSEWHERE = "resumed-elsewhere"
"""Reason of a CloseChannel to a connection whose channel has been resumed on another one."""

_log = logging.getLogger(__name__)


class Session:
    """Serves one connection until it ends; raises ConnectionLost and Sv2Error, which end it."""

    __slots__ = (
        "_allowance",
        "_connection",
        "_floor",
        "_roster",
        "_setup",
        "_submissions",
    )

    def __init__(self, peer: Sv2Connection, floor: Floor) -> None:
        self._connection = peer
        self._floor = floor
        self._setup = ServerSetup(PROTOCOL_MINING, supported_flags=floor.terms.flags, extensions=EXTENSIONS)
        self._roster = Roster(floor.workshop, floor.meters)
        self._allowance = Allowance(floor.terms.shares_per_s, floor.monotonic())
        keys = ShareKeys(is_point, floor.terms.keys, floor.meters.keys_forgotten)
        self._submissions = Submissions(peer, floor, self._roster, keys, self._rest)

    async def run(self) -> None:
        """Set up, then serve until the peer goes."""
        if not await self._set_up():
            return
        self._floor.sessions.add(self)
        try:
            await self._connection.hand_over(self._take, self._submissions.open)
        finally:
            self._floor.sessions.discard(self)
            self._submissions.end()
            if self._floor.resumptions is not None:
                self._floor.resumptions.end(self._roster)
            while closed := self._roster.close_some(SLICE):
                self._released(closed)
                await asyncio.sleep(0)

    def refresh(self) -> Iterator[None]:
        """Send the present work to the channels that do not have it; yields where others have their turn."""
        roster = self._roster
        self._push(roster.refresh())
        while roster.is_behind:
            self._push(roster.catch_up(SLICE))
            yield

    def adjust(self) -> Iterator[None]:
        """Send new targets to the channels whose shares, or whose silence, ask for one; end an idle peer.

        Yields where others may have their turn.
        """
        now, roster = self._floor.monotonic(), self._roster
        if not roster.members and now - self._submissions.heard_at > self._floor.terms.idle_s:
            self._connection.close("no channel was opened", code="idle")
        due = roster.due(now) if roster.members else ()
        for start in range(0, len(due), SLICE):
            self._push(roster.adjust(due[start : start + SLICE], now))
            yield

    def expel(self) -> Iterator[None]:
        """Close the channels of whom the operator turns away by now, each behind the answers to its shares.

        Yields where others have their turn.
        """
        present, bars = self._roster.members, self._floor.admission.bars
        members = tuple(present.values())
        for start in range(0, len(members), SLICE):
            some = members[start : start + SLICE]
            barred = [each for each in some if each.channel.channel_id in present and bars(each)]
            if barred:
                self._submissions.once_answered(partial(self._turn_out, barred))
            yield

    def hashrate(self, now: float) -> float:
        """Estimated hashes a second of the channels."""
        return sum(member.hashrate(now) for member in self._roster.members.values())

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

    # What comes

    def _take(self, frames: Sequence[Plain]) -> int:
        """Serve frames, up to the request after which others have their turn; returns how many."""
        submissions = self._submissions
        moment = submissions.heard_at = self._floor.monotonic()
        taken = submissions.take_plain(frames, moment)
        submissions.owed += taken
        if taken < len(frames):
            taken = self._take_others(frames, taken, moment)
        if submissions.owed >= SETTLE_AT:
            self._rest(moment)
        return taken

    def _take_others(self, frames: Sequence[Plain], taken: int, moment: float) -> int:
        """Serve frames of all kinds from a place on; returns the place of the first that is not."""
        turn = Turn(int(self._floor.clock()), moment)
        end = len(frames)
        try:
            while taken < end:
                header, payload = frames[taken]
                taken += 1
                if header[:3] == SHARE and self._roster.members:
                    self._take_share(turn, payload)
                else:
                    self._take_frame(turn, frame_from(header, payload))
                    if turn.requests == BREATH:
                        break
                taken = self._submissions.take_more(frames, taken, turn)
        finally:
            # Whatever ends the connection, what was good before it is recorded.
            if turn.replies:
                self._submissions.tell(turn.replies)
            if turn.judged:
                self._submissions.hand_in(turn.judged, turn.entries)
        self._submissions.owed += turn.cost + len(turn.judged) + turn.refused
        return taken

    def _take_share(self, turn: Turn, payload: bytes) -> None:
        share, end = read_share(payload)
        tlvs = () if end == len(payload) else self._used(parse_tlvs(payload[end:], CATALOGUE.extensions))
        self._judge(turn, share, tlvs)

    def _take_frame(self, turn: Turn, frame: Frame) -> None:
        answer = self._setup.receive(frame)
        if answer is not None:
            self._submissions.tells_notices = EXTENSION in self._setup.extensions
            turn.replies.append(answer)
            return
        try:
            message, tlvs = CATALOGUE.decode(frame)
        except UnknownMessage:
            self._floor.meters.ignored.inc()
            return
        except InvalidFloat:
            turn.replies.append(encode(refuse_hash_rate(frame)))
            return
        if isinstance(message, SubmitSharesExtended | SubmitSharesStandard):
            self._judge(turn, message, self._used(tlvs))
            return
        turn.requests += 1
        if isinstance(message, CloseChannel) and self._close(message.channel_id):
            # Paid for with its opening: else a crowd that leaves a proxy would have those who stay wait.
            return
        turn.replies += self._answer(message, tlvs)
        turn.cost += REQUEST_COST

    def _judge(self, turn: Turn, share: Submission, tlvs: tuple[Tlv, ...]) -> None:
        outcome = self._submissions.judge(share, tlvs, turn)
        if isinstance(outcome, Judged):
            turn.judged.append(outcome)
            if outcome.entry is not None:
                turn.entries.append(outcome.entry)
            return
        turn.refused += 1
        turn.replies.append(encode(outcome))
        if outcome.error_code == TooManyShares.code:
            # What is not looked at takes as much as a request.
            turn.cost += REQUEST_COST - 1

    def _rest(self, moment: float) -> None:
        pause = self._allowance.use(self._submissions.owed, moment)
        self._submissions.owed = 0
        if pause:
            self._floor.meters.throttled.inc()
            self._connection.hold()
            asyncio.get_running_loop().call_later(pause, self._connection.release)

    # Everything else

    def _answer(self, message: Message, tlvs: tuple[Tlv, ...]) -> Sequence[Frame]:
        match message:
            case OpenStandardMiningChannel() | OpenExtendedMiningChannel():
                return self._open(message, tlvs)
            case UpdateChannel():
                return self._roster.update(message, self._floor.monotonic())
            case CloseChannel():
                self._floor.meters.ignored.inc()
                return ()
            case SetCustomMiningJob():
                error = SetCustomMiningJobError(message.channel_id, message.request_id, JD_NOT_SUPPORTED)
                return (encode(error),)
            case _:
                raise UnexpectedMessage(f"{type(message).__name__} is not for a server")

    def _open(self, request: OpenRequest, tlvs: tuple[Tlv, ...]) -> Sequence[Frame]:
        used, resumptions = self._used(tlvs), self._floor.resumptions
        if not used or resumptions is None:
            return self._admit(request, used)
        try:
            key = self._floor.admission.key_of(request.user_identity, used)
        except OpenRefused as error:
            return self._refuse(request, error)
        replies: list[Frame] = []
        is_now = True

        def told(revived: Revived | None) -> None:
            if is_now:
                replies.extend(self._admit(request, used, revived))
            elif self in self._floor.sessions:
                self._push(self._admit(request, used, revived))
            elif revived is not None:
                resumptions.give_up(revived)

        if not resumptions.present(request, used, key, told):
            return self._admit(request, used)
        is_now = False
        return replies

    def _admit(
        self, request: OpenRequest, tlvs: tuple[Tlv, ...], revived: Revived | None = None
    ) -> list[Frame]:
        """Open a channel, the one that is to be resumed or a new one."""
        floor, roster = self._floor, self._roster
        # Work that the others lack makes theirs stale: what is resumed here must not be taken for theirs.
        frames = roster.refresh()
        try:
            member = floor.admission.open(
                request,
                tlvs,
                channel_id=roster.next_id,
                open_channels=len(roster.members),
                flags=self._flags,
                now=self._submissions.heard_at,
                group=roster.group,
                host=self._connection.host,
                revived=revived,
            )
        except OpenRefused as error:
            if revived is not None and floor.resumptions is not None:
                floor.resumptions.give_up(revived)
            return [*frames, *self._refuse(request, error)]
        # A line for each of thousands would cost more than the channel itself.
        if _log.isEnabledFor(logging.DEBUG):
            user = request.user_identity[:80].encode("ascii", "backslashreplace").decode()
            fields = {"peer": self._connection.peer, "user": user, "keyless": member.channel.key is None}
            _log.debug("a channel is open", extra={"channel": member.channel.channel_id, **fields})
        told = self._told_once()
        if floor.resumptions is not None and EXTENSION in self._setup.extensions:
            told += floor.resumptions.enter(self, roster, member, revived)
        frames += roster.add(member, request.request_id, told)
        if revived is not None:
            crash.once_sent("pool.channel-resumed")
        return frames

    def _refuse(self, request: OpenRequest, error: OpenRefused) -> list[Frame]:
        self._floor.meters.opens_refused.labels(error.code).inc()
        fields = {"peer": self._connection.peer, "code": error.code, "reason": str(error)}
        _log.info("a channel is refused", extra=fields)
        return [encode(OpenMiningChannelError(request.request_id, error.code))]

    def _turn_out(self, barred: Sequence[MinerChannel]) -> None:
        """Close channels, unless they have gone meanwhile."""
        frames: list[Frame] = []
        for member in barred:
            channel_id = member.channel.channel_id
            if self in self._floor.sessions and channel_id in self._roster.members:
                self._submissions.acknowledge(member)
                self._close(channel_id)
                frames.append(encode(CloseChannel(channel_id, BannedByOperator.code)))
        if frames:
            fields = {"peer": self._connection.peer, "channels": len(frames)}
            _log.info("channels are closed, as the operator turns their miners away", extra=fields)
            self._push(frames)

    def surrender(self, channel_id: int) -> None:
        """A channel has been resumed elsewhere: it is no longer here."""
        if channel_id in self._roster.members:
            self._released(self._roster.close(channel_id))
            self._submissions.forget()
            self._push([encode(CloseChannel(channel_id, RESUMED_ELSEWHERE))])

    def _told_once(self) -> tuple[Tlv, ...]:
        """What goes with the answer that opens a connection's first channel: where the mint is."""
        url = self._floor.terms.mint_url
        if self._roster.members or not url or EXTENSION not in self._setup.extensions:
            return ()
        return (Tlv(EXTENSION, TLV_MINT_URL, url.encode()),)

    def _close(self, channel_id: int) -> int:
        """Close what the id means; returns how many channels that were."""
        closed = self._roster.close(channel_id)
        if self._floor.resumptions is not None:
            self._floor.resumptions.close(closed)
        self._submissions.forget()
        self._released(closed)
        return len(closed)

    def _released(self, closed: Sequence[MinerChannel]) -> None:
        for member in closed:
            self._floor.admission.close(member)

    @property
    def _flags(self) -> int:
        return self._setup.client.flags if self._setup.client else 0

    def _used(self, tlvs: tuple[Tlv, ...]) -> tuple[Tlv, ...]:
        """Those of the extensions that the connection uses."""
        if not tlvs:
            return tlvs
        return tuple(tlv for tlv in tlvs if tlv.extension in self._setup.extensions)

    def _push(self, frames: Sequence[Frame]) -> None:
        if frames:
            self._submissions.tell(frames)
