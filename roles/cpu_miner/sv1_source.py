"""Work from an SV1 server, shares back to it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from protocols.bitcoin.target import from_difficulty
from protocols.sv1.errors import Rejection, Sv1Error
from protocols.sv1.line import Overlong
from protocols.sv1.messages import Call, Reply, error_reply, parse, reply, request
from protocols.sv1.notifications import (
    read_notify,
    read_set_difficulty,
    read_set_extranonce,
    read_set_version_mask,
)
from protocols.sv1.results import Subscription, read_subscription, read_version_mask
from roles.cpu_miner.tally import Tally, Verdict
from roles.cpu_miner.work import ROLLED_BITS, Candidate, Work
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectionLost
from roles.runtime.line_connection import Line, LineConnection
from roles.runtime.readiness import Readiness

AGENT = "hashpool-cpu_miner"
CONFIGURE, SUBSCRIBE, AUTHORIZE, EXTRANONCE = 1, 2, 3, 4
FIRST_SUBMIT = 100
ANSWER_S = 10.0
SILENCE_S = 600.0
VERDICT_S = 60.0
UNANSWERED = 1024
NOBODY_KNOWS = "No verdict"

_log = logging.getLogger(__name__)


class ServerUnusable(Exception):
    """The server does not let us mine; the text says why."""


@dataclass(frozen=True, slots=True)
class Login:
    """As whom to mine; the password stays out of logs."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


class Sv1Source:
    """Keeps a session with the server: `assign` hears of work, `submit` takes what is found on it."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[LineConnection]],
        login: Login,
        *,
        assign: Callable[[Work | None, bool], None],
        tally: Tally,
        readiness: Readiness,
        backoff: Backoff | None = None,
    ) -> None:
        self._dial = dial
        self._login = login
        self._assign = assign
        self._tally = tally
        self._readiness = readiness
        self._backoff = backoff or Backoff(first_s=0.2, limit_s=5.0)
        self._session: _Session | None = None
        readiness.declare("work", "no job yet")

    async def run(self) -> None:
        """Connect, mine and reconnect until cancelled."""
        while True:
            reason = ""
            try:
                await self._mine()
            except (ConnectionLost, Sv1Error, ServerUnusable, TimeoutError) as error:
                reason = str(error) or "the server stays silent"
            finally:
                self._release(reason)
            await self._backoff.wait()

    def submit(self, candidate: Candidate) -> None:
        """Send a share of the present session's work; its verdict is counted."""
        if self._session:
            self._session.submit(candidate)

    async def _mine(self) -> None:
        connection = await self._dial()
        try:
            self._session = _Session(connection, self._login, self._assign_work, self._tally)
            await self._session.run()
        finally:
            connection.close()

    def _assign_work(self, work: Work, is_clean: bool) -> None:
        self._backoff.reset()
        self._readiness.met("work")
        self._assign(work, is_clean)

    def _release(self, reason: str) -> None:
        session, self._session = self._session, None
        if session:
            session.give_up()
        self._assign(None, True)
        if reason:
            # Said once; a hundred attempts that fail alike are no news.
            known = self._readiness.reasons.get("work") == reason
            _log.log(
                logging.DEBUG if known else logging.WARNING,
                "no work from the server",
                extra={"reason": reason},
            )
            self._readiness.unmet("work", reason)


class _Session:
    """One connection, from subscribe to its end."""

    def __init__(
        self,
        connection: LineConnection,
        login: Login,
        assign: Callable[[Work, bool], None],
        tally: Tally,
    ) -> None:
        self._connection = connection
        self._login = login
        self._assign = assign
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._subscription: Subscription | None = None
        self._is_authorized = False
        self._early: list[Any] | None = None
        self._difficulty = Fraction(1)
        self._mask = 0
        self._submits: dict[bytes, float] = {}
        self._next = FIRST_SUBMIT

    async def run(self) -> None:
        """Serve until the connection ends; raises ConnectionLost, ServerUnusable, TimeoutError."""
        login = self._login
        rolling = {"version-rolling.mask": f"{ROLLED_BITS:08x}", "version-rolling.min-bit-count": 2}
        self._connection.send(
            request(CONFIGURE, "mining.configure", [["version-rolling"], rolling]),
            request(SUBSCRIBE, "mining.subscribe", [AGENT]),
            request(AUTHORIZE, "mining.authorize", [login.user, login.password]),
            request(EXTRANONCE, "mining.extranonce.subscribe", []),
        )
        while True:
            has_begun = self._subscription is not None and self._is_authorized
            async with asyncio.timeout(SILENCE_S if has_begun else ANSWER_S):
                lines = await self._connection.receive_batch()
            for line in lines:
                self._hear(line)
            self._expire()

    def submit(self, candidate: Candidate) -> None:
        """Send a share, unless too many wait for an answer."""
        self._tally.sent()
        if len(self._submits) >= UNANSWERED:
            self._tally.settle(Verdict.UNKNOWN)
            return
        piece = candidate.piece
        params = [
            self._login.user,
            piece.work.job_id,
            piece.extranonce.hex(),
            f"{piece.ntime:08x}",
            f"{candidate.nonce:08x}",
        ]
        if piece.work.mask:
            params.append(f"{piece.version & piece.work.mask:08x}")
        number, self._next = self._next, self._next + 1
        self._submits[b"%d" % number] = self._loop.time()
        try:
            self._connection.send(request(number, "mining.submit", params))
        except ConnectionLost:
            # The reader hears of it, too, and counts what is unanswered.
            return

    def give_up(self) -> None:
        """Nobody will answer any more."""
        for _ in self._submits:
            self._tally.settle(Verdict.UNKNOWN)
        self._submits.clear()

    def _hear(self, line: Line) -> None:
        if isinstance(line, Overlong):
            _log.warning("the server sent a line that is too long")
            return
        try:
            message = parse(line)
            if isinstance(message, Reply):
                self._hear_reply(message)
            elif isinstance(message, Call):
                self._hear_call(message)
        except Rejection as error:
            _log.warning("the server sent what is no message", extra={"reason": str(error)})

    def _hear_reply(self, answer: Reply) -> None:
        if answer.id in self._submits:
            del self._submits[answer.id]
            reason = answer.error.text if answer.error else "no reason"
            self._tally.settle(_verdict(answer), reason)
        elif answer.id == b"%d" % CONFIGURE:
            self._mask = 0 if answer.error else read_version_mask(answer.result) & ROLLED_BITS
        elif answer.id == b"%d" % SUBSCRIBE:
            if answer.error:
                raise ServerUnusable(f"subscribe was refused: {answer.error.text}")
            self._subscription = read_subscription(answer.result)
            self._begin_early()
        elif answer.id == b"%d" % AUTHORIZE:
            if answer.error or answer.result is not True:
                text = answer.error.text if answer.error else "no reason"
                raise ServerUnusable(f"the user was refused: {text}")
            self._is_authorized = True

    def _hear_call(self, call: Call) -> None:
        match call.method:
            case "mining.notify":
                self._notify(call.params)
            case "mining.set_difficulty":
                self._difficulty = read_set_difficulty(call.params)
            case "mining.set_version_mask":
                self._mask = read_set_version_mask(call.params) & ROLLED_BITS
            case "mining.set_extranonce":
                given = read_set_extranonce(call.params)
                self._subscription = Subscription(given.extranonce1, given.extranonce2_size, "")
            case "client.get_version":
                self._connection.send(reply(call.id, AGENT))
            case "client.reconnect":
                raise ServerUnusable("the server asks us to connect anew")
            case "mining.ping":
                self._connection.send(reply(call.id, "pong"))
            case _ if call.id != b"null":
                self._connection.send(error_reply(call.id, Rejection(20, "Unknown method")))
            case _:
                _log.debug("the server sent %s", call.method[:40])

    def _notify(self, params: list[Any]) -> None:
        subscription = self._subscription
        if subscription is None:
            self._early = params
            return
        job = read_notify(params)
        work = Work(
            job_id=job.job_id,
            previous=job.previous,
            version=job.version,
            bits=job.bits,
            ntime=job.ntime,
            target=from_difficulty(self._difficulty),
            mask=self._mask,
            coinbase1=job.coinbase1 + subscription.extranonce1,
            coinbase2=job.coinbase2,
            merkle_path=job.branches,
            extranonce_size=subscription.extranonce2_size,
        )
        self._assign(work, job.clean)

    def _begin_early(self) -> None:
        early, self._early = self._early, None
        if early is not None:
            self._notify(early)

    def _expire(self) -> None:
        before = self._loop.time() - VERDICT_S
        late = [number for number, sent in self._submits.items() if sent < before]
        for number in late:
            del self._submits[number]
            self._tally.settle(Verdict.UNKNOWN)


def _verdict(answer: Reply) -> Verdict:
    if answer.error is None and answer.result is True:
        return Verdict.ACCEPTED
    if answer.error and answer.error.text.startswith(NOBODY_KNOWS):
        return Verdict.UNKNOWN
    return Verdict.REJECTED
