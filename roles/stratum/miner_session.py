"""One SV1 miner on the server's side, from its first line to its last.

The owner decides who may mine and what on; the session speaks to the firmware. Its rules:

- Requests come in any order and many in one segment; answers leave in the order of requests. Nothing but
answers to
  earlier requests leaves before the subscription's.
- A difficulty or version mask goes out only in one write with the notify from which it counts.
- A share is answered with the upstream's verdict, or in time with "No verdict from pool"; never true and
rejected later.
- While no other work comes, the present work is sent again before firmware gives up on us, with a later
header time,
  so that it is not the same work.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from protocols.sv1.errors import ErrorCode, MalformedError, Rejection
from protocols.sv1.line import Overlong
from protocols.sv1.messages import Call, error_reply, parse, reply
from protocols.sv1.notifications import set_difficulty, set_version_mask, show_message
from protocols.sv1.results import Subscription
from protocols.translation.difficulty import HASHES_PER_DIFFICULTY, told_difficulty
from protocols.translation.extranonce import Layout
from protocols.translation.version_mask import SV1_MASK, granted_mask
from protocols.translation.work import Work
from roles.runtime.errors import ConnectionLost
from roles.runtime.line_connection import Lent, Line, LineConnection, ServedLines
from roles.stratum.cost import CostAccount, CostTerms
from roles.stratum.deadlines import Deadlines
from roles.stratum.handshake import Gatekeeper, Handshake
from roles.stratum.own_difficulty import OwnDifficulty
from roles.stratum.replies import OrderedReplies
from roles.stratum.rounds import Rounds
from roles.stratum.seat import Seat
from roles.stratum.sent_jobs import SEEN_LIMIT
from roles.stratum.share_desk import ShareDesk, Submitter
from roles.stratum.tally import Tally
from shared_config.sv1_listener import LineLimits

__all__ = ["MinerOwner", "MinerSession", "SessionLimits", "SessionTiming"]

SHARES_OF_A_WORKER = 16
"""Of one tip that are remembered, where all names that there may be are on one connection."""
BAD_SHARES = 5
"""In a row; fewer are bad luck."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds on one connection: times in seconds, what it may `cost`, `open_requests` unanswered ones, and
    names of `workers`; and how many shares a miner shows at least, 0 for as few as the upstream asks for.
    """

    handshake_s: float = 10.0
    authorize_s: float = 60.0
    idle_s: float = 600.0
    line_s: float = 20.0
    bad_shares_s: float = 180.0
    keepalive_s: float = 45.0
    verdict_s: float = 5.0
    cost: CostTerms = field(default_factory=CostTerms)
    open_requests: int = 1_000
    workers: int = 64
    own_shares_per_minute: float = 0.0
    tick_s: float = 5.0

    @classmethod
    def of(
        cls, limits: LineLimits, *, keepalive_s: float, verdict_s: float, own_shares_per_minute: float
    ) -> "SessionLimits":
        """Those of a configuration."""
        cost = limits.cost
        return cls(
            handshake_s=limits.handshake_s,
            authorize_s=limits.authorize_s,
            idle_s=limits.idle_s,
            line_s=limits.line_s,
            bad_shares_s=limits.bad_shares_s,
            keepalive_s=keepalive_s,
            verdict_s=verdict_s,
            cost=CostTerms(
                limits.shares_per_s,
                cost.soft_s,
                cost.hard_s,
                cost.bad_line_s,
                cost.refused_s,
                cost.bad_share_s,
            ),
            open_requests=limits.open_submits,
            workers=limits.workers,
            own_shares_per_minute=own_shares_per_minute,
        )


class SessionTiming:
    """The timers that sessions have in common: they are looked after once in `tick_s` seconds."""

    def __init__(self, tick_s: float) -> None:
        self.rounds: Rounds[MinerSession] = Rounds(tick_s, MinerSession.look_after)
        self.deadlines = Deadlines()


class MinerOwner(Gatekeeper, Submitter, Protocol):
    """Who decides for a session; all calls come from the event loop's thread and must not block."""


class MinerSession:
    """Serves one connection; what it is `granted` and its `layout` are its own for its life, unless the miner
    goes on with a former session. `totals` counts along with `tally`, the miner's own.
    `port_class` is the class of firmware that its port is for, None to go by the miner's own name.
    """

    def __init__(
        self,
        connection: LineConnection,
        owner: MinerOwner,
        *,
        granted: Subscription,
        layout: Layout,
        limits: SessionLimits,
        totals: Tally,
        port_class: str | None = None,
        tally: Tally | None = None,
        timing: SessionTiming | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timing = timing or SessionTiming(limits.tick_s)
        self._connection = connection
        self._limits = limits
        self._clock = clock
        self._totals = totals
        self._extranonce_size = len(granted.extranonce1) + granted.extranonce2_size
        self._has_outgrown = False
        self._is_over = False
        self._is_resumed = False
        self._loop = asyncio.get_running_loop()
        self._began = self._heard = self._loop.time()
        self.cost = CostAccount(limits.cost, self._began, totals.faults)
        self._replies = OrderedReplies(self._answer, limits.open_requests)
        # Answers that others are about to leave with.
        self._unsaid: list[bytes] | None = None
        self.handshake = Handshake(
            owner,
            self._replies,
            granted,
            mask_for=self._mask_for,
            ready=self._ready,
            cost=self.cost,
            tell=self._show,
            workers=limits.workers,
            port_class=port_class,
        )
        self.desk = ShareDesk(
            owner,
            self._replies,
            extranonce1=granted.extranonce1,
            layout=layout,
            verdict_s=limits.verdict_s,
            deadlines=self._timing.deadlines,
            clock=clock,
            totals=totals,
            tally=tally,
            cost=self.cost,
            hurry=self._hurry,
            remembered=max(SEEN_LIMIT, SHARES_OF_A_WORKER * limits.workers),
        )
        if limits.own_shares_per_minute:
            self.desk.own = OwnDifficulty(limits.own_shares_per_minute, self._began)
        self.told = 0.0
        """The difficulty that the miner was told last, 0 before any."""
        self._told_target = -1
        self._work: Work | None = None
        self._sent_ntime = 0
        self._notified = 0.0
        self._within_since = 0.0
        self._was_helped = False

    @property
    def peer(self) -> str:
        """The miner's address, for people."""
        return self._connection.peer

    @property
    def hashes(self) -> float:
        """What a share takes by the difficulty told; one that was rounded up takes more than its target."""
        return self.told * HASHES_PER_DIFFICULTY

    @property
    def host(self) -> str:
        """The miner's host, by which it may be known again."""
        return self._connection.host

    @property
    def since(self) -> float:
        """When it was connected, in seconds of the loop's clock."""
        return self._began

    async def run(self) -> None:
        """Serve until the connection ends, which raises ConnectionLost, or the peer has cost too much; lines
        that came before are heard.
        """
        self._timing.rounds.add(self)
        try:
            await self._connection.hand_over(self._take)
        finally:
            self._timing.rounds.discard(self)
            self.handshake.end()

    def lend(self, seat: Seat) -> Lent | None:
        """Let plain shares be taken elsewhere, from the socket, until `go_on`; None where that cannot be."""
        handshake, connection = self.handshake, self._connection
        is_let_in = handshake.is_authorized and handshake.is_subscribed and not handshake.may_suggest
        if not is_let_in or self._is_over or not self.desk.is_calm or not isinstance(connection, ServedLines):
            return None
        lent = connection.lend(seat.leave)
        if lent is not None:
            self.desk.seat = seat
        return lent

    def go_on(self, heard: float) -> None:
        """Take shares again; something was heard last at that time."""
        self._heard = max(self._heard, heard)
        self.desk.seat = None
        self._timing.rounds.hurry(self)
        if isinstance(self._connection, ServedLines):
            self._connection.take_back()

    def say(self, answer: bytes) -> None:
        """Send what could not be sent from elsewhere."""
        self._send([answer])

    def take_bytes(self, data: bytes) -> None:
        """Hear what was read elsewhere."""
        self._connection.data_received(data)

    def continue_from(self, former: "MinerSession") -> None:
        """The miner is back: it goes on where it was on its former socket, which is cut.

        Its jobs still count there and then; the present work is sent again with a later header time.
        """
        former._connection.abort("the miner is back on another socket", code="resumed")
        self.desk.continue_from(former.desk)
        self._extranonce_size = former._extranonce_size
        self._work = former._work
        self._sent_ntime = former._sent_ntime
        self._has_outgrown = former._has_outgrown
        self._is_resumed = True

    def grant(self, granted: Subscription, layout: Layout) -> None:
        """What the miner is about to be told on subscribe is decided only now."""
        self.desk.grant(granted.extranonce1, layout)
        self._extranonce_size = len(granted.extranonce1) + granted.extranonce2_size

    def restart(self) -> None:
        """Nothing that the miner was given counts any more; other work will come."""
        self._work = None
        self.desk.jobs.retire()

    def expect(self, hash_rate: float, easiest: int) -> None:
        """What the miner is taken to have, in hashes a second, and the easiest target of use to it."""
        if self.desk.own is not None:
            self.desk.own.expect(hash_rate, easiest)

    def give(self, work: Work, *, clean: bool) -> None:
        """Work to do from now on; `clean` ends everything before it. Kept until the miner is ready for it."""
        if self._work is None or not work.repeats(self._work):
            self._sent_ntime = 0
        self._work = work
        if self.handshake.is_complete and self._connection.is_open:
            self._notify(work, self._begin_at(work), clean=clean)
        elif clean:
            self.desk.jobs.retire()

    def tell(self, text: str) -> None:
        """Show a person a sentence on the miner's own page or log; for what they should act on, no more."""
        if self.handshake.is_complete:
            self._show(text)

    def close(self, text: str, *, code: str) -> None:
        """End the connection after what was sent."""
        self._say()
        self._connection.close(text, code=code)

    # What the miner says

    def _take(self, line: Line) -> None:
        """Serve a line, and hear no more for a while from who says too much."""
        if self._is_over:
            return
        connection = self._connection
        now = self._heard = self._loop.time()
        pause = self.cost.take(now)
        handshake = self.handshake
        is_let_in = handshake.is_authorized and handshake.is_subscribed
        if is_let_in and not isinstance(line, Overlong) and self.desk.take(line, handshake.mask, now):
            handshake.may_suggest = False
        else:
            self._receive(line)
            self._is_over = self.cost.is_exhausted
        if self._is_over:
            self.close("too much of what it says is wrong", code="too-costly")
        elif pause:
            self._totals.throttled += 1
            connection.hold()
            self._loop.call_later(pause, connection.release)
        if self._replies.is_full(connection.release):
            connection.hold()

    def _receive(self, line: Line) -> None:
        try:
            if isinstance(line, Overlong):
                raise MalformedError("Line too long")
            message = parse(line)
        except MalformedError as error:
            self._replies.answer(error.id, error_reply(error.id, error))
            self.cost.bad_line()
            return
        # Answers are to requests that firmware imagines we made; an empty object is a sign of life.
        if isinstance(message, Call):
            self._call(message)

    def _call(self, call: Call) -> None:
        handle = _METHODS.get(call.method)
        if handle is not None:
            handle(self, call)
        elif call.method.startswith("mining.suggest"):
            # Some firmware writes the parameter into the method's name.
            value = call.method.partition("(")[2].rstrip(") ")
            self.handshake.suggest_difficulty(Call(call.id, call.method, [value] if value else call.params))
        elif not call.method.startswith("client."):
            self._refuse(call, Rejection(ErrorCode.UNKNOWN_METHOD, "Method not found"))

    def _submit(self, call: Call) -> None:
        self.handshake.may_suggest = False
        self.desk.submit(call, self.handshake.mask, self.handshake.refusal())

    def _agree(self, call: Call) -> None:
        self._replies.answer(call.id, reply(call.id, True))

    def _pong(self, call: Call) -> None:
        self._replies.answer(call.id, reply(call.id, "pong"))

    def _not_supported(self, call: Call) -> None:
        self._refuse(call, Rejection(ErrorCode.OTHER, "Not supported."))

    def _nothing(self, _call: Call) -> None:
        """Bitaxe answers a ping by a request of its own."""

    def _refuse(self, call: Call, error: Rejection) -> None:
        self._replies.answer(call.id, error_reply(call.id, error))
        self.cost.refused()

    # What the miner is told

    def _ready(self) -> None:
        work = self._work
        if work is not None:
            self._notify(work, self._begin_at(work), clean=True, keeps=self._is_resumed)

    def _begin_at(self, work: Work) -> int:
        """The header time for work; later where it was sent before, so that it is not the same work again."""
        sent = self._sent_ntime
        return max(work.ntime, sent + 1, int(self._clock())) if sent else work.ntime

    def _notify(self, work: Work, ntime: int, *, clean: bool, keeps: bool = False) -> None:
        """Send work; `clean` tells the miner to leave all else, whose shares count still if it `keeps`."""
        lines = []
        if self.handshake.mask_asked is not None:
            mask = self._mask_for(self.handshake.mask_asked)
            if mask != self.handshake.mask:
                if self.desk.seat is not None:
                    self.desk.seat.leave()
                self.handshake.mask = mask
                lines.append(set_version_mask(mask))
        target = work.target
        if self.desk.own is not None:
            if self.desk.seat is not None:
                self.desk.seat.catch_up()
            target = self.desk.own.target(target, self._loop.time())
        if target != self._told_target:
            self._told_target = target
            told = told_difficulty(target, self.handshake.firmware.rounding)
            if told != self.told:
                self.told = told
                lines.append(set_difficulty(told))
        hashes = self.told * HASHES_PER_DIFFICULTY
        job_id = self.desk.jobs.add(work, target, clean=clean and not keeps, hashes=hashes)
        lines.append(work.notify(job_id, ntime, clean=clean))
        self._sent_ntime = ntime
        self._notified = self._loop.time()
        self._write(lines)
        self._measure(work)

    def _measure(self, work: Work) -> None:
        """Say once that the pool's coinbase is longer than what firmware of this class is known to take."""
        size = work.coinbase_size + self._extranonce_size
        firmware = self.handshake.firmware
        if size <= firmware.coinbase_bytes or self._has_outgrown:
            return
        self._has_outgrown = True
        self._totals.outgrown += 1
        about = {"bytes": size, "most": firmware.coinbase_bytes, "class": firmware.name, "peer": self.peer}
        _log.warning("the coinbase is longer than this miner may take", extra=about)
        self.tell(f"The pool's coinbase has {size} bytes; this miner may take {firmware.coinbase_bytes} only")

    def _mask_for(self, asked: int) -> int:
        if self._work is None:
            return granted_mask(asked, 0, rollable=SV1_MASK)
        return granted_mask(asked, self._work.version, rollable=self._work.rollable)

    def _show(self, text: str) -> None:
        self._write([show_message(text)])

    def _answer(self, lines: list[bytes]) -> None:
        """Write answers; where other requests wait for theirs, with what comes in the same turn: on the
        connection of a farm many do.
        """
        if not self._replies:
            self._write(lines)
        elif self._unsaid is None:
            self._unsaid = lines
            self._loop.call_soon(self._say)
        else:
            self._unsaid += lines

    def _say(self) -> None:
        """Write the answers that have waited for others."""
        if self._unsaid is not None:
            self._write([])

    def _write(self, lines: list[bytes]) -> None:
        if self._unsaid is not None:
            lines, self._unsaid = self._unsaid + lines, None
        seat = self.desk.seat
        if seat is None:
            self._send(lines)
        else:
            seat.tell(b"".join(lines))

    def _send(self, lines: list[bytes]) -> None:
        try:
            self._connection.send(*lines)
        except ConnectionLost:
            # The reader ends the session; what is said to nobody needs no other trace.
            pass

    # Time

    def look_after(self) -> float:
        """Once in a while: end who does not begin or says nothing, and keep the others. Returns before which
        time nothing of that can be, 0 where it is not known.
        """
        now = self._loop.time()
        limits, seat = self._limits, self.desk.seat
        if seat is not None:
            self._heard = max(self._heard, seat.heard)
        named = self.handshake.is_subscribed and self.handshake.has_named_itself
        if not named and now - self._began >= limits.handshake_s:
            self.close("no subscription and name in time", code="handshake-timeout")
        elif not self.handshake.is_authorized and now - self._began >= limits.authorize_s:
            self.close("not let in, in all that time", code="authorize-timeout")
        elif now - self._heard >= limits.idle_s:
            self.close("nothing heard for long", code="idle")
        elif self._is_dripping(now):
            self.close("a line that does not end", code="slow-line")
        elif self._is_lost(now):
            self.close("nothing but bad shares for long", code="bad-shares")
        else:
            self._keep_alive(now)
            if self.desk.seat is not None:
                return min(self._heard + limits.idle_s, self._notified + limits.keepalive_s)
        return 0.0

    def _is_dripping(self, now: float) -> bool:
        """Whether the line that the miner is in the middle of was begun long ago, as far as was seen."""
        if not self._connection.is_within_line:
            self._within_since = 0.0
        elif self._within_since <= self._heard:
            # Another line has ended meanwhile, or there was none at the last look.
            self._within_since = now
        else:
            return now - self._within_since >= self._limits.line_s
        return False

    def _is_lost(self, now: float) -> bool:
        """Whether the miner has found nothing but bad shares for long; fresh work may cure it before that."""
        bad_for_s = now - self.desk.bad_since
        if self.desk.bad_shares < BAD_SHARES or bad_for_s < self._limits.bad_shares_s / 3:
            self._was_helped = False
        elif not self._was_helped:
            self._was_helped = True
            self._again(clean=True)
        else:
            return bad_for_s >= self._limits.bad_shares_s
        return False

    def _keep_alive(self, now: float) -> None:
        """Send the present work again, if it can be made to differ by its time, before firmware misses us."""
        work = self._work
        if work is None or not self._notified or now - self._notified < self._limits.keepalive_s:
            return
        ntime = int(self._clock())
        if ntime > max(self._sent_ntime, work.ntime):
            self._notify(work, ntime, clean=False)

    def _hurry(self) -> None:
        """The present work is far too easy."""
        self._again(clean=False)

    def _again(self, *, clean: bool) -> None:
        """Send the present work at once, with a later time so that it differs."""
        work = self._work
        if work is not None and self._sent_ntime and self._connection.is_open:
            self._notify(work, self._begin_at(work), clean=clean)


_METHODS: Final[dict[str, Callable[[MinerSession, Call], None]]] = {
    "mining.submit": MinerSession._submit,
    "mining.configure": lambda session, call: session.handshake.configure(call),
    "mining.subscribe": lambda session, call: session.handshake.subscribe(call),
    "mining.authorize": lambda session, call: session.handshake.authorize(call),
    "mining.suggest_difficulty": lambda session, call: session.handshake.suggest_difficulty(call),
    "mining.suggest_target": lambda session, call: session.handshake.suggest_target(call),
    "mining.extranonce.subscribe": MinerSession._agree,
    "mining.subscribe.extranonce": MinerSession._agree,
    "mining.multi_version": MinerSession._agree,
    "mining.ping": MinerSession._pong,
    "mining.get_transactions": MinerSession._not_supported,
    "mining.get_txnhashes": MinerSession._not_supported,
    "pong": MinerSession._nothing,
}
