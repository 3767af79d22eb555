"""Payment requests as creqB (NUT-26): fields of type (1 byte), length (2 bytes, big-endian) and value, in
bech32m.

Fields of unknown types are passed over. A Nostr target is its bare key; relays travel as tags "r".
"""

from collections.abc import Iterable, Iterator

from protocols.bitcoin.bech32 import BECH32M, decode_bytes, encode_bytes
from protocols.bitcoin.errors import Bech32Error
from protocols.cashu.errors import MalformedError
from protocols.cashu.fields import AMOUNT_LIMIT
from protocols.cashu.nostr_name import KEY_SIZE, NostrName
from protocols.cashu.payment import LockRequest, PaymentRequest, Tags, Transport

PREFIX = "creqb"
_ID, _AMOUNT, _UNIT, _SINGLE_USE, _MINT, _DESCRIPTION, _TRANSPORT, _LOCK = range(1, 9)
_KIND, _TARGET, _TAG = range(1, 4)
_SAT = b"\0"
_TRANSPORTS = {"nostr": 0, "post": 1}
_LOCKS = {"P2PK": 0, "HTLC": 1}
_RELAY = "r"

Field = tuple[int, bytes]


def encode(request: PaymentRequest) -> str:
    """The request in upper case; raises MalformedError for kinds, names and sizes that the form does not
    have.
    """
    return encode_bytes(PREFIX, _join(_fields_of(request)), BECH32M).upper()


def decode(text: str, limit: int) -> PaymentRequest:
    """Read a request of at most `limit` characters, in either case; raises MalformedError."""
    try:
        prefix, data = decode_bytes(text, BECH32M, limit)
    except Bech32Error as error:
        raise MalformedError(f"the payment request: {error}") from None
    if prefix != PREFIX:
        raise MalformedError(f"the payment request does not begin with {PREFIX}1")
    fields = list(_split(data))
    amount, single_use, lock = (_last(fields, kind) for kind in (_AMOUNT, _SINGLE_USE, _LOCK))
    unit = _last(fields, _UNIT)
    return PaymentRequest(
        _optional_text(fields, _ID),
        None if amount is None else _amount(amount),
        "sat" if unit == _SAT else _optional_text(fields, _UNIT),
        None if single_use is None else single_use == b"\1",
        tuple(_text(value) for kind, value in fields if kind == _MINT),
        _optional_text(fields, _DESCRIPTION),
        tuple(_transport(value) for kind, value in fields if kind == _TRANSPORT),
        None if lock is None else _lock(lock),
    )


def _fields_of(request: PaymentRequest) -> Iterator[Field]:
    if request.payment_id is not None:
        yield _ID, request.payment_id.encode()
    if request.amount is not None:
        if not 0 <= request.amount < AMOUNT_LIMIT:
            raise MalformedError("the amount is out of range")
        yield _AMOUNT, request.amount.to_bytes(8, "big")
    if request.unit is not None:
        yield _UNIT, _SAT if request.unit == "sat" else request.unit.encode()
    if request.single_use is not None:
        yield _SINGLE_USE, bytes((request.single_use,))
    for mint in request.mints:
        yield _MINT, mint.encode()
    if request.description is not None:
        yield _DESCRIPTION, request.description.encode()
    for transport in request.transports:
        yield _TRANSPORT, _join(_fields_of_transport(transport))
    if request.lock is not None:
        lock = request.lock
        named = [(_KIND, _number(_LOCKS, lock.kind)), (_TARGET, lock.data.encode())]
        yield _LOCK, _join([*named, *((_TAG, _tag_bytes(tag)) for tag in lock.tags)])


def _fields_of_transport(transport: Transport) -> Iterator[Field]:
    yield _KIND, _number(_TRANSPORTS, transport.kind)
    tags = transport.tags
    if transport.kind == "nostr":
        name = NostrName.parse(transport.target)
        tags += tuple((_RELAY, relay) for relay in name.relays)
        yield _TARGET, name.key
    else:
        yield _TARGET, transport.target.encode()
    for tag in tags:
        yield _TAG, _tag_bytes(tag)


def _transport(data: bytes) -> Transport:
    fields = list(_split(data))
    kind = _name(_TRANSPORTS, fields, "transport")
    target, tags = _last(fields, _TARGET) or b"", _tags(fields)
    if kind != "nostr":
        return Transport(kind, _text(target), tags)
    if len(target) != KEY_SIZE:
        raise MalformedError("the transport's Nostr key has another size")
    relays = tuple(relay for word, *relays in tags if word == _RELAY for relay in relays)
    others = tuple(tag for tag in tags if tag[0] != _RELAY)
    return Transport(kind, NostrName(target, relays).to_text(), others)


def _lock(data: bytes) -> LockRequest:
    fields = list(_split(data))
    return LockRequest(_name(_LOCKS, fields, "nut10"), _text(_last(fields, _TARGET) or b""), _tags(fields))


def _join(fields: Iterable[Field]) -> bytes:
    parts = []
    for kind, value in fields:
        if len(value) >= 1 << 16:
            raise MalformedError("a field of the payment request is too long")
        parts.append(bytes((kind,)) + len(value).to_bytes(2, "big") + value)
    return b"".join(parts)


def _split(data: bytes) -> Iterator[Field]:
    while data:
        end = 3 + int.from_bytes(data[1:3], "big")
        if len(data) < max(3, end):
            raise MalformedError("the payment request ends within a field")
        yield data[0], data[3:end]
        data = data[end:]


def _tag_bytes(tag: tuple[str, ...]) -> bytes:
    words = [word.encode() for word in tag]
    if any(len(word) > 255 for word in words):
        raise MalformedError("a tag of the payment request is too long")
    return b"".join(bytes((len(word),)) + word for word in words)


def _tags(fields: list[Field]) -> Tags:
    return tuple(_tag(value) for kind, value in fields if kind == _TAG)


def _tag(data: bytes) -> tuple[str, ...]:
    words = []
    while data:
        if len(data) < 1 + data[0]:
            raise MalformedError("a tag ends within a word")
        words.append(_text(data[1 : 1 + data[0]]))
        data = data[1 + data[0] :]
    if not words:
        raise MalformedError("a tag is empty")
    return tuple(words)


def _number(kinds: dict[str, int], name: str) -> bytes:
    if name not in kinds:
        raise MalformedError(f"creqB has no number for {name[:32]}")
    return bytes((kinds[name],))


def _name(kinds: dict[str, int], fields: list[Field], what: str) -> str:
    number = _last(fields, _KIND)
    for name, known in kinds.items():
        if number == bytes((known,)):
            return name
    raise MalformedError(f"the {what} is of an unknown kind")


def _last(fields: list[Field], wanted: int) -> bytes | None:
    values = [value for kind, value in fields if kind == wanted]
    return values[-1] if values else None


def _optional_text(fields: list[Field], wanted: int) -> str | None:
    value = _last(fields, wanted)
    return None if value is None else _text(value)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MalformedError("a text of the payment request is not UTF-8") from None


def _amount(value: bytes) -> int:
    if len(value) != 8:
        raise MalformedError("the amount is not 8 bytes")
    return int.from_bytes(value, "big")
