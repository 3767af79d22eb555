"""Where miners are received: those that are here, what is kept for those that may come back, and who is not
let in.
"""

import asyncio
from collections.abc import Iterator
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry

from roles.runtime.ban_list import BANNED, BanList
from roles.runtime.line_connection import LineConnection
from roles.stratum.latencies import Latencies
from roles.stratum.lodger import Lodger, LodgingTerms
from roles.stratum.miner_identity import MinerIdentity
from roles.stratum.miner_roll import MinerRoll
from roles.stratum.miner_session import MinerSession, SessionLimits, SessionTiming
from roles.stratum.parking import Parking
from roles.stratum.tally import Tally
from roles.stratum.work_rate import WorkRate
from roles.stratum.worker_metrics import Worker

__all__ = ["SESSION_ID_BYTES", "Reception"]

SESSION_ID_BYTES = 16
CUT_FOR_CAUSE = frozenset({"too-costly", "bad-shares", BANNED})
"""Ends of connections after which nothing is kept."""
STRANGERS = 8
"""One in so many sessions that are kept may be of a miner that has shown no work."""

L = TypeVar("L", bound=Lodger)


class Reception(Generic[L]):
    """Serves miners to the end of their sockets, and keeps what they had for a while.

    Of those that leave, `remembered` go on with their figures when they come back. What a miner had is kept
    for `session_s` after its socket has gone, for at most `parked_sessions` of them; one that names its
    session gets it back. The id is as good as a password, and nobody else is told it.
    """

    def __init__(
        self,
        *,
        terms: LodgingTerms,
        limits: SessionLimits,
        bans: BanList | None = None,
        remembered: int = 2_000,
        session_s: float = 180.0,
        parked_sessions: int = 1_000,
    ) -> None:
        now = asyncio.get_running_loop().time()
        self._totals = Tally(rate=WorkRate(now), verdicts=Latencies())
        self.roll = MinerRoll(remembered)
        self.turned_away = 0
        self.resumed = 0
        self.bans = bans or BanList(CollectorRegistry())
        self._timing = SessionTiming(limits.tick_s)
        self._terms = terms
        self._limits = limits
        self._miners: dict[L, None] = {}
        self._sessions: dict[str, L] = {}
        self._parked = Parking[L](keep_s=session_s, limit=parked_sessions, release=self._release)
        self._strangers = Parking[L](
            keep_s=session_s, limit=_strangers(parked_sessions), release=self._release
        )

    def __len__(self) -> int:
        return len(self._miners)

    def __iter__(self) -> Iterator[L]:
        return iter(self._miners)

    def workers(self) -> Iterator[Worker]:
        """Those that have named themselves, for metrics."""
        for miner in self._miners:
            if miner.identity is not None:
                yield Worker(miner.identity.user, miner.session.desk.tally, miner.session.told)

    @property
    def totals(self) -> Tally:
        """The books of all."""
        return self._totals

    @property
    def pending(self) -> int:
        """Shares that wait for their verdict."""
        return sum(miner.session.desk.pending for miner in self._miners)

    @property
    def parked(self) -> int:
        """Sessions that are kept without a socket."""
        return len(self._parked) + len(self._strangers)

    @property
    def not_resumed(self) -> dict[str, int]:
        """Sessions that nobody came back for: in time, or before others needed the room."""
        both = (self._parked, self._strangers)
        return {"expired": sum(each.expired for each in both), "evicted": sum(each.evicted for each in both)}

    def bind(self, terms: LodgingTerms, limits: SessionLimits) -> None:
        """Have other terms from now on, also for those that are here, and other limits for those to come."""
        self._terms, self._limits = terms, limits
        for miner in self._miners:
            miner.terms = terms

    def keep_sessions(self, session_s: float, parked_sessions: int) -> None:
        """Keep so many for so long from now on."""
        self._parked.bind(session_s, parked_sessions)
        self._strangers.bind(session_s, _strangers(parked_sessions))

    def cut_barred(self) -> None:
        """Let go of miners that the operator turns away by now."""
        for miner in tuple(self._miners):
            if any(map(self.is_barred, miner.identities)):
                miner.session.close("the operator turns this miner away", code=BANNED)

    def close(self) -> None:
        """The service ends: no session is kept any more."""
        self._parked.close()
        self._strangers.close()

    async def drain(self, seconds: float, looks: int = 40) -> None:
        """Let verdicts that are on their way arrive, for so long at most."""
        for _ in range(looks):
            if not self.pending:
                return
            await asyncio.sleep(seconds / looks)

    # What miners ask

    def is_barred(self, identity: MinerIdentity) -> bool:
        """Whether the operator turns a miner away."""
        return self.bans.bars_miner(identity.user, identity.key)

    def resume(self, miner: L, session: str) -> bool:
        """A miner that comes to a port of the same class, with the same firmware, goes on where it was."""
        places = (self._parked, self._strangers)
        live = self._sessions.get(session)
        former = live or next((found for place in places if (found := place.get(session))), None)
        if former is None or former is miner or not former.may_come_back:
            return False
        if (former.port_class, former.agent) != (miner.port_class, miner.agent):
            return False
        for place in places:
            place.take(session)
        miner.follow(former)
        self._sessions[session] = miner
        if live is not None:
            self._sessions[former.granted.session] = live
        else:
            del self._sessions[former.granted.session]
            self._release(former)
        self.resumed += 1
        return True

    def came_back_anew(self, miner: L) -> None:
        """Firmware that names no session will not ask for one later: what it had is of no use."""
        for place in (self._parked, self._strangers):
            place.came_back_anew(miner.who)

    def dismissed(self, miner: L) -> None:
        """Nothing is kept for a miner that has no place any more."""
        for place in (self._parked, self._strangers):
            place.drop(miner.granted.session)

    # What a subclass says and uses

    def _begun(self, miner: L) -> None:
        """A miner has its session, which has heard nothing yet."""

    def _vacated(self, miner: L) -> None:
        """Nobody has any more what this miner was granted."""

    async def _receive(self, connection: LineConnection, miner: L) -> None:
        """Serve a miner to the end of its socket; raises ConnectionLost."""
        miner.session = MinerSession(
            connection,
            miner,
            granted=miner.granted,
            layout=miner.layout,
            limits=self._limits,
            totals=self._totals,
            tally=self.roll.begin(asyncio.get_running_loop().time()),
            port_class=miner.port_class,
            timing=self._timing,
        )
        self._begun(miner)
        self._miners[miner] = None
        self._sessions[miner.granted.session] = miner
        try:
            await miner.session.run()
        finally:
            del self._miners[miner]
            del self._sessions[miner.granted.session]
            miner.leave()
            if not (self._is_welcome_back(connection, miner) and self._park(miner)):
                self._release(miner)

    @staticmethod
    def _is_welcome_back(connection: LineConnection, miner: L) -> bool:
        code, _ = connection.reason or ("", "")
        return miner.may_come_back and code not in CUT_FOR_CAUSE

    def _park(self, miner: L) -> bool:
        place = self._parked if miner.is_proven else self._strangers
        return place.put(miner.granted.session, miner.who, miner)

    def _release(self, miner: L) -> None:
        miner.close()
        self._vacated(miner)


def _strangers(parked_sessions: int) -> int:
    return -(-parked_sessions // STRANGERS)
