"""One miner of either instance: its session on one side, its seat on a trunk to the pool on the other."""

import logging
from abc import abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from protocols.sv1.errors import Rejection
from protocols.sv1.plain_submit import PlainSubmit
from protocols.sv1.requests import Authorize, Submit
from protocols.sv1.results import Subscription
from protocols.translation.errors import ExtranonceTooSmall
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare
from protocols.translation.upstream_job import UpstreamJob
from protocols.translation.work import Work
from roles.stratum import lodger
from roles.stratum.handshake import Answer
from roles.stratum.lodger import Lodger, LodgingTerms
from roles.stratum.miner_identity import MinerIdentity
from roles.stratum.submissions import LOST, Settle
from roles.stratum.trunk import Trunk

__all__ = ["Guest", "Landlord", "Seat"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """Which part of which trunk's extranonce a miner rolls."""

    trunk: Trunk
    layout: Layout
    extranonce1: bytes


class Landlord(lodger.Landlord, Protocol):
    """Who knows all miners and trunks."""

    def seat(self, guest: "Guest") -> Seat:
        """A seat on a trunk that is connected; raises Rejection where there is none."""

    def seated(self, guest: "Guest", seat: Seat) -> None:
        """The seat is this miner's from now on, whoever's it was."""

    def leave(self, seat: Seat) -> None:
        """The seat is nobody's any more."""

    def outgrown(self) -> None:
        """A pool's extranonce is too small for what a miner rolls, which is let go."""


class Guest(Lodger):
    """Owner of a session; its seat outlives the socket for a while.

    It is let in once it is both seated and named, by `_ask_in`.
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
        super().__init__(granted, layout, terms, landlord, port_class=port_class)
        self.place: Seat | None = None
        self._house = landlord
        self._is_in = False
        self._serial: int | None = None

    @property
    def has_place(self) -> bool:
        """Whether it has a seat."""
        return self.place is not None

    @property
    def trunk(self) -> Trunk | None:
        """What it sits on."""
        return self.place.trunk if self.place is not None else None

    def _move_in(self, former: Any) -> None:
        self.place, former.place = former.place, self.place
        self._is_in, self._serial = former._is_in, former._serial
        if self.place is not None:
            self._house.seated(self, self.place)
            if self._is_in and not self.place.trunk.is_connected:
                self._hold(self.terms.hold_s)

    def _move_out(self) -> None:
        place, self.place = self.place, None
        if place is not None:
            self._house.leave(place)

    # What the session asks

    def welcome(self, session: str) -> Subscription | None:
        """What it had, else a seat; raises Rejection, and lets go of whom there is none for."""
        kept = super().welcome(session)
        if kept is not None:
            return kept
        try:
            place = self._house.seat(self)
        except Rejection as error:
            # Behind the answer.
            self._loop.call_soon(partial(self._dismiss, error.text, code="no-upstream"))
            raise
        self.place, self.layout = place, place.layout
        self.granted = Subscription(place.extranonce1, place.layout.extranonce2_size, self.granted.session)
        self.session.grant(self.granted, self.layout)
        self._house.seated(self, place)
        if self.identity is not None:
            self._ask_in(self.identity)
        return self.granted

    def authorize(self, request: Authorize, answer: Answer) -> None:
        """The first name has to be let in; what later ones need is the instance's to say."""
        identity = self._admit(request)
        if self.identity is None and self._former is not None:
            self._take_up(identity)
        if self.identity is not None:
            self._another(identity, answer)
            return
        self._answers.append(answer)
        self._introduced(identity)
        self._wait(self.terms.open_s, "not let in, in time")
        if self.place is not None:
            self._ask_in(identity)

    # What the trunk says

    def opened(self) -> None:
        """Its trunk is connected, perhaps to another pool."""

    def renew(self, job: UpstreamJob) -> None:
        """There is other work."""
        if not self._is_in:
            return
        self._stop_waiting()
        try:
            work = self._work_of(job)
        except ExtranonceTooSmall as error:
            self._house.outgrown()
            self._dismiss(str(error), code="extranonce-too-small")
            return
        # Work of an earlier connection is worth nothing to the pool.
        clean = job.clean or job.serial != self._serial
        self._serial = job.serial
        self.session.give(work, clean=clean)

    def lost(self) -> None:
        """Keep the socket: the pool, or another one, comes back, or the miner is let go after the hold."""
        if self._is_in:
            self._hold(self.terms.hold_s)

    # What an instance says

    @abstractmethod
    def _ask_in(self, identity: MinerIdentity) -> None:
        """See to it that a miner that is seated and named is let in: `_let_in`, or `_keep_out`."""

    def _another(self, identity: MinerIdentity, answer: Answer) -> None:
        """A further name on the same connection, or the same again; raises Rejection."""
        del identity
        if self._is_in:
            answer(None)
        else:
            self._answers.append(answer)

    def _work_of(self, job: UpstreamJob) -> Work:
        """The work that a job is for this miner; raises ExtranonceTooSmall."""
        return job.work(self.layout)

    # What an instance uses

    def _let_in(self) -> None:
        """The miner is let in: it is given work, and told."""
        if self._is_in or self._has_left:
            return
        self._is_in = True
        self._stop_waiting()
        self._expect()
        trunk = self.trunk
        job = trunk.job if trunk is not None else None
        if job is not None:
            self.renew(job)
        else:
            self._hold(self.terms.hold_s)
        self._welcomed()

    def _keep_out(self, text: str) -> None:
        """The miner is not let in, and is let go."""
        if self._turned_away(text):
            self._dismiss(text, code="refused-upstream")

    def _forward(
        self, user: str, share: JudgedShare, submit: Submit | PlainSubmit, work: Work, settle: Settle
    ) -> None:
        """Send a share to the pool; LOST where its work is of no connection that there is."""
        trunk = self.trunk
        job = trunk.find(work.job_id) if trunk is not None else None
        if trunk is None or job is None:
            settle(LOST)
            return
        trunk.submit(user, job, share, submit, settle)

    def _take_up(self, identity: MinerIdentity) -> None:
        """A miner that resumed its session names itself: another one begins anew on the same seat."""
        if self._former == identity:
            self._named(identity)
            return
        self._is_in, self._former = False, None
        self._floor, self._is_spoilt = None, False
        self.session.restart()
