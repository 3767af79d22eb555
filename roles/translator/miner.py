"""One miner: its SV1 session on one side, its own SV2 channel at the proxy on the other."""

import asyncio
import logging
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Protocol

from protocols.bitcoin.target import MAX_TARGET, from_difficulty
from protocols.ehash.messages import QuoteNotice
from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Authorize, Submit
from protocols.sv1.results import Subscription
from protocols.sv2.layout import Message
from protocols.sv2.mining import NewExtendedMiningJob, SetExtranoncePrefix, SetNewPrevHash, SetTarget
from protocols.sv2.tlv import Tlv
from protocols.translation.errors import TranslationError
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.work import ChannelWork, Drafts, Work
from roles.runtime.ban_list import BANNED
from roles.stratum.errors import StratumError
from roles.stratum.handshake import Answer
from roles.stratum.miner_roll import MinerRoll
from roles.stratum.miner_session import MinerSession
from roles.stratum.mining_client import MiningClient
from roles.stratum.submissions import LOST, Settle
from roles.stratum.upstream_channel import UPSTREAM_LOST, OpenTerms, UpstreamChannel
from roles.translator.identity import MinerIdentity, read_identity

_log = logging.getLogger(__name__)

_HARDEST_FLOOR = 1 << 40
"""A wish for shares harder than this difficulty is a mistake."""
_EASIEST_START = 2.0**-32
"""A hash."""
START_SHARES_PER_MINUTE = 6
"""What a difficulty to start from is turned into a hash rate by; the pool's vardiff takes over from there."""
HOLD_TOLD_S = 10.0
"""After so long without its channel a person is told; most losses are shorter, and nobody's business."""
_TOO_SMALL = "min-extranonce-size-too-large"
_TOO_HARD = "max-target-out-of-range"


@dataclass(frozen=True, slots=True)
class MinerTerms:
    """What every channel is opened with: the SV1 difficulty to start from, and waits in seconds.

    `start_difficulty`: the same for all, None to go by the class of the miner's firmware. `open_s`: for a new
    miner's channel. `hold_s`: for a channel that was lost, None for ever.
    """

    start_difficulty: float | None
    open_s: float
    hold_s: float | None


class Landlord(Protocol):
    """Who knows all miners."""

    drafts: Drafts
    """What the jobs of their channels have the same of."""

    def too_small(self) -> None:
        """Upstream's extranonce does not suffice."""

    def is_barred(self, identity: MinerIdentity) -> bool:
        """Whether the operator turns this miner away."""

    def resume(self, miner: "Miner", session: str) -> bool:
        """Give the miner what is kept of this session, if there is any."""

    def came_back_anew(self, miner: "Miner") -> None:
        """A miner has named itself without a session that it could go on with."""

    def dismissed(self, miner: "Miner") -> None:
        """The miner will not be served any more."""


class Miner:
    """Owner of a session and of a channel; `granted` is what its firmware is told on subscribe.

    Both channel and grant outlive the socket for a while, in case that the miner comes back.
    """

    def __init__(
        self,
        client: MiningClient,
        granted: Subscription,
        layout: Layout,
        terms: MinerTerms,
        landlord: Landlord,
        *,
        roll: MinerRoll,
        port_class: str | None = None,
    ) -> None:
        self.session: MinerSession
        self.identity: MinerIdentity | None = None
        self.channel: UpstreamChannel | None = None
        self.granted = granted
        self.port_class = port_class
        self._client = client
        self._layout = layout
        self.terms = terms
        self._landlord = landlord
        self._roll = roll
        self._former: MinerIdentity | None = None
        self._is_proven = False
        self._accepted_before = 0
        self._is_dismissed = False
        self._has_left = False
        self._loop = asyncio.get_running_loop()
        self._answers: list[Answer] = []
        self._work: ChannelWork | None = None
        self._is_fresh = False
        self._floor: Fraction | None = None
        self._is_spoilt = False
        self._patience: asyncio.TimerHandle | None = None
        self._notice: asyncio.TimerHandle | None = None

    @property
    def is_held(self) -> bool:
        """Whether the miner waits for its channel and will be let go if it waits too long."""
        return self._patience is not None

    @property
    def agent(self) -> str:
        """What its firmware calls itself."""
        return self.session.handshake.user_agent

    @property
    def who(self) -> tuple[str, str, str]:
        """What a miner is known by without its session: its name, its firmware and its host."""
        identity = self.identity or self._former
        return identity.user if identity else "", self.agent, self.session.host

    @property
    def may_come_back(self) -> bool:
        """Whether there is anything to come back for: a name that was let in, and its channel."""
        if self._is_dismissed or self.channel is None or self.channel.is_closed:
            return False
        return self.session.handshake.is_authorized or self._former is not None

    @property
    def is_proven(self) -> bool:
        """Whether a share of it has been accepted, on this socket or on those before."""
        return self._is_proven or self.session.desk.tally.accepted > self._accepted_before

    def follow(self, former: "Miner") -> None:
        """Go on where the same miner was on another socket, which is cut: with its extranonce and channel.

        The former is left with what this one was granted, which no firmware has been told.
        """
        self.session.continue_from(former.session)
        self.granted, former.granted = former.granted, self.granted
        self._layout, self._floor, self._is_spoilt = former._layout, former._floor, former._is_spoilt
        self._former, self._is_proven = former.identity or former._former, former.is_proven
        self._work, self._is_fresh = former._work, former._is_fresh
        self.channel, former.channel = former.channel, None
        if self.channel is not None:
            self.channel.owner = self
        former.leave()

    def leave(self) -> None:
        """The socket is gone."""
        if self._has_left:
            return
        self._has_left = True
        self._stop_waiting()
        self._answers.clear()
        tally = self.session.desk.tally
        if self.identity is not None and (tally.total or tally.last is not None):
            self._roll.leave(self.identity.user, self.session.host, tally)
        if self.session.handshake.is_authorized:
            fates = {
                "accepted": tally.accepted,
                "rejected": tally.rejected.total(),
                "unknown": tally.unknown,
            }
            _log.info("a miner is gone", extra={**self._about(), **fates})

    def close(self) -> None:
        """The miner does not come back."""
        self._stop_waiting()
        if self.channel is not None:
            self.channel.close("the miner left")

    # What the session asks

    def authorize(self, request: Authorize, answer: Answer) -> None:
        """The first name opens the channel, and is let in when that is open; later names share it."""
        identity = read_identity(request)
        if self._landlord.is_barred(identity):
            # Behind the answer.
            close = partial(self.session.close, "the operator turns this miner away", code=BANNED)
            self._loop.call_soon(close)
            raise Rejection(ErrorCode.UNAUTHORIZED, "Turned away by the operator of this address")
        if self.identity is not None and identity.key not in {None, self.identity.key}:
            raise Rejection(ErrorCode.UNAUTHORIZED, "Another key on the same connection")
        if self.identity is None and self.channel is not None:
            self._take_up(identity)
        if self.channel is not None and self.channel.is_open:
            answer(None)
            return
        self._answers.append(answer)
        if self.channel is not None:
            if not self.is_held:
                self._wait(self.terms.open_s, "no channel in time")
            return
        self._named(identity)
        self._landlord.came_back_anew(self)
        if identity.floor is not None:
            self._floor = min(identity.floor, Fraction(_HARDEST_FLOOR))
        self._ask()
        self._wait(self.terms.open_s, "no channel in time")

    def suggested(self, difficulty: Fraction) -> None:
        """Where to start, and a floor for the difficulty, unless the password has set one."""
        if self._floor is None:
            self._floor = min(difficulty, Fraction(_HARDEST_FLOOR))
            if self.channel is not None:
                self.session.expect(self._hash_rate(), self._max_target())
                self.channel.update(self._hash_rate(), self._max_target())

    def resume(self, session: str) -> Subscription | None:
        """What it had on a former socket, if that is kept."""
        return self.granted if self._landlord.resume(self, session) else None

    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle) -> None:
        """A share goes up the channel that its work came from; once that is gone nobody will judge it."""
        if self.channel is None or not self._is_fresh:
            settle(LOST)
            return
        try:
            self.channel.submit(
                job_id=work.job_id,
                nonce=submit.nonce,
                ntime=submit.ntime,
                version=share.version,
                extranonce=share.extranonce,
                settle=settle,
            )
        except StratumError:
            settle(LOST)

    # What the channel says

    def opening(self, extensions: frozenset[int]) -> OpenTerms:
        """The same wishes at each opening."""
        identity = self.identity or self._former
        assert identity is not None
        user, tlvs = identity.on_wire(extensions)
        hash_rate, easiest = self._hash_rate(), self._max_target()
        self.session.expect(hash_rate, easiest)
        return OpenTerms(user, hash_rate, easiest, self._layout.needed, tlvs)

    def opened(self, tlvs: tuple[Tlv, ...]) -> None:
        """Fresh work follows; the miner keeps its extranonce1, whatever prefix is in front of it now."""
        del tlvs
        self._stop_waiting()
        channel = self.channel
        assert channel is not None
        if channel.extranonce_size < self._layout.needed:
            self._give_up_layout()
            return
        self._work = ChannelWork(
            self._layout,
            channel.extranonce_size,
            channel.extranonce_prefix,
            channel.target,
            self._landlord.drafts,
        )
        answers, self._answers = self._answers, []
        for answer in answers:
            answer(None)
        if answers:
            _log.info("a miner is there", extra=self._about())

    def refused(self, code: str) -> None:
        """A miner that never had a channel is told and let go; one that had waits for better times."""
        if code == _TOO_SMALL:
            self._give_up_layout()
        elif code == _TOO_HARD and self._max_target() != MAX_TARGET:
            self._floor, self._is_spoilt = None, True
            if self.channel is not None:
                self.channel.close("asked for anew")
            self._ask()
        elif self._answers:
            answers, self._answers = self._answers, []
            for answer in answers:
                answer(Rejection(ErrorCode.UNAUTHORIZED, f"Refused upstream: {code}"))
            self._dismiss(f"the channel was refused: {code}", code="channel-refused")

    def received(self, message: Message) -> None:
        """Turn jobs and tips into work; a target counts from the next work on."""
        work = self._work
        if work is None:
            return
        try:
            if isinstance(message, NewExtendedMiningJob):
                if (started := work.job(message)) is not None:
                    self.session.give(started, clean=False)
            elif isinstance(message, SetNewPrevHash):
                self.session.give(work.new_tip(message), clean=True)
                self._is_fresh = True
            elif isinstance(message, SetTarget):
                work.target = message.maximum_target
            elif isinstance(message, SetExtranoncePrefix):
                work.prefix = message.extranonce_prefix
            elif isinstance(message, QuoteNotice):
                self.session.desk.tally.ehash += message.amount
        except TranslationError as error:
            _log.warning("unusable work", extra={"reason": str(error), "peer": self.session.peer})

    def lost(self, reason: str) -> None:
        """Keep the socket: the channel comes back, or the miner is released to its own fallback after the
        hold.
        """
        del reason
        self._work = None
        self._is_fresh = False
        given_up = self.channel is not None and self.channel.closed_for == UPSTREAM_LOST
        hold = 0.0 if given_up else self.terms.hold_s
        if hold is not None:
            self._wait(hold, "no upstream for too long")
        if hold is None or hold > HOLD_TOLD_S:
            self._notice = self._loop.call_later(HOLD_TOLD_S, self._tell_hold)

    # The rest

    def _about(self) -> dict[str, object]:
        name = self.identity.label if self.identity else ""
        return {"miner": name, "agent": self.agent, "peer": self.session.peer}

    def _ask(self) -> None:
        try:
            self.channel = self._client.open(self)
        except StratumError as error:
            self._dismiss(str(error), code="no-channel")

    def _hash_rate(self) -> float:
        """What the miner is taken to have, in hashes a second, from the difficulty that it starts from."""
        start = self.terms.start_difficulty
        if self._floor is not None:
            start = float(self._floor)
        elif start is None:
            start = self.session.handshake.firmware.start_difficulty
        return max(start, _EASIEST_START) * 2**32 * START_SHARES_PER_MINUTE / 60

    def _max_target(self) -> int:
        least = self._floor or Fraction(0)
        if self.terms.start_difficulty is None and not self._is_spoilt:
            least = max(least, Fraction(self.session.handshake.firmware.least_difficulty))
        return max(1, from_difficulty(least)) if least else MAX_TARGET

    def _give_up_layout(self) -> None:
        self._landlord.too_small()
        self._dismiss("upstream grants too small an extranonce", code="extranonce-too-small")

    def _named(self, identity: MinerIdentity) -> None:
        """The miner has said who it is, and goes on with its figures."""
        self.identity = identity
        desk = self.session.desk
        desk.tally = self._roll.recall(identity.user, self.session.host, desk.tally)
        self._accepted_before = desk.tally.accepted

    def _take_up(self, identity: MinerIdentity) -> None:
        """A miner that resumed its session names itself: its channel stays only if the name does."""
        if self._former == identity:
            self._named(identity)
            return
        assert self.channel is not None
        self.channel.close("another miner")
        self.channel, self._work, self._is_fresh = None, None, False
        self._floor, self._is_spoilt = None, False
        self.session.restart()

    def _wait(self, seconds: float, text: str) -> None:
        self._stop_waiting()
        self._patience = self._loop.call_later(seconds, self._release, text)

    def _tell_hold(self) -> None:
        self._notice = None
        self.session.tell("The pool is away; this miner waits for it and earns nothing meanwhile")

    def _release(self, text: str) -> None:
        self.session.tell("No pool is in reach; this miner is released to its other pools")
        self._dismiss(text, code="no-upstream")

    def _dismiss(self, text: str, *, code: str) -> None:
        self._is_dismissed = True
        self.session.close(text, code=code)
        self._landlord.dismissed(self)

    def _stop_waiting(self) -> None:
        if self._notice is not None:
            self._notice.cancel()
            self._notice = None
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
