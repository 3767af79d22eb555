"""Payment requests as text: creqA, CBOR in base64 (NUT-18), and creqB, TLV in bech32m (NUT-26)."""

from collections.abc import Mapping
from urllib.parse import parse_qsl

import cbor2

from protocols.cashu import base64_text, payment_tlv
from protocols.cashu.errors import MalformedError
from protocols.cashu.fields import as_array, as_integer, as_object, as_text
from protocols.cashu.keyset import UNIT_LIMIT
from protocols.cashu.payment import (
    TEXT_LIMIT,
    LockRequest,
    PaymentRequest,
    Tags,
    Transport,
    optional_text,
    read_tags,
)

REQUEST_LIMIT = 1 << 16
_DEPTH = 8


def decode(text: str) -> PaymentRequest:
    """Read a request in either form, also out of the `creq` of a bitcoin: address; raises MalformedError."""
    text = text.strip()
    if len(text) > REQUEST_LIMIT:
        raise MalformedError("the payment request is too long")
    if text[:8].lower() == "bitcoin:":
        _, _, query = text.partition("?")
        text = next((value for name, value in parse_qsl(query) if name.lower() == "creq"), "")
    if text[:5].lower() == "creqa":
        return _from_cbor(base64_text.decode(text[5:]))
    if text[:6].lower() == "creqb1":
        return payment_tlv.decode(text, REQUEST_LIMIT)
    raise MalformedError("the payment request begins with neither creqA nor creqB")


def encode_cbor(request: PaymentRequest) -> str:
    """The form creqA, which more wallets know."""
    body: dict[str, object] = {
        "i": request.payment_id,
        "a": request.amount,
        "u": request.unit,
        "s": request.single_use,
        "m": list(request.mints) or None,
        "d": request.description,
        "t": [_transport_to_cbor(transport) for transport in request.transports] or None,
    }
    if request.lock is not None:
        lock, tags = request.lock, _lists(request.lock.tags)
        body["nut10"] = {"k": lock.kind, "d": lock.data, **({"t": tags} if tags else {})}
    return "creqA" + base64_text.encode(
        cbor2.dumps({name: value for name, value in body.items() if value is not None})
    )


def encode_tlv(request: PaymentRequest) -> str:
    """The form creqB, shorter in a QR code; raises MalformedError for what it cannot express."""
    return payment_tlv.encode(request)


def _transport_to_cbor(transport: Transport) -> dict[str, object]:
    item: dict[str, object] = {"t": transport.kind, "a": transport.target}
    return {**item, "g": _lists(transport.tags)} if transport.tags else item


def _lists(tags: Tags) -> list[list[str]]:
    return [list(tag) for tag in tags]


def _from_cbor(data: bytes) -> PaymentRequest:
    try:
        value = cbor2.loads(data, max_depth=_DEPTH, allow_duplicate_keys=False, strict_hashable_types=True)
    except cbor2.CBORDecodeError:
        raise MalformedError("the payment request is not CBOR") from None
    body = _fields(value, "payment request")
    single_use = body.get("s")
    if single_use is not None and not isinstance(single_use, bool):
        raise MalformedError("single use is not a boolean")
    amount, lock = body.get("a"), body.get("nut10")
    return PaymentRequest(
        optional_text(body.get("i"), "id"),
        None if amount is None else as_integer(amount, "amount"),
        optional_text(body.get("u"), "unit", UNIT_LIMIT),
        single_use,
        tuple(as_text(mint, "mint", TEXT_LIMIT) for mint in as_array(body.get("m", []), "mints")),
        optional_text(body.get("d"), "description"),
        tuple(_transport(item) for item in as_array(body.get("t", []), "transports")),
        None if lock is None else _lock(lock),
    )


def _fields(value: object, what: str) -> Mapping[str, object]:
    """The fields that are there: some wallets write those that are not as null or undefined."""
    fields = as_object(value, what)
    return {
        name: field for name, field in fields.items() if field is not None and field is not cbor2.undefined
    }


def _transport(value: object) -> Transport:
    item = _fields(value, "transport")
    kind, target = (as_text(item.get(name), "transport", TEXT_LIMIT) for name in ("t", "a"))
    return Transport(kind, target, read_tags(item.get("g")))


def _lock(value: object) -> LockRequest:
    item = _fields(value, "nut10")
    kind, data = (as_text(item.get(name), "nut10", TEXT_LIMIT) for name in ("k", "d"))
    return LockRequest(kind, data, read_tags(item.get("t")))
