"""What all sessions share, and what is done for all of them: new work, and targets that follow the miners."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from roles.pool.admission import Admission
from roles.pool.meters import Meters
from roles.pool.notices import Notices
from roles.pool.share_desk import ShareDesk
from roles.pool.terms import Terms
from roles.pool.workshop import Workshop

if TYPE_CHECKING:
    from roles.pool.resumptions import Resumptions
    from roles.pool.session import Session

TICK_S = 1.0
BREATH = 32
"""Sessions served before others have their turn."""


@dataclass(slots=True, eq=False)
class Floor:
    """The pool from a session's point of view; clocks give Unix and monotonic seconds."""

    terms: Terms
    workshop: Workshop
    admission: Admission
    desk: ShareDesk
    notices: Notices
    meters: Meters
    clock: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    resumptions: "Resumptions | None" = None
    """What sees to it where channels can be resumed."""
    sessions: "set[Session]" = field(default_factory=set)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _announced: asyncio.Event = field(default_factory=asyncio.Event)
    _barred: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._announced.set()

    def work_changed(self) -> None:
        """There is other work to be mined on."""
        self._changed.set()
        self._announced.clear()

    async def announce(self) -> None:
        """Send new work to all channels as it comes, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            with self.meters.templates.fanout.time():
                for number, session in enumerate(tuple(self.sessions)):
                    for _ in session.refresh():
                        await asyncio.sleep(0)
                    if number % BREATH == BREATH - 1:
                        await asyncio.sleep(0)
            if not self._changed.is_set():
                self._announced.set()

    def bans_changed(self) -> None:
        """The operator turns others away from now on."""
        self._barred.set()

    async def turn_away(self) -> None:
        """Close the channels of whom the operator comes to turn away, until cancelled."""
        while True:
            await self._barred.wait()
            self._barred.clear()
            for number, session in enumerate(tuple(self.sessions)):
                for _ in session.expel():
                    await asyncio.sleep(0)
                if number % BREATH == BREATH - 1:
                    await asyncio.sleep(0)

    async def follow_miners(self) -> None:
        """Look at every channel's target each second, unless new work is on its way; until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            for number, session in enumerate(tuple(self.sessions)):
                if number % BREATH == 0:
                    await asyncio.sleep(0)
                    await self._announced.wait()
                for _ in session.adjust():
                    await asyncio.sleep(0)
                    await self._announced.wait()

    def hashrate(self) -> float:
        """Estimated hashes a second of all channels."""
        now = self.monotonic()
        return sum(session.hashrate(now) for session in self.sessions)
