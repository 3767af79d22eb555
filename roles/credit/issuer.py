"""The issuer's end of the issuance link: a cursor over the ledger, moved by what the mint has settled.

Nothing is queued: what is not settled is read from the ledger again, after every loss of the link. Rows whose
results may have been lost with a link are sent again, too: the mint gives the same results for them, so that
no refusal goes unheard, and sees if the ledger is not the one that it knows.
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge

from protocols.ehash.errors import CreditCode
from protocols.ehash.identity import sign_hello
from protocols.ehash.messages import (
    FLAG_BLOCK,
    ISSUANCE,
    MAX_CREDITS,
    PROTOCOL_ISSUANCE,
    CreditResults,
    CreditRow,
    Credits,
    IssuerHello,
    IssuerHelloSuccess,
)
from protocols.sv2.codec import encode
from protocols.sv2.connection import VERSION, SetupConnection, SetupConnectionError
from protocols.sv2.errors import MalformedMessage, SetupFailed, Sv2Error, UnexpectedMessage, UnknownMessage
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.setup import ClientSetup
from roles.credit.errors import FalseIdentity, LedgerBehind, UnknownIssuer
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import LedgerRow
from roles.runtime import crash
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectionLost, StorageError
from roles.runtime.task_group import TaskGroup

_log = logging.getLogger(__name__)

_RETRIED = (ConnectionLost, Sv2Error, TimeoutError, StorageError)


class MintConnection(Protocol):
    """What the issuer needs of a connection."""

    handshake_hash: bytes

    async def receive(self) -> Frame:
        """The next frame; raises ConnectionLost."""
        ...

    def send(self, *frames: Frame) -> None:
        """Write frames; raises ConnectionLost."""
        ...

    async def drain(self) -> None:
        """Wait until most of what was sent is taken."""
        ...

    def close(self, text: str = ..., *, code: str = ...) -> None:
        """End the connection."""
        ...


class CreditListener(Protocol):
    """Hears what became of rows; must not fail or wait."""

    def confirmed(self, rows: Sequence[LedgerRow]) -> None:
        """The mint holds a quote for each of these rows."""
        ...

    def refused(self, row: LedgerRow, code: CreditCode) -> None:
        """The mint settled a row by refusing it."""
        ...


@dataclass(frozen=True, slots=True)
class IssuerTiming:
    """In seconds: until the mint has answered the hello, until it has answered rows, pauses after a hold; how
    long new rows wait for others to be handed over with.
    """

    hello: float = 10.0
    answer: float = 60.0
    hold_first: float = 0.5
    hold_limit: float = 30.0
    gather: float = 0.0


class IssuerMetrics:
    """What the issuer counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected = Gauge(
            "hashpool_issuance_connected", "1 while the mint is connected.", registry=registry
        )
        self.failures = Counter(
            "hashpool_issuance_failures", "Links failed or lost, by cause.", ["cause"], registry=registry
        )
        self.ignored = Counter(
            "hashpool_issuance_messages_ignored", "Messages that are not known here.", registry=registry
        )
        self.holds = Counter(
            "hashpool_issuance_holds",
            "Rows that the mint asked to be sent later.",
            ["code"],
            registry=registry,
        )


class Issuer:
    """Hands a ledger to the mint; `dial` makes a connection whose server `mint_authority` vouches for.

    `secret` is the identity's, 32 bytes. `failure` tells people why there is no link.
    """

    def __init__(
        self,
        ledger: Ledger,
        secret: bytes,
        mint_authority: bytes,
        dial: Callable[[], Awaitable[MintConnection]],
        *,
        listener: CreditListener,
        metrics: IssuerMetrics | None = None,
        timing: IssuerTiming | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._ledger = ledger
        self._secret = secret
        self._mint_authority = mint_authority
        self._dial = dial
        self._listener = listener
        self._metrics = metrics or IssuerMetrics(CollectorRegistry())
        self._timing = timing or IssuerTiming()
        self._backoff = backoff or Backoff(first_s=0.1, limit_s=5.0)
        self._heard: int | None = None
        self.failure = "not connected yet"

    async def run(self) -> None:
        """Connect, hand over and reconnect until cancelled; whatever the mint does is logged and retried."""
        while True:
            try:
                await self._serve()
            except _RETRIED as error:
                self._failed(error)
            except ExceptionGroup as group:
                known, other = group.split(_RETRIED)
                if other is not None or known is None:
                    raise
                self._failed(known.exceptions[0])
            await self._backoff.wait()

    def _failed(self, error: Exception) -> None:
        reason = str(error) or type(error).__name__
        refused = isinstance(error, SetupFailed)
        # Said once; a hundred attempts that fail alike are no news.
        level = logging.ERROR if refused else logging.WARNING
        _log.log(
            logging.DEBUG if reason == self.failure else level,
            "the mint refuses this issuer" if refused else "the mint is away",
            extra={"reason": reason},
        )
        self.failure = reason
        self._metrics.failures.labels(type(error).__name__).inc()

    async def _serve(self) -> None:
        connection = await self._dial()
        try:
            async with asyncio.timeout(self._timing.hello):
                terms = await self._introduce(connection)
            heard = terms.acked_seq - terms.window * MAX_CREDITS if self._heard is None else self._heard
            handover = Handover(
                connection,
                self._ledger,
                terms,
                heard=max(0, min(heard, terms.acked_seq)),
                listener=self._listener,
                metrics=self._metrics,
                timing=self._timing,
            )
            self._ledger.metrics.acked.set(terms.acked_seq)
            self._metrics.connected.set(1)
            self.failure = ""
            self._backoff.reset()
            _log.info("the mint is there", extra={"acked_seq": terms.acked_seq, "mint": terms.mint_url})
            try:
                await handover.run()
            finally:
                self._heard = handover.acked
        finally:
            self._metrics.connected.set(0)
            connection.close()

    async def _introduce(self, connection: MintConnection) -> IssuerHelloSuccess:
        ledger = self._ledger
        setup = ClientSetup(_SETUP)
        connection.send(setup.start())
        setup.receive(await connection.receive())
        identity, signature = sign_hello(
            self._secret, connection.handshake_hash, self._mint_authority, secrets.token_bytes(32)
        )
        hello = IssuerHello(identity, signature, ledger.store_id, ledger.last_seq + 1)
        connection.send(encode(hello))
        terms = await _receive(connection, self._metrics)
        if not isinstance(terms, IssuerHelloSuccess):
            raise UnexpectedMessage(f"{type(terms).__name__} where the mint's answer to our hello belongs")
        if terms.acked_seq > ledger.last_seq:
            raise SetupFailed(
                f"the mint has settled {terms.acked_seq} rows of this ledger, which has {ledger.last_seq}:"
                " it was restored from an old backup"
            )
        if not terms.window:
            raise SetupFailed("the mint takes no credits: its window is 0")
        if not terms.acked_seq and terms.min_shift:
            await ledger.begin_in(terms.min_shift)
        return terms


class Handover:
    """One connection's conversation after the hello: frames of rows out, results in, in the same order.

    `heard` is the last row whose result is known here, at most the mint's `acked_seq`; `acked` moves on from
    it.
    """

    def __init__(
        self,
        connection: MintConnection,
        ledger: Ledger,
        terms: IssuerHelloSuccess,
        *,
        heard: int,
        listener: CreditListener,
        metrics: IssuerMetrics,
        timing: IssuerTiming,
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._window = terms.window
        self._listener = listener
        self._metrics = metrics
        self._timing = timing
        self._holds = Backoff(first_s=timing.hold_first, limit_s=timing.hold_limit)
        self.acked = self._sent = heard
        self._settled = terms.acked_seq
        self._unanswered: deque[list[LedgerRow]] = deque()
        self._is_held = False
        self._patience = asyncio.timeout(None)
        self._is_listening = False

    async def run(self) -> None:
        """Hand over until the link breaks; raises ConnectionLost, Sv2Error, TimeoutError or StorageError."""
        async with TaskGroup() as tasks:
            tasks.create_task(self._receive())
            tasks.create_task(self._send())

    async def _send(self) -> None:
        grown = self._ledger.grown
        while True:
            grown.clear()
            while self._may_send():
                rows = await self._ledger.rows_after(self._sent, MAX_CREDITS)
                crash.at("pool.credits-read")
                self._unanswered.append(rows)
                self._sent = rows[-1].seq
                if len(self._unanswered) == 1:
                    self._be_patient()
                self._connection.send(encode(_credits(rows)))
                crash.once_sent("pool.credits-sent")
                await self._connection.drain()
            await grown.wait()
            if self._timing.gather and self._may_send():
                await asyncio.sleep(self._timing.gather)

    def _may_send(self) -> bool:
        room = len(self._unanswered) < self._window
        return room and not self._is_held and self._sent < self._ledger.last_seq

    async def _receive(self) -> None:
        async with self._patience:
            self._is_listening = True
            try:
                while True:
                    results = await _receive(self._connection, self._metrics)
                    if not isinstance(results, CreditResults) or not self._unanswered:
                        raise UnexpectedMessage(f"{type(results).__name__} that answers no credits")
                    await self._settle(self._unanswered.popleft(), results)
                    self._be_patient()
                    # The sender waits for rows, and may have waited for this answer.
                    self._ledger.grown.set()
            finally:
                self._is_listening = False

    def _be_patient(self) -> None:
        """Give the mint its time for the next answer from now on, where it owes one."""
        # The sender may still run while the receiver has ended.
        if self._is_listening and not self._patience.expired():
            now = asyncio.get_running_loop().time()
            self._patience.reschedule(now + self._timing.answer if self._unanswered else None)

    async def _settle(self, rows: list[LedgerRow], results: CreditResults) -> None:
        up_to = results.up_to_seq
        codes = {result.seq: _code(result.code) for result in results.results}
        hold = codes.pop(up_to + 1, None)
        complete = up_to == rows[-1].seq
        if not self.acked <= up_to <= rows[-1].seq or (hold is not None and not hold.holds):
            raise UnexpectedMessage(f"results up to row {up_to} for rows up to {rows[-1].seq}")
        if not complete and hold is None:
            raise UnexpectedMessage(f"row {up_to + 1} is neither settled nor held")
        settled = [row for row in rows if self.acked < row.seq <= up_to]
        refusals = [(row, codes[row.seq]) for row in settled if row.seq in codes]
        crash.at("pool.results-heard")
        if refusals:
            await self._ledger.refuse((row.seq, code) for row, code in refusals)
            crash.at("pool.refusals-stored")
        self.acked = up_to
        crash.at("pool.cursor-moved")
        self._ledger.metrics.acked.set(max(up_to, self._settled))
        self._listener.confirmed([row for row in settled if row.seq not in codes])
        for row, code in refusals:
            _log.error("the mint refuses a credit", extra={"seq": row.seq, "code": code.label})
            self._listener.refused(row, code)
        if hold is not None:
            self._hold(hold)
        elif settled:
            self._holds.reset()
        if self._is_held and not self._unanswered:
            asyncio.get_running_loop().call_later(self._holds.next(), self._resume)

    def _hold(self, code: CreditCode) -> None:
        # Frames behind the held row are answered with a hold, too; only then are the rows sent again.
        if not self._is_held:
            self._metrics.holds.labels(code.label).inc()
            _log.warning("the mint lets credits wait", extra={"seq": self.acked + 1, "code": code.label})
        self._is_held = True

    def _resume(self) -> None:
        if self._is_held:
            self._is_held = False
            self._sent = self.acked
            self._ledger.grown.set()


_SETUP = SetupConnection(
    protocol=PROTOCOL_ISSUANCE,
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


_CURES = {
    UnknownIssuer.code: "its mint.toml needs this pool's identity in [[issuers]]: hashpool keys show pool",
    FalseIdentity.code: "mint.authority_key here must be the key of that mint: hashpool keys show mint",
    LedgerBehind.code: "the ledger was restored from an old backup: restore a newer one",
}
"""What a person can do about a refusal."""


def _credits(rows: list[LedgerRow]) -> Credits:
    first = rows[0]
    wire = tuple(
        CreditRow(row.header, row.target, row.time, FLAG_BLOCK if row.block else 0, row.key) for row in rows
    )
    return Credits(first.seq, first.shift, first.pricing.minimum, int(first.pricing.valuation), wire)


def _code(number: int) -> CreditCode:
    try:
        return CreditCode(number)
    except ValueError as error:
        raise MalformedMessage(f"{number} is no result of a credit") from error


async def _receive(connection: MintConnection, metrics: IssuerMetrics) -> Message:
    """The next message; what only a later version knows is passed over."""
    while True:
        try:
            message, _ = ISSUANCE.decode(await connection.receive())
        except UnknownMessage:
            metrics.ignored.inc()
        else:
            return _checked(message)


def _checked(message: Message) -> Message:
    if isinstance(message, SetupConnectionError):
        cure = _CURES.get(message.error_code, "the mint's log says more")
        raise SetupFailed(
            f"the mint answers {message.error_code!r} ({cure})", message.error_code, message.flags
        )
    return message
