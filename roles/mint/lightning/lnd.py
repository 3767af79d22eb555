"""A Lightning node that is an lnd, by its REST API (0.15 and newer).

A payment's fate is what the router says of it for good: SUCCEEDED or FAILED. Where its answer breaks off, or
is an error after which a payment may be under way, nothing is known, and `track` tells later what came of it.
"""

import base64
import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from protocols.lightning.errors import InvoiceError
from protocols.lightning.invoice import Invoice, decode
from roles.mint.lightning.backend import Fate, NewInvoice
from roles.mint.lightning.errors import BackendUnavailable, InvoiceRefused
from roles.runtime.reason import why

ALREADY_EXISTS: Final = 6
INVALID: Final = 3
NOT_FOUND: Final = 5
"""What its errors are numbered with (gRPC)."""

CURRENCIES: Final = {
    "mainnet": "bc",
    "testnet": "tb",
    "testnet4": "tb",
    "signet": "tbs",
    "regtest": "bcrt",
    "simnet": "sb",
}
"""The currency of invoices on each network that it names."""

QUIET_S: Final = 600.0
"""A subscription that has said nothing for so long is made anew: the node may be gone without a word."""
_ANSWER_LIMIT: Final = 1 << 21
_UNKNOWN_TEXTS: Final = ("isn't initiated", "unable to locate invoice", "there are no existing invoices")


@dataclass(frozen=True, slots=True)
class Access:
    """Where the node is, and what lets us in: its macaroon in hex, and the certificate that it must show."""

    url: str
    macaroon: str = field(repr=False)
    certificate: str | None = None
    """PEM; None where a known authority has signed it."""


class LndError(Exception):
    """It answered with an error; `code` is gRPC's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def is_unknown(self) -> bool:
        """Whether it says that it has never heard of what it was asked about."""
        return self.code == NOT_FOUND or any(text in str(self) for text in _UNKNOWN_TEXTS)


class LndBackend:
    """The node behind `access`; it begins no further attempt of a payment after `pay_s`."""

    def __init__(self, access: Access, *, pay_s: float, route_hints: bool = False) -> None:
        self._access = access
        self._pay_s = pay_s
        self._route_hints = route_hints
        self._opened: aiohttp.ClientSession | None = None
        self._currency = ""

    async def probe(self) -> None:
        """It is there if it follows the chain."""
        try:
            info = await self._ask("GET", "/v1/getinfo")
        except LndError as error:
            raise BackendUnavailable(f"lnd does not let us in: {error}") from error
        networks = [chain.get("network") for chain in info.get("chains", ()) if isinstance(chain, dict)]
        self._currency = CURRENCIES.get(str(networks[0]) if networks else "", "")
        if info.get("synced_to_chain") is not True:
            raise BackendUnavailable("lnd is behind the chain")

    async def create_invoice(self, amount_msat: int, description: str, expiry_s: int) -> NewInvoice:
        """See `Backend`."""
        body = {
            "memo": description,
            "value_msat": str(amount_msat),
            "expiry": str(expiry_s),
            "private": self._route_hints,
        }
        try:
            made = await self._ask("POST", "/v1/invoices", body)
            request = str(made.get("payment_request"))
            invoice = decode(request)
        except LndError as error:
            raise _refused_or_away(error) from error
        except InvoiceError as error:
            raise BackendUnavailable("lnd made an invoice that cannot be read") from error
        return NewInvoice(request, invoice.payment_hash, invoice.expires_at)

    async def is_paid(self, payment_hash: bytes) -> bool:
        """See `Backend`."""
        try:
            invoice = await self._ask("GET", f"/v1/invoice/{payment_hash.hex()}")
        except LndError as error:
            if error.is_unknown:
                return False
            raise BackendUnavailable(f"lnd does not say: {error}") from error
        return invoice.get("state") == "SETTLED"

    async def cancel_invoice(self, payment_hash: bytes) -> None:
        """See `Backend`."""
        body = {"payment_hash": base64.b64encode(payment_hash).decode()}
        try:
            await self._ask("POST", "/v2/invoices/cancel", body)
        except LndError as error:
            if not error.is_unknown:
                raise BackendUnavailable(f"lnd cancelled nothing: {error}") from error

    async def receipts(self) -> AsyncIterator[Sequence[bytes]]:
        """See `Backend`; ends when nothing has come for long."""
        try:
            async with self._lines("GET", "/v1/invoices/subscribe", read_s=QUIET_S) as lines:
                async for told in lines:
                    if told.get("state") == "SETTLED":
                        yield [base64.b64decode(str(told.get("r_hash")))]
        except LndError as error:
            raise BackendUnavailable(f"lnd does not tell of payments: {error}") from error
        except TimeoutError:
            return
        raise BackendUnavailable("lnd has ended its telling of payments")

    async def consider(self, invoice: Invoice, now: int) -> None:
        """See `Backend`."""
        if now > invoice.expires_at:
            raise InvoiceRefused("it has expired")
        if not self._currency:
            await self.probe()
        if self._currency and invoice.currency != self._currency:
            raise InvoiceRefused("it is of another network")

    async def pay(self, request: str, amount_msat: int, max_fee_msat: int) -> Fate:
        """See `Backend`; lnd pays one payment hash once, and goes on when the answer is not waited for."""
        invoice = decode(request)
        body: dict[str, object] = {
            "payment_request": request,
            "timeout_seconds": max(1, int(self._pay_s)),
            "fee_limit_msat": str(max_fee_msat),
            "no_inflight_updates": True,
        }
        if invoice.amount_msat is None:
            body["amt_msat"] = str(amount_msat)
        try:
            async with self._lines("POST", "/v2/router/send", body) as lines:
                async for told in lines:
                    fate = read_fate(told)
                    if fate.outcome != "pending":
                        return fate
        except LndError as error:
            if error.code == ALREADY_EXISTS:
                return await self.find_payment(invoice.payment_hash)
            raise _refused_or_away(error) from error
        raise BackendUnavailable("lnd broke off in the middle of a payment")

    async def find_payment(self, payment_hash: bytes) -> Fate:
        """See `Backend`."""
        name = base64.urlsafe_b64encode(payment_hash).decode()
        try:
            async with self._lines("GET", f"/v2/router/track/{name}?no_inflight_updates=false") as lines:
                async for told in lines:
                    return read_fate(told)
        except LndError as error:
            if error.is_unknown:
                return Fate("unknown")
            raise BackendUnavailable(f"lnd does not say: {error}") from error
        raise BackendUnavailable("lnd does not say what became of a payment")

    async def close(self) -> None:
        """See `Backend`."""
        if self._opened is not None:
            await self._opened.close()

    async def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        try:
            async with self._session.request(method, self._access.url + path, json=body) as reply:
                return _read(reply.status, await reply.content.read(_ANSWER_LIMIT))
        except (aiohttp.ClientError, OSError) as error:
            raise BackendUnavailable(f"lnd cannot be reached: {_reason(error)}") from error

    @asynccontextmanager
    async def _lines(
        self, method: str, path: str, body: object = None, *, read_s: float | None = None
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """What a stream tells, one after the other; raises LndError, BackendUnavailable, and TimeoutError
        when nothing has come for `read_s`.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=read_s)
        try:
            async with self._session.request(
                method, self._access.url + path, json=body, timeout=timeout
            ) as reply:
                yield _each(reply)
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            raise BackendUnavailable(f"lnd cannot be reached: {_reason(error)}") from error

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=_trust(self._access.certificate), limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"Grpc-Metadata-macaroon": self._access.macaroon},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
                read_bufsize=_ANSWER_LIMIT // 2,
                trust_env=False,
            )
        return self._opened


def read_fate(told: dict[str, Any]) -> Fate:
    """A payment as the router tells it; what it is not sure of is pending."""
    status = told.get("status")
    if status == "SUCCEEDED":
        return Fate("paid", int(told.get("fee_msat") or 0), _preimage(told.get("payment_preimage")))
    if status == "FAILED":
        reason = str(told.get("failure_reason") or "").removeprefix("FAILURE_REASON_")
        return Fate("failed", reason=reason.replace("_", " ").lower()[:100])
    return Fate("pending")


def _preimage(value: object) -> bytes | None:
    try:
        found = bytes.fromhex(str(value))
    except ValueError:
        return None
    return found if len(found) == 32 else None


async def _each(reply: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    if reply.status != 200:
        _read(reply.status, await reply.content.read(_ANSWER_LIMIT))
    try:
        async for line in reply.content:
            if line.strip():
                told = _read(reply.status, line).get("result")
                if isinstance(told, dict):
                    yield told
    except ValueError as error:
        raise BackendUnavailable("lnd tells too much at once") from error


def _read(status: int, body: bytes) -> dict[str, Any]:
    """An object of its answer; raises LndError for an error of its own, else BackendUnavailable."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise BackendUnavailable(f"lnd answered HTTP {status} with what is no object")
    error = told.get("error", told if status != 200 else None)
    if error is None:
        return told
    if not isinstance(error, dict):
        # Older gateways put the text there, and the code beside it.
        error = told
    code = error.get("code", error.get("grpc_code"))
    message = str(error.get("message") or error.get("error") or f"HTTP {status}")
    raise LndError(code if isinstance(code, int) else 2, message[:200])


def _refused_or_away(error: LndError) -> InvoiceRefused | BackendUnavailable:
    """Only what it calls a mistake of ours is for sure nothing done."""
    if error.code == INVALID:
        return InvoiceRefused(str(error))
    return BackendUnavailable(f"lnd answered with an error: {error}")


def _reason(error: Exception) -> str:
    # The texts of other errors may hold what was sent.
    return why(error) if isinstance(error, OSError) else type(error).__name__


def _trust(certificate: str | None) -> ssl.SSLContext:
    if certificate is None:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificate)
    # It is this very certificate that is believed, whatever names it bears.
    context.check_hostname = False
    return context
