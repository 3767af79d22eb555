"""The client of the template provider: plain Template Distribution, so that any provider will do.

What it learns goes to the workshop; solutions go out at once, and again after a reconnection, until the node
is seen to have the block.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Protocol

from protocols.bitcoin.script import legacy_sigops
from protocols.mining.job import Template, Tip
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION, encode
from protocols.sv2.connection import PROTOCOL_TEMPLATE_DISTRIBUTION, VERSION, SetupConnection
from protocols.sv2.errors import Sv2Error, UnknownMessage
from protocols.sv2.frame import Frame
from protocols.sv2.setup import ClientSetup
from protocols.sv2.template_distribution import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
    SubmitSolution,
)
from roles.pool.errors import TemplateUnusable
from roles.pool.meters import Meters
from roles.pool.workshop import Workshop, template_of
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectionLost
from roles.runtime.readiness import Readiness

SETUP_S = 10.0
MAX_FUTURE = 16
MAX_SOLUTIONS = 64
MAX_SHELVED = 8
MAX_SHELVED_BYTES = 64 << 20
CONDITION = "templates"

_log = logging.getLogger(__name__)

Origin = tuple[int, int]
"""The number of the link, counted by us, and the template's id on it."""


class ProviderConnection(Protocol):
    """What the link needs of a connection."""

    async def receive(self) -> Frame:
        """The next frame; raises ConnectionLost."""
        ...

    def send(self, *frames: Frame) -> None:
        """Write frames; raises ConnectionLost."""
        ...

    def close(self, text: str = ..., *, code: str = ...) -> None:
        """End the connection."""
        ...


class TransactionShelf:
    """The transactions of the newest templates, for blocks that we must put together ourselves; bounded."""

    def __init__(self) -> None:
        self._shelf: OrderedDict[Origin, tuple[bytes, ...]] = OrderedDict()
        self._size = 0

    def put(self, origin: Origin, transactions: tuple[bytes, ...]) -> None:
        """Keep a template's transactions, in the order of the block."""
        self._drop(origin)
        self._shelf[origin] = transactions
        self._size += sum(map(len, transactions))
        while len(self._shelf) > MAX_SHELVED or (self._size > MAX_SHELVED_BYTES and len(self._shelf) > 1):
            self._drop(next(iter(self._shelf)))

    def get(self, origin: Origin) -> tuple[bytes, ...] | None:
        """A template's transactions, if they are here."""
        return self._shelf.get(origin)

    def _drop(self, origin: Origin) -> None:
        self._size -= sum(map(len, self._shelf.pop(origin, ())))


class TemplateLink:
    """Keeps one link to the template provider; `dial` makes a connection with the handshake done.

    Readiness "templates" is met while there is a link that has brought work.
    """

    def __init__(
        self,
        dial: Callable[[], Awaitable[ProviderConnection]],
        workshop: Workshop,
        script: bytes,
        *,
        readiness: Readiness,
        meters: Meters,
        clock: Callable[[], float] = time.time,
        backoff: Backoff | None = None,
    ) -> None:
        self._dial = dial
        self._workshop = workshop
        # A legacy operation counts four in a block's cost; a provider that knows reserves too much.
        self._constraints = CoinbaseOutputConstraints(workshop.reward_size, 4 * legacy_sigops(script))
        self._readiness = readiness
        self._meters = meters
        self._clock = clock
        self._backoff = backoff or Backoff(first_s=0.1, limit_s=3.0)
        self._connection: ProviderConnection | None = None
        self._number = 0
        self._future: OrderedDict[int, Template] = OrderedDict()
        self._has_tip = False
        self._solutions: dict[bytes, tuple[Origin, SubmitSolution]] = {}
        self.shelf = TransactionShelf()
        readiness.declare(CONDITION, "not connected yet")

    def submit(self, block_hash: bytes, origin: Origin, solution: SubmitSolution) -> bool:
        """Send a solution now and on later links until `settled`; False if its own link is gone."""
        self._solutions[block_hash] = (origin, solution)
        if len(self._solutions) > MAX_SOLUTIONS:
            del self._solutions[next(iter(self._solutions))]
        sent = self._send(solution)
        return sent and origin[0] == self._number

    def settled(self, block_hash: bytes) -> None:
        """The fate of a block is known."""
        self._solutions.pop(block_hash, None)

    async def run(self) -> None:
        """Connect, listen and reconnect until cancelled."""
        while True:
            try:
                await self._serve()
            except (ConnectionLost, Sv2Error, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                self._meters.templates.failures.labels(type(error).__name__).inc()
                # Said once; a hundred attempts that fail alike are no news.
                known = self._readiness.reasons.get(CONDITION) == reason
                level = logging.DEBUG if known else logging.WARNING
                _log.log(level, "the template provider is away", extra={"reason": reason})
                self._readiness.unmet(CONDITION, reason)
            await self._backoff.wait()

    async def _serve(self) -> None:
        connection = await self._dial()
        try:
            async with asyncio.timeout(SETUP_S):
                setup = ClientSetup(_SETUP)
                connection.send(setup.start())
                setup.receive(await connection.receive())
            self._number += 1
            self._future.clear()
            self._has_tip = False
            self._connection = connection
            connection.send(encode(self._constraints))
            self._readiness.unmet(CONDITION, "no template yet")
            while True:
                self._take(await connection.receive())
        finally:
            self._connection = None
            connection.close()

    def _take(self, frame: Frame) -> None:
        try:
            message, _ = TEMPLATE_DISTRIBUTION.decode(frame)
        except UnknownMessage:
            self._meters.ignored.inc()
            return
        match message:
            case NewTemplate():
                self._new_template(message)
            case SetNewPrevHash():
                self._new_tip(message)
            case RequestTransactionDataSuccess():
                self.shelf.put((self._number, message.template_id), message.transaction_list)
            case _:
                self._meters.ignored.inc()

    def _new_template(self, message: NewTemplate) -> None:
        template = template_of(message, (self._number, message.template_id))
        if message.future_template:
            self._future[message.template_id] = template
            if len(self._future) > MAX_FUTURE:
                self._future.popitem(last=False)
            return
        if not self._has_tip:
            raise TemplateUnusable("a template to be mined on at once, before any tip")
        self._workshop.follow(template)
        self._taken(message.template_id, "fees")

    def _new_tip(self, message: SetNewPrevHash) -> None:
        template = self._future.get(message.template_id)
        if template is None:
            raise TemplateUnusable(
                f"a tip for template {message.template_id}, which was not sent as a future one"
            )
        self._future.clear()
        tip = Tip(
            message.prev_hash, message.header_timestamp, message.nbits, message.target, int(self._clock())
        )
        self._workshop.begin(template, tip)
        self._taken(message.template_id, "tip")
        if not self._has_tip:
            self._has_tip = True
            self._backoff.reset()
            self._readiness.met(CONDITION)
            for _, solution in self._solutions.values():
                self._send(solution)

    def _taken(self, template_id: int, cause: str) -> None:
        self._meters.templates.taken.labels(cause).inc()
        self._send(RequestTransactionData(template_id))

    def _send(self, message: SubmitSolution | RequestTransactionData) -> bool:
        if self._connection is None:
            return False
        try:
            self._connection.send(encode(message))
        except ConnectionLost:
            # The reader hears of it, too, and connects anew.
            return False
        return True


_SETUP = SetupConnection(
    protocol=PROTOCOL_TEMPLATE_DISTRIBUTION,
    min_version=VERSION,
    max_version=VERSION,
    flags=0,
    endpoint_host="",
    endpoint_port=0,
    vendor="hashpool",
    hardware_version="",
    firmware="",
    device_id="",
)
