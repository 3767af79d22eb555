"""All miners of one instance, and the trunks to the pool that they sit on."""

import asyncio
import logging
import secrets
from collections.abc import Iterator
from typing import Final, Generic, Protocol, TypeVar

from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.results import Subscription
from protocols.translation.errors import ExtranonceTooSmall, SlicesExhausted
from protocols.translation.extranonce import Layout
from protocols.translation.slicing import Slicing
from protocols.translation.upstream_job import UpstreamJob
from roles.runtime.ban_list import BanList
from roles.runtime.line_connection import LineConnection
from roles.stratum.lodger import LodgingTerms
from roles.stratum.miner_session import SessionLimits
from roles.stratum.reception import SESSION_ID_BYTES, Reception
from roles.stratum.trunk import Trunk
from roles.sv1_proxy.guest import Guest, Landlord, Seat

__all__ = ["PROXY_AGENT", "Make", "Relay", "TrunkLines"]

PROXY_AGENT: Final = "hashpool-sv1_proxy/"
"""What another instance calls itself."""
RENEWED_AT_ONCE: Final = 250
"""Miners that are given other work before others have their turn."""
UNSEATED: Final = Layout(8)
"""Of a miner that has not subscribed yet; it is told another one."""

_log = logging.getLogger(__name__)

G = TypeVar("G", bound=Guest)

G_co = TypeVar("G_co", bound=Guest, covariant=True)


class Make(Protocol[G_co]):
    """Makes a miner of an instance."""

    def __call__(
        self,
        granted: Subscription,
        layout: Layout,
        terms: LodgingTerms,
        landlord: Landlord,
        *,
        port_class: str | None = None,
    ) -> G_co: ...


class TrunkLines(Protocol):
    """The trunks to the pool in use."""

    @property
    def is_connected(self) -> bool:
        """Whether a miner could be given work now."""

    @property
    def least_extranonce2(self) -> int | None:
        """The least that any of the pools has granted when it was last asked, None before any was."""

    def __iter__(self) -> Iterator[Trunk]:
        """Those that there are, the first one first."""

    def more(self) -> Trunk | None:
        """A further one, which need not be connected yet; None where no more may be."""


class Relay(Reception[G], Generic[G]):
    """Serves SV1 connections, each with an extranonce1 that no other on its trunk has.

    While no pool is there new miners are refused, so that they mine elsewhere meanwhile. `slicing` says how
    the pool's extranonce is shared out.
    """

    def __init__(
        self,
        make: Make[G],
        *,
        slicing: Slicing,
        terms: LodgingTerms,
        limits: SessionLimits,
        bans: BanList | None = None,
        remembered: int = 2_000,
        session_s: float = 180.0,
        parked_sessions: int = 1_000,
    ) -> None:
        super().__init__(
            terms=terms,
            limits=limits,
            bans=bans,
            remembered=remembered,
            session_s=session_s,
            parked_sessions=parked_sessions,
        )
        self.slicing = slicing
        self.unseated = 0
        """Miners that were refused because the pool's extranonce has no room for them."""
        self.let_go = 0
        """Miners that another pool's extranonce was too small for."""
        self.trunks: TrunkLines
        """Set before the first connection: they tell the relay what they hear."""
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._guests: dict[Trunk, dict[Guest, None]] = {}
        self._by_seat: dict[Seat, Guest] = {}

    async def serve(self, connection: LineConnection, port_class: str | None = None) -> None:
        """Serve one connection to its end, on a port for any or for one class of firmware.

        Raises ConnectionLost.
        """
        if not self.trunks.is_connected:
            self.turned_away += 1
            connection.close("no upstream", code="no-upstream")
            return
        granted = Subscription(b"", UNSEATED.extranonce2_size, secrets.token_hex(SESSION_ID_BYTES))
        await self._receive(
            connection, self._make(granted, UNSEATED, self._terms, self, port_class=port_class)
        )

    def on(self, trunk: Trunk) -> tuple[Guest, ...]:
        """Who sits on a trunk, those included whose socket is gone."""
        return tuple(self._guests.get(trunk, ()))

    # What trunks tell

    def opened(self, trunk: Trunk) -> None:
        """A trunk is connected."""
        for guest in self.on(trunk):
            guest.opened()

    def job(self, trunk: Trunk, job: UpstreamJob) -> None:
        """There is other work for all miners on a trunk."""
        self._renew(trunk, job, self.on(trunk))

    def lost(self, trunk: Trunk, reason: str) -> None:
        """A trunk is not connected any more."""
        _log.info("miners wait for the pool", extra={"reason": reason, "miners": len(self.on(trunk))})
        for guest in self.on(trunk):
            guest.lost()

    def _renew(self, trunk: Trunk, job: UpstreamJob, guests: tuple[Guest, ...]) -> None:
        if trunk.job is not job:
            # Newer work has come to all of them.
            return
        for guest in guests[:RENEWED_AT_ONCE]:
            if guest.trunk is trunk:
                guest.renew(job)
        if len(guests) > RENEWED_AT_ONCE:
            self._loop.call_soon(self._renew, trunk, job, guests[RENEWED_AT_ONCE:])

    # What miners ask

    def seat(self, guest: Guest) -> Seat:
        """A seat on the first trunk that has one, else on a further one; raises Rejection where there is
        none.
        """
        rolled = guest.session.handshake.firmware.extranonce2_size
        is_proxy = guest.agent.startswith(PROXY_AGENT)
        try:
            for trunk in sorted(self.trunks, key=lambda each: not each.is_connected):
                try:
                    return self._seat_on(trunk, rolled, is_proxy=is_proxy)
                except SlicesExhausted:
                    continue
            further = self.trunks.more()
            if further is not None:
                return self._seat_on(further, rolled, is_proxy=is_proxy)
            reason = "No extranonce is free, come again"
        except ExtranonceTooSmall:
            reason = "Upstream's extranonce is too small"
        self.unseated += 1
        raise Rejection(ErrorCode.OTHER, reason)

    def _seat_on(self, trunk: Trunk, rolled: int | None, *, is_proxy: bool) -> Seat:
        if trunk.granted is None:
            raise SlicesExhausted("nothing is granted yet")
        size = trunk.granted.extranonce2_size
        try:
            # What is enough for this pool alone would keep its miners from the others.
            least = min(size, self.trunks.least_extranonce2 or size)
            layout = self.slicing.layout(least, rolled=rolled, is_proxy=is_proxy)
        except ExtranonceTooSmall:
            layout = self.slicing.layout(size, rolled=rolled, is_proxy=is_proxy)
        return Seat(trunk, layout, trunk.seat(layout))

    def seated(self, guest: Guest, seat: Seat) -> None:
        """The seat is this miner's from now on, whoever's it was."""
        sitting = self._guests.setdefault(seat.trunk, {})
        former = self._by_seat.get(seat)
        if former is not None:
            sitting.pop(former, None)
        sitting[guest] = None
        self._by_seat[seat] = guest

    def leave(self, seat: Seat) -> None:
        """The seat is nobody's any more."""
        guest = self._by_seat.pop(seat, None)
        if guest is not None:
            self._guests[seat.trunk].pop(guest, None)
        seat.trunk.give_back(seat.layout, seat.extranonce1)

    def outgrown(self) -> None:
        """A pool's extranonce is too small for what a miner rolls, which is let go."""
        self.let_go += 1
