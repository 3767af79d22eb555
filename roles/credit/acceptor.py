"""The mint's end of the issuance link: who the issuer is, then its rows in order, each frame answered when it
is durable.

What the rows mean is the `CreditBook`'s to decide; this module holds the conversation. A refusal is answered
with SetupConnection.Error, the one message of the protocol that carries a reason, and the link is closed.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from protocols.ehash.errors import IdentityRefused
from protocols.ehash.identity import verify_hello
from protocols.ehash.messages import (
    EXTENSION,
    ISSUANCE,
    MAX_CREDITS,
    PROTOCOL_ISSUANCE,
    CreditResults,
    Credits,
    IssuerHello,
    IssuerHelloSuccess,
)
from protocols.sv2.codec import encode
from protocols.sv2.errors import MalformedMessage, SetupRefused, UnexpectedMessage, UnknownMessage
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.setup import ServerSetup, refusal
from roles.credit.errors import FalseIdentity, UnknownIssuer
from roles.runtime import crash

HELLO_S = 10.0
DRAIN_S = 30.0
ROW_BYTES = 154
ISSUANCE_LIMITS = FrameLimits(ISSUANCE, {Credits: 64 + MAX_CREDITS * ROW_BYTES})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a ledger stands: the last row settled, and the shift in which a new ledger begins."""

    acked_seq: int
    min_shift: int


class CreditBook(Protocol):
    """Settles rows durably; raises IssuanceRefused for what it will never accept."""

    async def open_ledger(self, identity: bytes, store_id: bytes, next_seq: int) -> Standing:
        """The standing of an issuer's ledger (`store_id` 16 bytes), which is made known if it is new."""
        ...

    async def settle(self, identity: bytes, store_id: bytes, credits_frame: Credits) -> CreditResults:
        """Settle the rows of a frame; a row settled before gets the same result again."""
        ...


class IssuerConnection(Protocol):
    """What the acceptor needs of a connection."""

    peer: str
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
        """End the connection after what was sent."""
        ...


class Acceptor:
    """Serves issuers: `authority` is the mint's x-only authority key, `window` the frames a link may have
    unanswered.

    `linked` gives how many issuers are connected.
    """

    def __init__(
        self,
        book: CreditBook,
        issuers: Collection[bytes],
        *,
        authority: bytes,
        quote_key: bytes,
        mint_url: str,
        window: int,
    ) -> None:
        self._book = book
        self._issuers = frozenset(issuers)
        self._authority = authority
        self._quote_key = quote_key
        self._mint_url = mint_url
        self._window = window
        self.ignored = 0
        """Messages that this end does not know and passed over."""
        self._links: dict[bytes, IssuerConnection] = {}

    @property
    def linked(self) -> int:
        """How many issuers are connected."""
        return len(self._links)

    async def serve(self, connection: IssuerConnection) -> None:
        """Talk to one issuer until either ends; raises Sv2Error and ConnectionLost."""
        try:
            async with asyncio.timeout(HELLO_S):
                hello = await self._receive_hello(connection)
                standing = await self._greet(connection, hello)
        except TimeoutError:
            connection.close(f"no hello within {HELLO_S:g} s", code="begin-timeout")
            return
        except SetupRefused as error:
            self._refuse(connection, error)
            return
        self._replace(hello.identity, connection)
        issuer = hello.identity.hex()[:16]
        _log.info(
            "an issuer is connected",
            extra={"issuer": issuer, "peer": connection.peer, "acked_seq": standing.acked_seq},
        )
        try:
            await self._settle(connection, hello)
        except SetupRefused as error:
            self._refuse(connection, error)
        except TimeoutError:
            connection.close(f"results were not read within {DRAIN_S:g} s", code="not-reading")
        finally:
            if self._links.get(hello.identity) is connection:
                del self._links[hello.identity]
            _log.info("an issuer is gone", extra={"issuer": issuer, "peer": connection.peer})

    async def _receive_hello(self, connection: IssuerConnection) -> IssuerHello:
        setup = ServerSetup(PROTOCOL_ISSUANCE, extensions=[EXTENSION])
        while True:
            frame = await connection.receive()
            answer = setup.receive(frame)
            if answer is not None:
                connection.send(answer)
            elif (message := self._decode(frame)) is not None:
                break
        if not isinstance(message, IssuerHello):
            raise UnexpectedMessage(f"{type(message).__name__} where the issuer's hello belongs")
        return message

    async def _greet(self, connection: IssuerConnection, hello: IssuerHello) -> Standing:
        if hello.identity not in self._issuers:
            raise UnknownIssuer(f"no [[issuers]] of mint.toml has the identity {hello.identity.hex()}")
        try:
            verify_hello(hello.identity, hello.signature, connection.handshake_hash, self._authority)
        except IdentityRefused as error:
            raise FalseIdentity(str(error)) from error
        standing = await self._book.open_ledger(hello.identity, hello.store_id, hello.next_seq)
        success = IssuerHelloSuccess(
            acked_seq=standing.acked_seq,
            min_shift=standing.min_shift,
            window=self._window,
            mint_url=self._mint_url,
            quote_key=self._quote_key,
        )
        connection.send(encode(success))
        return standing

    async def _settle(self, connection: IssuerConnection, hello: IssuerHello) -> None:
        while True:
            message = self._decode(await connection.receive())
            if message is None:
                continue
            if not isinstance(message, Credits):
                raise UnexpectedMessage(f"{type(message).__name__} where credits belong")
            if len(message.rows) > MAX_CREDITS:
                raise MalformedMessage(f"{len(message.rows)} rows in a frame, at most {MAX_CREDITS} may be")
            results = await self._book.settle(hello.identity, hello.store_id, message)
            connection.send(encode(results))
            crash.once_sent("mint.results-sent")
            async with asyncio.timeout(DRAIN_S):
                await connection.drain()

    def _decode(self, frame: Frame) -> Message | None:
        """A message; None for one that only a later version knows, which is passed over."""
        try:
            message, _ = ISSUANCE.decode(frame)
        except UnknownMessage:
            self.ignored += 1
            return None
        return message

    def _replace(self, identity: bytes, connection: IssuerConnection) -> None:
        """One link an issuer: an older one died unnoticed, or belongs to a second pool by mistake."""
        older = self._links.pop(identity, None)
        if older is not None:
            _log.warning(
                "an issuer connected anew; its older link is closed",
                extra={"issuer": identity.hex()[:16], "peer": older.peer},
            )
            older.close("the issuer connected anew", code="superseded")
        self._links[identity] = connection

    def _refuse(self, connection: IssuerConnection, error: SetupRefused) -> None:
        extra = {"peer": connection.peer, "code": error.code}
        _log.error("an issuer is refused: %s", error, extra=extra)
        connection.send(refusal(error))
        connection.close(str(error), code=error.code)
