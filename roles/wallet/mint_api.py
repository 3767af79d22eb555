"""What a mint says, read from JSON into values and nothing believed: every reader raises MalformedError."""

from collections.abc import Mapping
from dataclasses import dataclass

from protocols.cashu.errors import MalformedError
from protocols.cashu.fields import as_array, as_bytes, as_integer, as_keyset_id, as_object, as_point, as_text
from protocols.cashu.models import BlindSignature
from protocols.ehash.amount import AMOUNT_LIMIT

METHOD = "ehash"
QUOTE_ID_LIMIT = 128
INVOICE_LIMIT = 8_192
_PAID = ("PAID", "ISSUED")
_ISSUED = ("ISSUED",)
UNIT_LIMIT = 255


@dataclass(frozen=True, slots=True)
class MintInfo:
    """What the wallet needs of /v1/info; keys are 33 bytes, None where the mint names none.

    `max_batch` is 0 without batches (NUT-29), `max_lookup_keys` 0 without look-up by key (NUT-XX).
    """

    name: str
    public_key: bytes | None
    quote_key: bytes | None
    max_batch: int
    max_lookup_keys: int
    urls: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, value: object) -> "MintInfo":
        """Read /v1/info."""
        body = as_object(value, "mint info")
        nuts = as_object(body.get("nuts", {}), "nuts")
        return cls(
            as_text(body.get("name", ""), "name", 255),
            _point(body, "pubkey"),
            _point(body, "quote_key"),
            _limit(nuts, "29", "max_batch_size", 50),
            _limit(nuts, "XX", "max_pubkeys", 50),
            tuple(as_text(url, "url", 4096) for url in as_array(body.get("urls") or [], "urls")),
        )


@dataclass(frozen=True, slots=True)
class KeysetHead:
    """One line of /v1/keysets."""

    keyset_id: str
    unit: str
    active: bool

    @classmethod
    def from_json(cls, value: object) -> "KeysetHead":
        """Read one keyset's line."""
        item = as_object(value, "keyset")
        active = item.get("active")
        if not isinstance(active, bool):
            raise MalformedError("active is not a boolean")
        unit = as_text(item.get("unit"), "unit", UNIT_LIMIT).lower()
        return cls(as_keyset_id(item.get("id")), unit, active)


@dataclass(frozen=True, slots=True)
class QuoteState:
    """A mint quote as the mint sees it; `share_hash` is None where `request` is none."""

    quote_id: str
    unit: str
    share_hash: bytes | None
    public_key: bytes | None
    paid: int
    issued: int

    @property
    def mintable(self) -> int:
        """What can still be minted."""
        return self.paid - self.issued

    @classmethod
    def from_json(cls, value: object) -> "QuoteState":
        """Read a mint quote response of any method that counts amount_paid and amount_issued."""
        item = as_object(value, "quote")
        paid = as_integer(item.get("amount_paid"), "amount_paid", AMOUNT_LIMIT)
        issued = as_integer(item.get("amount_issued"), "amount_issued", AMOUNT_LIMIT)
        if issued > paid:
            raise MalformedError("more is issued than was paid")
        request = item.get("request")
        is_hash = isinstance(request, str) and len(request) == 64
        return cls(
            as_text(item.get("quote"), "quote id", QUOTE_ID_LIMIT),
            as_text(item.get("unit"), "unit", UNIT_LIMIT).lower(),
            as_bytes(request, "request", 32) if is_hash else None,
            _point(item, "pubkey"),
            paid,
            issued,
        )


@dataclass(frozen=True, slots=True)
class InvoiceQuote:
    """A mint quote that is paid by an invoice (NUT-23); `expires` in Unix seconds, None where it does not."""

    quote_id: str
    invoice: str
    unit: str
    paid: int
    issued: int
    expires: int | None

    @classmethod
    def from_json(cls, value: object) -> "InvoiceQuote":
        """Read the response; older mints tell a state instead of amounts."""
        item = as_object(value, "quote")
        amount = as_integer(item.get("amount", 0), "amount", AMOUNT_LIMIT)
        paid, issued = (amount if item.get("state") in words else 0 for words in (_PAID, _ISSUED))
        if item.get("amount_paid") is not None:
            paid = as_integer(item["amount_paid"], "amount_paid", AMOUNT_LIMIT)
            issued = as_integer(item.get("amount_issued"), "amount_issued", AMOUNT_LIMIT)
        return cls(
            as_text(item.get("quote"), "quote id", QUOTE_ID_LIMIT),
            as_text(item.get("request"), "request", INVOICE_LIMIT),
            as_text(item.get("unit", "sat"), "unit", UNIT_LIMIT).lower(),
            paid,
            issued,
            _moment(item.get("expiry")),
        )


@dataclass(frozen=True, slots=True)
class MeltQuote:
    """A payment that the mint makes for tokens (NUT-05); `change` only where it has been made."""

    quote_id: str
    amount: int
    fee_reserve: int
    state: str
    expires: int | None
    preimage: str | None
    change: tuple[BlindSignature, ...]

    @classmethod
    def from_json(cls, value: object) -> "MeltQuote":
        """Read the response to a quote, a look at it, or its execution."""
        item = as_object(value, "melt quote")
        state = item.get("state")
        if state is None:
            state = "PAID" if item.get("paid") is True else "UNPAID"
        preimage, change = item.get("payment_preimage"), item.get("change")
        return cls(
            as_text(item.get("quote", ""), "quote id", QUOTE_ID_LIMIT),
            as_integer(item.get("amount", 0), "amount", AMOUNT_LIMIT),
            as_integer(item.get("fee_reserve", 0), "fee_reserve", AMOUNT_LIMIT),
            as_text(state, "state", 32).upper(),
            _moment(item.get("expiry")),
            None if preimage is None else as_text(preimage, "preimage", 128),
            tuple(map(BlindSignature.from_json, as_array(change or [], "change"))),
        )


def _moment(value: object) -> int | None:
    return as_integer(value, "expiry", 1 << 53) if value else None


def read_page(value: object) -> tuple[list[QuoteState], str | None]:
    """The quotes of one page of a look-up and the cursor to the next."""
    body = as_object(value, "look-up")
    cursor = body.get("next_cursor")
    quotes = [QuoteState.from_json(item) for item in as_array(body.get("quotes"), "quotes")]
    return quotes, None if cursor is None else as_text(cursor, "next_cursor", 1024)


def read_shifts(value: object) -> tuple[list[KeysetHead], str | None]:
    """The keysets of one page of shifts and the cursor to the next; whether they sign is not told."""
    body = as_object(value, "shifts")
    cursor = body.get("next_cursor")
    heads = []
    for item in as_array(body.get("shifts"), "shifts"):
        shift = as_object(item, "shift")
        unit = as_text(shift.get("unit"), "unit", UNIT_LIMIT).lower()
        ids = as_array(shift.get("keysets"), "keysets")
        heads += [KeysetHead(as_keyset_id(each), unit, active=True) for each in ids]
    return heads, None if cursor is None else as_text(cursor, "next_cursor", UNIT_LIMIT)


def _point(item: Mapping[str, object], name: str) -> bytes | None:
    return None if item.get(name) is None else as_point(item[name], name)


def _limit(nuts: Mapping[str, object], nut: str, name: str, default: int) -> int:
    """A NUT's size limit; `default` where the NUT is offered without one, 0 where it is not offered."""
    if nut not in nuts:
        return 0
    settings = as_object(nuts[nut], f"NUT-{nut} settings")
    if settings.get("supported") is False or settings.get("disabled") is True:
        return 0
    size = settings.get(name)
    return default if size is None else as_integer(size, name)
