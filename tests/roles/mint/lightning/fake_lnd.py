"""A fake lnd: it speaks as much of lnd's REST API as the mint uses, and does what a test says. No money."""

import asyncio
import base64
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from protocols.bitcoin.hashing import sha256
from protocols.lightning.invoice import Invoice, decode, encode

MACAROON = "0201036c6e64fe"
NODE = b"\x65" * 32
PREIMAGE = b"\x17" * 32


@dataclass
class FakeLnd:
    """`plans`: payment hash to how its sending goes: paid, failed, breaks, ends, or an error's code;
    `payments`: what it has begun, as the router tells it.
    """

    clock: Callable[[], float]
    url: str = ""
    certificate: str = ""
    synced: bool = True
    plans: dict[bytes, str | int] = field(default_factory=dict)
    payments: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    invoices: dict[bytes, str] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)
    listeners: list[asyncio.Queue[bytes]] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/v1/getinfo", self._info)
        app.router.add_post("/v1/invoices", self._make)
        app.router.add_get("/v1/invoices/subscribe", self._subscribe)
        app.router.add_get("/v1/invoice/{hash}", self._look)
        app.router.add_post("/v2/invoices/cancel", self._cancel)
        app.router.add_post("/v2/router/send", self._send)
        app.router.add_get("/v2/router/track/{hash}", self._track)
        return app

    def receive(self, payment_hash: bytes) -> None:
        """Somebody pays an invoice."""
        self.invoices[payment_hash] = "SETTLED"
        for listener in self.listeners:
            listener.put_nowait(payment_hash)

    def settle(self, payment_hash: bytes, status: str) -> None:
        """A payment comes to its end."""
        told: dict[str, Any] = {"payment_hash": payment_hash.hex(), "status": status}
        if status == "SUCCEEDED":
            told |= {"fee_msat": "1000", "payment_preimage": PREIMAGE.hex()}
        if status == "FAILED":
            told |= {"failure_reason": "FAILURE_REASON_NO_ROUTE", "fee_msat": "0"}
        self.payments[payment_hash] = told

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Grpc-Metadata-macaroon") != MACAROON:
            return _error(16, "verification failed: signature mismatch after caveat verification", 500)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _info(self, _: web.Request) -> web.Response:
        chains = [{"chain": "bitcoin", "network": "mainnet"}]
        return web.json_response({"synced_to_chain": self.synced, "chains": chains})

    async def _make(self, request: web.Request) -> web.Response:
        body = await request.json()
        if int(body["value_msat"]) > 10**9:
            return _error(3, "payment is too large", 400)
        payment_hash = sha256(b"invoice%d" % len(self.invoices))
        invoice = Invoice(
            "bc",
            int(body["value_msat"]),
            int(self.clock()),
            payment_hash,
            description=body["memo"],
            expiry_s=int(body["expiry"]),
        )
        self.invoices[payment_hash] = "OPEN"
        made = {"r_hash": base64.b64encode(payment_hash).decode(), "payment_request": encode(invoice, NODE)}
        return web.json_response(made)

    async def _look(self, request: web.Request) -> web.Response:
        state = self.invoices.get(bytes.fromhex(request.match_info["hash"]))
        if state is None:
            return _error(2, "unable to locate invoice", 500)
        return web.json_response({"state": state})

    async def _cancel(self, request: web.Request) -> web.Response:
        payment_hash = base64.b64decode((await request.json())["payment_hash"])
        if self.invoices.get(payment_hash) == "SETTLED":
            return _error(2, "invoice already settled", 500)
        if payment_hash not in self.invoices:
            return _error(5, "unable to locate invoice", 404)
        self.invoices[payment_hash] = "CANCELED"
        return web.json_response({})

    async def _subscribe(self, request: web.Request) -> web.StreamResponse:
        listener: asyncio.Queue[bytes] = asyncio.Queue()
        self.listeners.append(listener)
        reply = web.StreamResponse()
        await reply.prepare(request)
        while payment_hash := await listener.get():
            invoice = {"r_hash": base64.b64encode(payment_hash).decode()}
            await _tell(reply, {"result": invoice | {"state": "OPEN"}})
            await _tell(reply, {"result": invoice | {"state": "SETTLED"}})
        return reply

    async def _send(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.sent.append(body)
        payment_hash = decode(body["payment_request"]).payment_hash
        known = self.payments.get(payment_hash)
        if known is not None and known["status"] != "FAILED":
            return _error(6, "payment is in transition", 500)
        plan = self.plans.get(payment_hash, "paid")
        if isinstance(plan, int):
            return _error(plan, "it was told to say so", 500)
        reply = web.StreamResponse()
        await reply.prepare(request)
        self.settle(payment_hash, "IN_FLIGHT")
        await _tell(reply, {"result": self.payments[payment_hash]})
        if plan == "breaks":
            assert request.transport is not None
            request.transport.abort()
        elif plan != "ends":
            self.settle(payment_hash, {"paid": "SUCCEEDED", "failed": "FAILED"}[plan])
            await _tell(reply, {"result": self.payments[payment_hash]})
        return reply

    async def _track(self, request: web.Request) -> web.StreamResponse:
        payment_hash = base64.urlsafe_b64decode(request.match_info["hash"])
        reply = web.StreamResponse()
        if payment_hash not in self.payments:
            return _error(5, "payment isn't initiated", 404)
        await reply.prepare(request)
        await _tell(reply, {"result": self.payments[payment_hash]})
        if self.payments[payment_hash]["status"] == "IN_FLIGHT":
            await asyncio.sleep(3_600)
        return reply


@asynccontextmanager
async def serving(lnd: FakeLnd, directory: Path) -> AsyncIterator[FakeLnd]:
    """Serve it over TLS, with a certificate of its own."""
    context, lnd.certificate = _identity(directory)
    runner = web.AppRunner(lnd.app(), shutdown_timeout=0.05)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    lnd.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield lnd
    await runner.cleanup()


def certificate(directory: Path) -> str:
    """Another node's."""
    return _identity(directory)[1]


def _identity(directory: Path) -> tuple[ssl.SSLContext, str]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fake lnd")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("10.1.2.3"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    both = directory / "lnd.pem"
    both.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return context, pem.decode()


def _error(code: int, message: str, status: int) -> web.Response:
    return web.json_response({"code": code, "message": message, "details": []}, status=status)


async def _tell(reply: web.StreamResponse, told: object) -> None:
    await reply.write(json.dumps(told).encode() + b"\n")
