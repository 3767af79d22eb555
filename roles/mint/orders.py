"""What can be asked and ordered at the mint's local socket, and what it answers, as JSON."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from roles.mint.errors import OrderUnreadable

_TEXT = Field(min_length=1, max_length=500)
Scope = Annotated[str, Field(pattern=r"^(issuing|method:[a-z0-9_-]{1,64}|unit:[^\s]{1,128})$")]
Reason = Annotated[str, _TEXT]


class Order(BaseModel):
    """Base of orders; a field that is not known refuses the order."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Status(Order):
    """How the mint is."""

    order: Literal["status"]


class Keysets(Order):
    """The newest keysets, of a unit or of all."""

    order: Literal["keysets"]
    unit: str | None = None
    limit: int = Field(default=50, ge=1, le=10_000)


class Rotate(Order):
    """A new keyset for a unit."""

    order: Literal["rotate"]
    unit: str = _TEXT
    fee_ppk: int | None = Field(default=None, ge=0, le=1_000_000)
    """None for what it is now."""
    final_expiry: int | None = Field(default=None, ge=0, le=1 << 53)


class Pause(Order):
    """Stop issuing, or a method or unit."""

    order: Literal["pause"]
    scope: Scope
    reason: Reason


class Resume(Order):
    """Let it go on."""

    order: Literal["resume"]
    scope: Scope
    reason: Reason


class LookAtQuote(Order):
    """A quote as it stands."""

    order: Literal["quote"]
    quote: str = Field(min_length=1, max_length=128)


class CorrectQuote(Order):
    """What was paid for a quote, where the mint does not know it right."""

    order: Literal["correct"]
    quote: str = Field(min_length=1, max_length=128)
    amount_paid: int = Field(ge=0, lt=1 << 53)
    reason: Reason


class ResolveMelt(Order):
    """What became of a payment that the mint does not learn the fate of."""

    order: Literal["resolve"]
    quote: str = Field(min_length=1, max_length=128)
    outcome: Literal["paid", "failed"]
    reason: Reason
    preimage: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    routing_msat: int | None = Field(default=None, ge=0, lt=1 << 53)
    """What it cost beside its amount; None for all that was set aside."""
    unasked: bool = False
    """Without asking the Lightning node."""


class Backup(Order):
    """Copy the store to a file, of an absolute path."""

    order: Literal["backup"]
    path: str = Field(pattern=r"^/", max_length=4_000)


class LookAtWatchdog(Order):
    """What the watchdog has found."""

    order: Literal["watchdog"]


class Recount(Order):
    """Count all rows now."""

    order: Literal["recount"]


class Clear(Order):
    """Go on after the watchdog has stopped the mint."""

    order: Literal["clear"]
    reason: Reason


class ReadJournal(Order):
    """What was done, newest first."""

    order: Literal["journal"]
    limit: int = Field(default=50, ge=1, le=10_000)


AnyOrder = (
    Status
    | Keysets
    | Rotate
    | Pause
    | Resume
    | LookAtQuote
    | CorrectQuote
    | ResolveMelt
    | Backup
    | LookAtWatchdog
    | Recount
    | Clear
    | ReadJournal
)
_ORDERS: TypeAdapter[AnyOrder] = TypeAdapter(Annotated[AnyOrder, Field(discriminator="order")])


def read_order(line: bytes) -> AnyOrder:
    """The order of a line of JSON; raises OrderUnreadable."""
    try:
        return _ORDERS.validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "order"
        raise OrderUnreadable(f"{where}: {first['msg']}") from error


class Told(BaseModel):
    """Base of answers."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class HaltTold(Told):
    """Something that is stopped, since a Unix time."""

    scope: str
    reason: str
    since: int


class KeysetTold(Told):
    """A keyset with its counters, times in Unix seconds."""

    keyset_id: str
    unit: str
    active: bool
    input_fee_ppk: int
    final_expiry: int | None
    created_at: int
    issued: int
    redeemed: int


class StatusTold(Told):
    """How the mint is: what it lacks, what is stopped, how much it has of everything."""

    version: str
    pid: int
    uptime_s: float
    url: str
    store: str
    ready: bool
    reasons: dict[str, str]
    notes: dict[str, str]
    halts: list[HaltTold]
    keysets: int
    active_keysets: int


class KeysetsTold(Told):
    """The newest keysets first; `more` are there."""

    keysets: list[KeysetTold]
    more: int


class RotateTold(Told):
    """The keyset that a unit has now."""

    unit: str
    keyset_id: str
    input_fee_ppk: int
    final_expiry: int | None


class DoneTold(Told):
    """Whether an order changed anything."""

    changed: bool


class IssueTold(Told):
    """What one request took from a quote."""

    request: int
    amount: int
    time: int


class QuoteTold(Told):
    """A mint quote; `locked` if a key must sign for it."""

    quote: str
    kind: Literal["mint"]
    method: str
    unit: str
    state: str
    amount: int
    amount_paid: int
    amount_issued: int
    locked: bool
    updated_at: int
    issues: list[IssueTold]


class MeltTold(Told):
    """A melt quote; `sent_at` is when its tokens were put up."""

    quote: str
    kind: Literal["melt"]
    method: str
    unit: str
    state: str
    amount: int
    fee_reserve: int
    payment_hash: str
    sent_at: int | None
    updated_at: int


class BackupTold(Told):
    """Where the copy is, its bytes and how long it took; `secret` is the file that it is worth nothing
    without.
    """

    path: str
    size_bytes: int
    took_s: float
    secret: str


class WatchdogTold(Told):
    """What the watchdog found, times in Unix seconds; `stopped` since it found something."""

    on: bool
    checked_at: int | None
    recounted_at: int | None
    differences: list[str]
    stopped: HaltTold | None


class EntryTold(Told):
    """One action of the journal."""

    number: int
    time: int
    action: str
    subject: str
    detail: str


class JournalTold(Told):
    """Actions, newest first."""

    entries: list[EntryTold]
