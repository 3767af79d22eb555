"""Miners that do nothing but find shares, served together by the native kernel.

A miner sits down at the hub when a share of it was accepted and nothing else is about. The hub looks at all
sockets once in a few milliseconds, sends the shares up in one write, and answers those that are accepted;
what it has counted its sessions hear when they ask. Whatever is unusual (another line, part of one, a
refusal, a verdict that is late, the end of either connection) has the miner stand up first: its session is
then as if it had served all shares itself, and goes on.
"""

import asyncio
import os
import select
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from protocols.sv2.share_frame import SHARE_HEADERS, SUCCESS
from roles.runtime.kernel import HubMaker, kernel
from roles.stratum.connection import Plain
from roles.stratum.miner_session import MinerSession
from roles.stratum.mining_session import MiningSession
from roles.stratum.tally import Tally
from roles.stratum.upstream_channel import UpstreamChannel

__all__ = ["Hub", "hub_maker"]

LATE_S: Final = 1.0
"""A verdict that takes so long is waited for by the session, which knows what to do about it."""
QUIET_LOOKS: Final = 4
"""Looks in a row that find nothing, after which the next one waits until a miner speaks."""


def hub_maker() -> HubMaker | None:
    """What makes the native part, None where there is none."""
    return kernel().hub


def _poll_of(loop: asyncio.AbstractEventLoop) -> select.epoll | None:
    """The epoll of uvloop, which keeps a socket that is read from no longer until it speaks once more: the
    loop would wake up for that. None for a loop that forgets it at once.
    """
    number = getattr(loop, "_get_backend_id", None)
    return None if number is None else select.epoll.fromfd(os.dup(number()))


class Hub:
    """Serves miners whose channels are open on one connection, the `carrier`; `totals` counts along. Looks
    are `gather` seconds apart.
    """

    def __init__(self, carrier: MiningSession, totals: Tally, verdict_s: float, gather: float) -> None:
        self.carrier = carrier
        self._totals = totals
        self._late = min(LATE_S, verdict_s / 2)
        self._gather = gather
        self._loop = asyncio.get_running_loop()
        self._native: Any = None
        self._tending: asyncio.TimerHandle | None = None
        self._poll = _poll_of(self._loop)

    def __len__(self) -> int:
        return 0 if self._native is None else len(self._native)

    def sit(self, session: MinerSession, channel: UpstreamChannel) -> None:
        """Serve a miner from now on, if nothing is unusual about it."""
        place = Place(self, session, channel)
        lent = None if channel.is_waiting else session.lend(place)
        if lent is None:
            return
        if self._native is None:
            self._open()
        socket, line_limit, unsent = lent
        desk = session.desk
        lane = channel.lend(place.leave)
        try:
            place.native = self._native.sit(
                place,
                unsent,
                (socket, line_limit),
                lane,
                desk.own_extranonce,
                session.handshake.mask,
                desk.jobs.kept,
                session.cost.state,
            )
        except (OSError, ValueError):
            # Nothing that Python could not do as well.
            session.go_on(0.0)
            channel.take_back(lane[1], ())
            self.left()
            return
        if self._poll is not None and not unsent():
            # Who has yet to send waits to hear that it can.
            with suppress(OSError):
                self._poll.unregister(socket)

    def catch_up(self) -> None:
        """Have all hear what a look has found that failed, before anybody stands up and reads on."""
        if self._native.owes:
            self._native.tick()

    def count(self) -> None:
        """Have the totals know of all shares that have been found."""
        if self._native is not None:
            shares, when, best = self._native.found()
            if shares:
                self._totals.found(int.from_bytes(best, "little"), max(when, self._totals.last or when))

    def left(self) -> None:
        """Somebody has stood up."""
        if self._native is None or len(self._native):
            return
        self.count()
        self._loop.remove_reader(self._native.fileno())
        self._loop.remove_reader(self._native.clock(0.0))
        self._loop.remove_reader(self._native.ends)
        self._native = None
        if self._tending is not None:
            self._tending.cancel()
            self._tending = None

    def _open(self) -> None:
        maker = hub_maker()
        assert maker is not None, "miners sit down only where there is a hub"
        self._native = maker(SHARE_HEADERS, SUCCESS)
        # Most looks call nothing of Python's, which is not in the caches then.
        self._native.serve(self.carrier.outlet, self._heard, QUIET_LOOKS)
        self.carrier.settle = self._settle
        self._tending = self._loop.call_later(self._late / 2, self._tend)
        # A timer of its own costs less than one of the loop for each look.
        self._loop.add_reader(self._native.clock(0.0), self._native.tick)
        # One that has gone may be back in less than the time between two looks.
        self._loop.add_reader(self._native.ends, self._ended)
        self._wait()

    def _ended(self) -> None:
        for place in self._native.ended():
            place.give_back(b"")

    def _wait(self) -> None:
        """Look when a miner has spoken, and those that speak soon after it."""
        spoken = self._spoken if self._gather else self._native.tick
        self._loop.add_reader(self._native.fileno(), spoken)

    def _spoken(self) -> None:
        self._loop.remove_reader(self._native.fileno())
        self._native.clock(self._gather)

    def _heard(self, frames: Sequence[Plain], left: Sequence[tuple["Place", bytes]]) -> None:
        """What looks leave to do: frames that have not left, bytes that are not the hub's, or to rest."""
        if frames:
            self.carrier.forward(frames)
        elif not left and self._gather:
            self._native.clock(0.0)
            self._wait()
        for place, data in left:
            place.give_back(data)

    def _settle(self, frames: Sequence[Plain], start: int) -> tuple[int, int]:
        """Settle what is accepted, as far as nothing else comes between."""
        if self._native is None:
            return 0, start
        now = self._loop.time()
        reached, shares, work, squares, waits, full = self._native.settle(frames, start, now)
        if shares:
            totals = self._totals
            totals.accepted += shares
            totals.rate.add_many(work, squares, shares, now)
            if totals.verdicts is not None:
                totals.verdicts.add_all(waits)
        for place in full:
            place.catch_up()
        return shares, reached

    def _tend(self) -> None:
        """Have sessions wait for what takes long."""
        self._tending = self._loop.call_later(self._late / 2, self._tend)
        self.count()
        for place in self._native.late(self._loop.time() - self._late):
            place.leave()


class Place:
    """Where one miner sits."""

    __slots__ = ("_channel", "_hub", "_session", "native")

    def __init__(self, hub: Hub, session: MinerSession, channel: UpstreamChannel) -> None:
        self._hub = hub
        self._session = session
        self._channel = channel
        self.native: Any = None

    @property
    def pending(self) -> int:
        """Shares that wait for their verdict."""
        return 0 if self.native is None else int(self.native.pending)

    @property
    def oldest(self) -> float | None:
        """When the oldest of them came."""
        oldest: float | None = None if self.native is None else self.native.oldest
        return oldest

    @property
    def heard(self) -> float:
        """When a share came last."""
        return 0.0 if self.native is None else float(self.native.heard)

    def catch_up(self) -> None:
        """Have the session count what was found and accepted meanwhile."""
        sums = None if self.native is None else self.native.sums()
        if sums is None:
            return
        found, when, hashes, best, log = sums
        desk = self._session.desk
        if found:
            desk.found_elsewhere(found, when, hashes, best)
        for work, squares, shares, at in log:
            desk.accepted_elsewhere(work, squares, shares, at)

    def leave(self) -> None:
        """The session goes on, as if it had served all shares itself; harmless when it does so already."""
        if self.native is not None:
            self._hub.catch_up()
        if self.native is None:
            return
        self.catch_up()
        native, self.native = self.native, None
        following, heard, cost, when, waiting = native.leave()
        session, channel = self._session, self._channel
        session.cost.go_on(cost, when)
        session.go_on(heard)
        reopen = session.desk.reopen
        channel.take_back(
            following,
            [
                (sequence, since, reopen(b"%d" % number, share_hash, hashes, since), share)
                for sequence, since, number, share_hash, hashes, share in waiting
            ],
        )
        self._hub.left()

    def tell(self, data: bytes) -> None:
        """Send lines to the miner, from its socket if that takes them at once."""
        self.native.say(data)

    def say(self, answer: bytes) -> None:
        """Send what the hub cannot."""
        self._session.say(answer)

    def give_back(self, data: bytes) -> None:
        """What was read is for the session, and what comes after it."""
        self.leave()
        if data:
            self._session.take_bytes(data)
