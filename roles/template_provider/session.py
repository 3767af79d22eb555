"""One client: its setup, its constraints, the templates it is sent, its questions and its solutions."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from protocols.bitcoin.transaction import Transaction
from protocols.sv2 import connection as setup_messages
from protocols.sv2 import extensions
from protocols.sv2.codec import Catalogue, encode
from protocols.sv2.connection import PROTOCOL_TEMPLATE_DISTRIBUTION
from protocols.sv2.errors import SetupRefused, UnknownMessage
from protocols.sv2.frame import Frame
from protocols.sv2.limits import FrameLimits
from protocols.sv2.setup import ServerSetup, refusal
from protocols.sv2.template_distribution import (
    CoinbaseOutputConstraints,
    RequestTransactionData,
    RequestTransactionDataError,
    SubmitSolution,
)
from roles.node_client.answers import NodeTemplate
from roles.runtime import crash
from roles.runtime.errors import ConnectionLost
from roles.runtime.sv2_connection import Sv2Connection
from roles.template_provider.book import Absence, Book
from roles.template_provider.errors import SolutionRefused
from roles.template_provider.meters import Meters
from roles.template_provider.solution import assemble, belongs, read_coinbase
from roles.templates.draft import Draft
from roles.templates.selection import MAX_OUTPUT_SIZE, Constraints
from roles.templates.source import Source
from roles.templates.submission import Submitter

CATALOGUE = Catalogue(
    [
        *setup_messages.MESSAGES,
        *extensions.MESSAGES,
        CoinbaseOutputConstraints,
        RequestTransactionData,
        SubmitSolution,
    ]
)
LIMIT = FrameLimits(CATALOGUE)
"""Of what clients may send; what only servers send is no larger here than an unknown message."""

MAX_GUESSES = 16
_CALM_S = 0.05

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """When a template is worth sending, how long stale ones are kept, and how long a setup may take."""

    fee_gain_sat: int
    stale_template_s: float
    setup_s: float


@dataclass(frozen=True, slots=True)
class _Sent:
    """What the client was sent last, and for which constraints."""

    draft: Draft
    constraints: Constraints


class Session:
    """Serves one connection until it ends; raises ConnectionLost and Sv2Error, which end it."""

    def __init__(
        self,
        connection: Sv2Connection,
        *,
        source: Source,
        submitter: Submitter,
        meters: Meters,
        terms: Terms,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._source = source
        self._submitter = submitter
        self._meters = meters
        self._terms = terms
        self._clock = clock
        self._setup = ServerSetup(PROTOCOL_TEMPLATE_DISTRIBUTION)
        self._book = Book()
        self._constraints: Constraints | None = None
        self._sent: _Sent | None = None

    async def run(self) -> None:
        """Set up, then answer and announce."""
        async with self._source.watch() as changed:
            if not await self._set_up():
                return
            announcer = asyncio.get_running_loop().create_task(self._announce(changed))
            # Whatever ends the announcements ends the connection, and with it the reading below.
            announcer.add_done_callback(self._silenced)
            try:
                while True:
                    for frame in await self._connection.receive_batch():
                        await self._take(frame, changed)
            finally:
                # What ends the reading is why the connection ends.
                announcer.remove_done_callback(self._silenced)
                announcer.cancel()
                with suppress(asyncio.CancelledError, ConnectionLost):
                    await announcer

    def _silenced(self, _announcer: asyncio.Task[None]) -> None:
        self._connection.close()

    async def _set_up(self) -> bool:
        try:
            async with asyncio.timeout(self._terms.setup_s):
                frame = await self._connection.receive()
        except TimeoutError:
            self._connection.close("no SetupConnection in time", code="setup-timeout")
            return False
        try:
            answer = self._setup.receive(frame)
        except SetupRefused as error:
            self._connection.send(refusal(error))
            raise
        client = self._setup.client
        assert answer is not None
        assert client is not None
        self._connection.send(answer)
        name = " ".join(part for part in (client.vendor, client.firmware) if part)
        _log.info("a client is there", extra={"peer": self._connection.peer, "client": name[:80]})
        return True

    async def _take(self, frame: Frame, changed: asyncio.Event) -> None:
        answer = self._setup.receive(frame)
        if answer is not None:
            self._connection.send(answer)
            return
        try:
            message, _ = CATALOGUE.decode(frame)
        except UnknownMessage:
            # The protocol may grow; what is not known is passed over.
            self._meters.ignored.inc()
            return
        match message:
            case CoinbaseOutputConstraints():
                self._constrain(message, changed)
            case RequestTransactionData():
                self._give(message)
                await self._connection.drain()
            case SubmitSolution():
                await self._solve(message)
            case _:
                self._meters.ignored.inc()

    def _constrain(self, message: CoinbaseOutputConstraints, changed: asyncio.Event) -> None:
        size, sigops = message.max_additional_size, message.max_additional_sigops
        if size > MAX_OUTPUT_SIZE:
            self._connection.close(f"outputs of {size} bytes fit no block", code="constraints-too-large")
            return
        self._constraints = Constraints(size, sigops)
        _log.info(
            "a client's constraints",
            extra={
                "peer": self._connection.peer,
                "max_additional_size": size,
                "max_additional_sigops": sigops,
            },
        )
        changed.set()

    def _give(self, message: RequestTransactionData) -> None:
        self._book.prune(self._clock())
        found = self._book.find(message.template_id)
        if isinstance(found, Absence):
            self._meters.data_requests.labels(found.value).inc()
            self._connection.send(encode(RequestTransactionDataError(message.template_id, found.value)))
        else:
            self._meters.data_requests.labels("given").inc()
            self._connection.send(encode(found.transaction_data(message.template_id)))

    async def _solve(self, message: SubmitSolution) -> None:
        try:
            coinbase = read_coinbase(message)
            block = assemble(self._solved(message, coinbase), message, coinbase)
        except SolutionRefused as error:
            self._meters.node.solutions.labels(error.verdict).inc()
            _log.error(
                "a solution is not passed on: %s",
                error,
                extra={
                    "peer": self._connection.peer,
                    "template_id": message.template_id,
                    "verdict": error.verdict,
                },
            )
            return
        crash.at("template_provider.solution-heard")
        await self._submitter.submit(block, self._connection.peer)

    def _solved(self, message: SubmitSolution, coinbase: Transaction) -> Draft:
        """The template that a solution names, or one that it solves all the same after a restart of ours."""
        self._book.prune(self._clock())
        found = self._book.find(message.template_id)
        if not isinstance(found, Absence):
            return found
        for draft in self._book.drafts()[:MAX_GUESSES] if found is Absence.UNKNOWN else ():
            if belongs(draft, message, coinbase):
                _log.warning("a solution names another template", extra={"template_id": message.template_id})
                return draft
        raise SolutionRefused(found.value, "the template that it names is not kept")

    async def _announce(self, changed: asyncio.Event) -> None:
        while True:
            await changed.wait()
            changed.clear()
            template, constraints = self._source.current, self._constraints
            if template is None or constraints is None:
                continue
            has_new_constraints = self._sent is not None and self._sent.constraints != constraints
            self._offer(template, constraints)
            await self._connection.drain()
            if has_new_constraints:
                # A client that changes its mind all the time costs no more than this.
                await asyncio.sleep(_CALM_S)

    def _offer(self, template: NodeTemplate, constraints: Constraints) -> None:
        draft, sent = self._source.draft(template, constraints), self._sent
        now = self._clock()
        self._book.prune(now)
        if sent is not None and sent.constraints == constraints and _same_tip(sent.draft, draft):
            is_better = draft.value - sent.draft.value >= self._terms.fee_gain_sat
            if is_better and draft.merkle_path != sent.draft.merkle_path:
                self._send(draft, constraints, "fees", future=False)
            return
        cause = "tip" if sent is None or not _same_tip(sent.draft, draft) else "constraints"
        self._book.turn(draft.previous, now + self._terms.stale_template_s)
        self._send(draft, constraints, cause, future=True)

    def _send(self, draft: Draft, constraints: Constraints, cause: str, *, future: bool) -> None:
        template_id = self._source.next_id()
        self._book.add(template_id, draft)
        frames = [encode(draft.new_template(template_id, future=future))]
        if future:
            frames.append(encode(draft.new_prev_hash(template_id)))
        self._connection.send(*frames)
        self._sent = _Sent(draft, constraints)
        self._meters.templates.labels(cause).inc()
        self._meters.dropped.inc(draft.dropped)


def _same_tip(one: Draft, other: Draft) -> bool:
    # On a test network bits fall back after a while without a block, and clients learn them with a tip only.
    return (one.previous, one.bits) == (other.previous, other.bits)
