"""How a connection with an SV1 pool is opened: dialled, subscribed, its account let in, and given work."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from protocols.sv1.client import (
    Answered,
    Authorized,
    ClientSession,
    Configured,
    Job,
    Redirected,
    Subscribed,
)
from protocols.sv1.line import Overlong
from protocols.sv1.notifications import Notify
from protocols.sv1.redirect import Redirect, is_same_domain
from protocols.sv1.results import Subscription
from protocols.translation.version_mask import SV1_MASK
from roles.runtime.errors import ConnectionLost
from roles.runtime.line_connection import Line, LineConnection, connect
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.tls_client import TlsClient, tls_client
from roles.stratum.errors import UpstreamUnusable
from shared_config.address import Address
from shared_config.sv1_upstream import Sv1PoolSettings, UpstreamLimits, UpstreamTimes

__all__ = ["AGENT", "PoolTerms", "Sv1Link", "Sv1Opener", "Sv1Pool"]

AGENT: Final = "hashpool-sv1_proxy/0.1"
"""Who we say we are; a further proxy of ours is known by what stands before the slash."""
DIFFICULTY_S: Final = 1.0
"""How long the first work waits for its difficulty, which is 1 if none comes."""
REDIRECTED: Final = "redirected"
"""Why a connection ended that the pool has sent elsewhere."""
LEAST_EXTRANONCE2: Final = 3
"""A byte for us, and two that firmware rolls."""
OVERLONG: Final = "the pool sends a line that is too long"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sv1Pool:
    """A pool, and who we are there: `user` and `password` are let in first on every connection."""

    name: str
    address: Address
    user: str
    password: str = field(default="x", repr=False)
    tls: TlsClient | None = None
    suggest_difficulty: float | None = None

    @classmethod
    def of(
        cls,
        settings: Sv1PoolSettings,
        find: Callable[[Path], Path],
        *,
        user: str,
        password: str,
        suggest_difficulty: float | None,
    ) -> "Sv1Pool":
        """As the configuration has it; `find` resolves files. Raises TlsUnusable."""
        tls = None
        if settings.tls:
            authority, fingerprint = settings.tls_ca_file, settings.tls_fingerprint
            tls = tls_client(
                settings.address.host,
                authority=None if authority is None else find(authority),
                fingerprint=None if fingerprint is None else fingerprint.replace(":", "").lower(),
            )
        return cls(settings.label, settings.address, user, password, tls, suggest_difficulty)


@dataclass(frozen=True, slots=True)
class PoolTerms:
    """How pools are waited for, what one may make grow, and how long a share waits for others."""

    times: UpstreamTimes = field(default_factory=UpstreamTimes)
    limits: UpstreamLimits = field(default_factory=UpstreamLimits)
    gather_s: float = 0.0


@dataclass(slots=True)
class Sv1Link:
    """A connection that has been set up, with the first work and the extranonce that was granted for it."""

    opener: "Sv1Opener"
    connection: LineConnection
    session: ClientSession
    notify: Notify
    granted: Subscription

    @property
    def pool(self) -> Sv1Pool:
        """Whose it is."""
        return self.opener.pool

    def close(self) -> None:
        """End it."""
        self.connection.close()


class Sv1Opener:
    """Opens connections of one trunk with one pool, and remembers what the pool knows us by."""

    def __init__(self, pool: Sv1Pool, terms: PoolTerms, agent: str = AGENT) -> None:
        self.pool = pool
        self.terms = terms
        self._agent = agent
        self._session = ""
        self._session_until = 0.0
        self._elsewhere: Address | None = None
        self._redirects = 0
        self._is_plain = False
        self._is_bare = False

    def resume(self, session: str) -> None:
        """Ask to go on with a session that has just been lost."""
        self._session = session
        self._session_until = asyncio.get_running_loop().time() + self.terms.times.resume_s

    def stayed(self) -> None:
        """A connection has lived for long, wherever it was."""
        self._redirects = 0

    def redirect(self, where: Redirect) -> bool:
        """Connect there the next time; False where the pool may not send us there."""
        host = where.host or self.pool.address.host
        may = is_same_domain(self.pool.address.host, host)
        if not may or self._redirects >= self.terms.limits.redirects:
            _log.warning("a redirect is not followed", extra={"upstream": self.pool.name, "host": host})
            return False
        self._redirects += 1
        self._elsewhere = Address(host, where.port or self.pool.address.port)
        return True

    async def open(self) -> Sv1Link:
        """Connect once; raises ConnectionLost or UpstreamUnusable."""
        pool, limits, loop = self.pool, self.terms.limits, asyncio.get_running_loop()
        address, self._elsewhere = self._elsewhere or pool.address, None
        tls = pool.tls
        if tls is not None and address.host != pool.address.host:
            tls = tls.named(address.host)
        connection = await connect(
            address,
            timeout=self.terms.times.connect_s,
            line_limit=limits.line_bytes,
            limits=StreamLimits(unread=max(1 << 18, 2 * limits.line_bytes)),
            tls=tls,
        )
        session = self._session if loop.time() < self._session_until else ""
        self._session = ""
        setup = _SetUp(self, connection, ClientSession(self._agent, SV1_MASK))
        try:
            await setup.run(session, is_plain=self._is_plain)
            if self._is_plain and not self._is_bare:
                await setup.configure_late()
        except BaseException as error:
            # Some pools hang up on what they do not know, so it is left out the next time; others do because
            # they have no work yet, so it is tried once more behind the first work.
            if isinstance(error, ConnectionLost) and not setup.subscribed:
                self._is_plain = not self._is_plain
            self._is_bare |= isinstance(error, ConnectionLost) and setup.is_late
            connection.close()
            raise
        assert setup.work is not None
        link = Sv1Link(self, connection, setup.session, *setup.work)
        if (size := link.granted.extranonce2_size) < LEAST_EXTRANONCE2:
            connection.close()
            raise UpstreamUnusable(
                f"the pool grants {size} bytes of extranonce2, {LEAST_EXTRANONCE2} are needed"
            )
        return link


class _SetUp:
    """The first words on one connection."""

    def __init__(self, opener: Sv1Opener, connection: LineConnection, session: ClientSession) -> None:
        self.session = session
        self.subscribed = False
        self.work: tuple[Notify, Subscription] | None = None
        self._opener = opener
        self._connection = connection
        self._wants = "an answer to the subscription"
        self._has_answered_mask = False
        self._is_let_in = False
        self.is_late = False
        """Whether version rolling was asked for behind the first work only."""

    async def run(self, former: str, *, is_plain: bool) -> None:
        """Raises UpstreamUnusable, or ConnectionLost."""
        connection, session, pool = self._connection, self.session, self._opener.pool
        seconds = self._opener.terms.times.setup_s
        self._has_answered_mask = is_plain
        first = [] if is_plain else [session.configure()]
        connection.send(*first, session.subscribe(former))
        try:
            async with asyncio.timeout(seconds):
                while not self.subscribed:
                    self._take(await connection.receive())
                lines = [session.authorize(pool.user, pool.password)]
                if pool.suggest_difficulty is not None:
                    lines.append(session.suggest_difficulty(pool.suggest_difficulty))
                if not is_plain:
                    lines.append(session.subscribe_extranonce())
                connection.send(*lines)
                self._wants = "a word on our name"
                while not self._is_let_in:
                    self._take(await connection.receive())
                self._wants = "work"
                while self.work is None:
                    self._take(await connection.receive())
        except TimeoutError:
            raise UpstreamUnusable(f"the pool has not given {self._wants} within {seconds:g} s") from None
        await self._hear_difficulty()

    async def configure_late(self) -> None:
        """Ask for version rolling after all; raises ConnectionLost."""
        self.is_late, self._has_answered_mask = True, False
        self._connection.send(self.session.configure(), self.session.subscribe_extranonce())
        await self._hear_difficulty()

    async def _hear_difficulty(self) -> None:
        """Some pools tell the difficulty, or the version mask, only behind the first work."""
        try:
            async with asyncio.timeout(DIFFICULTY_S):
                while self.session.difficulty is None or not self._has_answered_mask:
                    self._take(await self._connection.receive())
        except TimeoutError:
            pass

    def _take(self, line: Line) -> None:
        if isinstance(line, Overlong):
            raise UpstreamUnusable(OVERLONG)
        event = self.session.receive(line)
        if isinstance(event, Answered):
            if event.line:
                self._connection.send(event.line)
        elif isinstance(event, Configured):
            self._has_answered_mask = True
        elif isinstance(event, Subscribed):
            if event.refusal is not None:
                raise UpstreamUnusable(f"the pool grants no subscription: {event.refusal.text}")
            self.subscribed = True
        elif isinstance(event, Authorized):
            if event.refusal is not None:
                raise UpstreamUnusable(f"the pool does not let our name in: {event.refusal.text}")
            self._is_let_in = True
        elif isinstance(event, Job) and self.session.granted is not None:
            self.work = event.notify, self.session.granted
        elif isinstance(event, Redirected) and self._opener.redirect(event.where):
            raise ConnectionLost("the pool sends us to another of its servers", code=REDIRECTED)
