"""Mint requests put into bytes: outputs, and a signature for every quote (NUT-20, NUT-29)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from protocols.cashu import quote_signature
from protocols.cashu.models import BlindedMessage
from roles.wallet.mint_client import BATCH_PATH, SINGLE_PATH
from roles.wallet.request import Form


@dataclass(frozen=True, slots=True)
class LockedQuote:
    """A quote by the mint's name, what is minted of it, and the secret that unlocks it."""

    share_hash: bytes
    quote_id: str
    amount: int
    secret: bytes = field(repr=False)


def compose(
    quotes: Sequence[LockedQuote],
    outputs: Sequence[BlindedMessage],
    *,
    form: Form,
    batch: bool,
    entropy: Callable[[int], bytes],
) -> tuple[str, bytes]:
    """Path and body of a request; each signature is over all outputs. Without `batch` there must be one
    quote.
    """
    sign = quote_signature.sign if form == "amended" else quote_signature.sign_legacy
    signatures = [sign(quote.secret, quote.quote_id, outputs, entropy(32)).hex() for quote in quotes]
    messages = [output.to_json() for output in outputs]
    if not batch:
        (quote,) = quotes
        body: dict[str, object] = {
            "quote": quote.quote_id,
            "outputs": messages,
            "signature": signatures[0],
        }
        return SINGLE_PATH, orjson.dumps(body)
    body = {
        "quotes": [quote.quote_id for quote in quotes],
        "quote_amounts": [quote.amount for quote in quotes],
        "outputs": messages,
        "signatures": signatures,
    }
    return BATCH_PATH, orjson.dumps(body)
