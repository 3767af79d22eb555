"""Payment requests (NUT-18, NUT-26): asking others for tokens, and paying what others ask for."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
import orjson

from protocols.cashu import payment_request
from protocols.cashu import token as token_form
from protocols.cashu.deterministic import Derived
from protocols.cashu.errors import CashuError
from protocols.cashu.lock import Lock
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.payment import LockRequest, Payload, PaymentRequest
from roles.wallet.errors import ForeignTokenError, RequestError
from roles.wallet.exchange import Wanted
from roles.wallet.kit import Kit
from roles.wallet.locking import Draw, scalar
from roles.wallet.receiving import same_mint

_ID_SIZE = 4
_POST_S = 20.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of ours in both forms."""

    payment_id: str
    unit: str
    cbor: str
    tlv: str


async def ask(
    kit: Kit, amount: int | None, unit: str, *, memo: str | None = None, key: bytes | None = None
) -> Asked:
    """A request for tokens of this wallet's mint; with `key`, 33 bytes, only its holder can take them.

    It names no way to send them: they come back however the request went. Raises MintError.
    """
    lock = None
    if key is not None:
        secret = ConditionSecret.parse(Lock((key,)).secret(bytes(32)))
        assert secret is not None
        lock = LockRequest(secret.kind, secret.data, secret.tags)
    payment_id = kit.entropy(_ID_SIZE).hex()
    url = await kit.keysets.url(unit)
    request = PaymentRequest(payment_id, amount, unit, True, (url,), memo, (), lock)
    return Asked(
        payment_id, unit, payment_request.encode_cbor(request), payment_request.encode_tlv(request).upper()
    )


def read(text: str, mint_url: str) -> PaymentRequest:
    """What somebody else asks for and tokens of this mint can be; raises RequestError, ForeignTokenError."""
    try:
        request = payment_request.decode(text)
        if request.lock is not None:
            request.lock.secret(bytes(32))
    except CashuError as error:
        raise RequestError(
            f"this is no payment request that can be read: {error.detail}",
            hint="it is one word that begins with creqA or CREQB1",
        ) from error
    if request.mints and not any(same_mint(mint, mint_url) for mint in request.mints):
        shown = "".join(letter if letter.isprintable() else "?" for letter in request.mints[0][:200])
        raise ForeignTokenError(f"tokens of {shown} are asked for, this wallet's are of {mint_url}")
    return request


def drawing(lock: LockRequest, entropy: Callable[[int], bytes]) -> Draw:
    """Draws outputs with the lock that was asked for."""

    def draw(amount: int) -> Wanted:
        return Wanted(amount, drawn=Derived(lock.secret(entropy(32)), scalar(entropy)), given=True)

    return draw


def payload(request: PaymentRequest, text: str, memo: str | None) -> Payload:
    """What a request's way of sending carries, from the text of a token."""
    token = token_form.decode(text)
    mint = next((mint for mint in request.mints if same_mint(mint, token.mint)), token.mint)
    return Payload(mint.rstrip("/"), token.unit or "", token.proofs, request.payment_id, memo)


async def hand_over(request: PaymentRequest, payment: Payload) -> bool:
    """Send a payment by the first of the request's ways that is known here; False when none worked."""
    body = orjson.dumps(payment.to_json())
    headers = {"Content-Type": "application/json"}
    for transport in request.transports:
        if transport.kind != "post" or not transport.target.startswith(("http://", "https://")):
            continue
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_POST_S)) as session,
                session.post(transport.target, data=body, headers=headers, allow_redirects=False) as reply,
            ):
                if reply.status < 300:
                    return True
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError):
            await asyncio.sleep(0)
    return False
