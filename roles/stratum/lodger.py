"""A miner as its server keeps it: its session, who it is, where it wants to start, and how long it waits.

What it mines on, and who judges its shares, is a subclass's.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Final, Protocol

from protocols.bitcoin.target import MAX_TARGET, from_difficulty
from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Authorize, Submit
from protocols.sv1.results import Subscription
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.work import Work
from roles.runtime.ban_list import BANNED
from roles.stratum.handshake import Answer
from roles.stratum.miner_identity import MinerIdentity, read_identity
from roles.stratum.miner_roll import MinerRoll
from roles.stratum.miner_session import MinerSession
from roles.stratum.submissions import Settle

__all__ = ["HARDEST_FLOOR", "START_SHARES_PER_MINUTE", "Landlord", "Lodger", "LodgingTerms"]

_log = logging.getLogger(__name__)

HARDEST_FLOOR: Final = Fraction(1 << 40)
"""A wish for shares harder than this difficulty is a mistake."""
_EASIEST_START: Final = 2.0**-32
"""A hash."""
START_SHARES_PER_MINUTE: Final = 6
"""What a difficulty to start from is turned into a hash rate by; vardiff takes over from there."""
HOLD_TOLD_S: Final = 10.0
"""After so long without work a person is told; most losses are shorter, and nobody's business."""


@dataclass(frozen=True, slots=True)
class LodgingTerms:
    """What all miners have alike: the SV1 difficulty to start from, and waits in seconds.

    `start_difficulty`: the same for all, None to go by the class of the miner's firmware. `open_s`: until a
    new miner has been let in upstream. `hold_s`: without an upstream, None for ever.
    """

    start_difficulty: float | None
    open_s: float
    hold_s: float | None


class Landlord(Protocol):
    """Who knows all miners."""

    roll: MinerRoll
    """What is remembered of those that have left."""

    def is_barred(self, identity: MinerIdentity) -> bool:
        """Whether the operator turns this miner away."""

    def resume(self, lodger: Any, session: str) -> bool:
        """Give the miner what is kept of this session, if there is any."""

    def came_back_anew(self, lodger: Any) -> None:
        """A miner has named itself without a session that it could go on with."""

    def dismissed(self, lodger: Any) -> None:
        """The miner will not be served any more."""


class Lodger(ABC):
    """Owner of a session; `granted` is what its firmware is told on subscribe.

    What it was granted outlives the socket for a while, in case that the miner comes back.
    """

    def __init__(
        self,
        granted: Subscription,
        layout: Layout,
        terms: LodgingTerms,
        landlord: Landlord,
        *,
        port_class: str | None = None,
    ) -> None:
        self.session: MinerSession
        self.identity: MinerIdentity | None = None
        self.granted = granted
        self.layout = layout
        self.terms = terms
        self.port_class = port_class
        self._landlord = landlord
        self._former: MinerIdentity | None = None
        self._further: dict[str, MinerIdentity] | None = None
        self._floor: Fraction | None = None
        self._is_spoilt = False
        self._is_proven = False
        self._accepted_before = 0
        self._is_dismissed = False
        self._has_left = False
        self._loop = asyncio.get_running_loop()
        self._answers: list[Answer] = []
        self._patience: asyncio.TimerHandle | None = None
        self._notice: asyncio.TimerHandle | None = None

    @property
    def identities(self) -> Iterator[MinerIdentity]:
        """All that it says it is."""
        if self.identity is not None:
            yield self.identity
        yield from (self._further or {}).values()

    @property
    def is_held(self) -> bool:
        """Whether the miner waits for work and will be let go if it waits too long."""
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
    @abstractmethod
    def has_place(self) -> bool:
        """Whether there is anything to come back for."""

    @property
    def may_come_back(self) -> bool:
        """Whether what it has is kept for it: it has been let in, and has a place."""
        if self._is_dismissed or not self.has_place:
            return False
        return self.session.handshake.is_authorized or self._former is not None

    @property
    def is_proven(self) -> bool:
        """Whether a share of it has been accepted, on this socket or on those before."""
        return self._is_proven or self.session.desk.tally.accepted > self._accepted_before

    def follow(self, former: Any) -> None:
        """Go on where the same miner was on another socket, which is cut: with its extranonce and its place.

        The former is left with what this one was granted, which no firmware has been told.
        """
        self.session.continue_from(former.session)
        self.granted, former.granted = former.granted, self.granted
        self.layout, former.layout = former.layout, self.layout
        self._floor, self._is_spoilt = former._floor, former._is_spoilt
        self._former, self._is_proven = former.identity or former._former, former.is_proven
        self._move_in(former)
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
            self._landlord.roll.leave(self.identity.user, self.session.host, tally)
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
        self._move_out()

    # What the session asks

    @abstractmethod
    def authorize(self, request: Authorize, answer: Answer) -> None:
        """A name; raises Rejection to refuse at once."""

    @abstractmethod
    def found(self, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle) -> None:
        """A good share."""

    def welcome(self, session: str) -> Subscription | None:
        """What it had on a former socket, if that is kept."""
        return self.granted if session and self._landlord.resume(self, session) else None

    def suggested(self, difficulty: Fraction) -> None:
        """Where to start, and a floor for the difficulty, unless the password has set one."""
        if self._floor is None:
            self._floor = min(difficulty, HARDEST_FLOOR)
            self._expect()

    # What a subclass says

    @abstractmethod
    def _move_in(self, former: Any) -> None:
        """Take over the place of a former self, which must not keep it."""

    @abstractmethod
    def _move_out(self) -> None:
        """Give the place up."""

    # What a subclass uses

    def _expect(self) -> None:
        """Say what the miner is taken to have, and what is the least that it wants."""
        self.session.expect(self._hash_rate(), self._max_target())

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

    def _admit(self, request: Authorize) -> MinerIdentity:
        """Who it says it is; raises Rejection for whom the operator turns away, and for what is no key."""
        identity = read_identity(request)
        if self._landlord.is_barred(identity):
            # Behind the answer.
            close = partial(self.session.close, "the operator turns this miner away", code=BANNED)
            self._loop.call_soon(close)
            raise Rejection(ErrorCode.UNAUTHORIZED, "Turned away by the operator of this address")
        if self.identity is not None:
            if self._further is None:
                self._further = {}
            # As many as the session lets a connection name.
            self._further[identity.user] = identity
        return identity

    def _introduced(self, identity: MinerIdentity) -> None:
        """The miner has named itself anew: nothing is kept for it elsewhere, and its password has wishes."""
        self._named(identity)
        self._landlord.came_back_anew(self)
        if identity.floor is not None:
            self._floor = min(identity.floor, HARDEST_FLOOR)

    def _named(self, identity: MinerIdentity) -> None:
        """The miner has said who it is, and goes on with its figures."""
        self.identity = identity
        desk = self.session.desk
        desk.tally = self._landlord.roll.recall(identity.user, self.session.host, desk.tally)
        self._accepted_before = desk.tally.accepted

    def _welcomed(self) -> None:
        """All names that waited are let in."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer(None)
        if answers:
            _log.info("a miner is there", extra=self._about())

    def _turned_away(self, text: str) -> bool:
        """All names that waited are refused; False where none did."""
        answers, self._answers = self._answers, []
        for answer in answers:
            answer(Rejection(ErrorCode.UNAUTHORIZED, text))
        return bool(answers)

    def _about(self) -> dict[str, object]:
        name = self.identity.label if self.identity else ""
        return {"miner": name, "agent": self.agent, "peer": self.session.peer}

    def _hold(self, hold_s: float | None) -> None:
        """There is no work: the miner waits so long, and its person is told if that is long."""
        if hold_s is not None:
            self._wait(hold_s, "no upstream for too long")
        if hold_s is None or hold_s > HOLD_TOLD_S:
            self._stop_notice()
            self._notice = self._loop.call_later(HOLD_TOLD_S, self._tell_hold)

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
        self._stop_notice()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _stop_notice(self) -> None:
        if self._notice is not None:
            self._notice.cancel()
            self._notice = None
