"""What reads requests to the mint, and the mint's answers."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.errors import CashuError, MalformedError, RpcError
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import BlindSignature
from protocols.cashu.subscription import accepted, parse
from protocols.ehash.shift import Unit
from roles.mint.cursor import CursorCodec
from roles.mint.request import MintRequest, Sizes, SwapRequest, read_outputs, read_points, read_quote_ids
from roles.wallet.mint_api import (
    InvoiceQuote,
    KeysetHead,
    MeltQuote,
    MintInfo,
    QuoteState,
    read_page,
    read_shifts,
)
from tests.fuzz.campaign import Parser
from tests.fuzz.cashu_parsers import KEYSETS, OUTPUT, PROOFS, V2, dump, load
from tests.fuzz.json_mutation import JsonSamples
from tests.fuzz.mutation import Mutator

SIZES: Final = Sizes(array=20, batch=5, keys=3, page=10)
POINT: Final = public_key(b"\x11" * 32)
OTHER: Final = public_key(b"\x12" * 32)
QUOTE: Final = "9f8a2b6c-1d3e-8f40-9a5b-6c7d8e9fa0b1"
OUTPUTS: Final = [OUTPUT.to_json(), {**OUTPUT.to_json(), "amount": 1}]
BODIES: Final = JsonSamples(
    [
        dump({"inputs": [proof.to_json() for proof in PROOFS], "outputs": OUTPUTS}),
        dump({"quote": QUOTE, "outputs": OUTPUTS, "signature": "ab" * 64}),
        dump(
            {
                "quotes": [QUOTE, "other"],
                "quote_amounts": [5, 4],
                "outputs": OUTPUTS,
                "signatures": ["ab" * 64, None],
            }
        ),
        dump({"Ys": [POINT.hex()] * 2}),
        dump({"outputs": OUTPUTS}),
    ]
)


def read_body(data: bytes) -> None:
    """Every reader gets every body; what one of them takes has a digest."""
    value = load(data)
    readers: tuple[Callable[[], object], ...] = (
        lambda: SwapRequest.from_json(value, SIZES).digest,
        lambda: MintRequest.from_json(value, SIZES).digest,
        lambda: MintRequest.batch_from_json(value, SIZES).digest,
        lambda: read_outputs(value, SIZES),
        lambda: read_points(value, SIZES),
        lambda: read_quote_ids(value, SIZES),
    )
    refused = 0
    for reader in readers:
        try:
            reader()
        except CashuError:
            refused += 1
    if refused == len(readers):
        raise MalformedError("no reader takes it")


CURSORS: Final = CursorCodec(b"\x51" * 32)
CURSOR: Final = CURSORS.write(QUOTE, "ehash", [POINT])


def make_cursor(mutator: Mutator) -> str:
    if mutator.happens(1 / 2):
        return mutator.text([CURSOR], ("=", "+", "/"))
    return urlsafe_b64encode(mutator.damage([bytes(16) + QUOTE.encode()])).decode()


def read_cursor(cursor: str) -> None:
    assert CURSORS.read(cursor, "ehash", [POINT]) == QUOTE


STATE: Final = {
    "quote": QUOTE,
    "request": "cd" * 32,
    "unit": Unit(POINT, 0).name,
    "method": "ehash",
    "amount_paid": 9,
    "amount_issued": 4,
    "pubkey": POINT.hex(),
    "state": "PAID",
    "expiry": None,
}
ANSWERS: Final = JsonSamples(
    [
        dump({"quotes": [STATE, {**STATE, "amount_issued": 0}], "next_cursor": CURSOR}),
        dump(STATE),
        dump({"quote": QUOTE, "request": "lnbc1", "amount": 9, "unit": "sat", "state": "PAID", "expiry": 7}),
        dump(
            {
                "quote": QUOTE,
                "amount": 9,
                "fee_reserve": 2,
                "state": "PAID",
                "payment_preimage": "ab" * 32,
                "change": [BlindSignature(8, V2, POINT).to_json()],
            }
        ),
        dump({"shifts": [{"unit": Unit(POINT, 0).name, "keysets": [V2]}], "next_cursor": "x"}),
        dump(
            {
                "name": "mint",
                "urls": ["https://mint.example"],
                "pubkey": POINT.hex(),
                "quote_key": POINT.hex(),
                "nuts": {"29": {"max_batch_size": 50}, "XX": {"supported": True}},
            }
        ),
        dump({"id": V2, "unit": "sat", "active": True, "input_fee_ppk": 0}),
        dump({"signatures": [BlindSignature(8, V2, POINT).to_json()]}),
        *KEYSETS.texts,
    ]
)
ANSWER_READERS: Final[tuple[Callable[[Any], object], ...]] = (
    MintInfo.from_json,
    KeysetHead.from_json,
    QuoteState.from_json,
    InvoiceQuote.from_json,
    MeltQuote.from_json,
    read_page,
    read_shifts,
    Keyset.from_json,
    BlindSignature.from_json,
)


def read_answer(data: bytes) -> None:
    value = load(data)
    refused = 0
    for reader in ANSWER_READERS:
        try:
            reader(value)
        except MalformedError:
            refused += 1
    if refused == len(ANSWER_READERS):
        raise MalformedError("no reader takes it")


MESSAGES: Final = JsonSamples(
    [
        dump(
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": method,
                "params": {"subId": "s", "kind": kind, "filters": [POINT.hex(), OTHER.hex()]},
            }
        )
        for number, method, kind in (
            (0, "subscribe", "proof_state"),
            ("a", "subscribe", "ehash_mint_quote"),
            (2, "unsubscribe", ""),
        )
    ]
)


def read_message(data: bytes) -> None:
    """What comes over a websocket as text."""
    request = parse(data.decode("utf-8", "replace"), max_filters=3)
    assert json.loads(accepted(request))["id"] == request.request_id


PARSERS: Final = (
    Parser("mint-websocket", MESSAGES.damage, read_message, (RpcError,)),
    Parser("mint-requests", BODIES.damage, read_body, (MalformedError,)),
    Parser("mint-cursors", make_cursor, read_cursor, (MalformedError,)),
    Parser("mint-answers", ANSWERS.damage, read_answer, (MalformedError,)),
)
