"""Requests that spend tokens or mint a paid invoice, kept byte for byte until they are answered.

A request and the outputs that it asks for are in the store before it is sent, and its tokens are held for it.
What was sent is either answered, also by sending the same bytes again, or found again by its outputs. These
functions run inside a read or write of the store.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from protocols.cashu.deterministic import Derived
from protocols.cashu.models import Proof
from roles.runtime.storage import Connection, Row

Kind = Literal["send", "receive", "consolidate", "mint", "melt"]
State = Literal["open", "answered", "refused", "disputed"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output: of the seed, by its keyset's counter, or with a secret that was drawn for it.

    `given` is meant for somebody else; `ephemeral_key` goes with it where its keys are blinded (NUT-28). The
    amount of a `blank` one is the mint's to choose (NUT-08).
    """

    amount: int
    counter: int | None = None
    drawn: Derived | None = None
    given: bool = False
    blank: bool = False
    ephemeral_key: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        """The object of the store."""
        told: dict[str, Any] = {"amount": self.amount}
        if self.counter is not None:
            told["counter"] = self.counter
        if self.drawn is not None:
            told |= {"secret": self.drawn.secret, "blinding": self.drawn.blinding.hex()}
        if self.ephemeral_key is not None:
            told["e"] = self.ephemeral_key.hex()
        return told | {name: True for name in ("given", "blank") if getattr(self, name)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Wanted":
        """Read the object of the store."""
        drawn = Derived(told["secret"], bytes.fromhex(told["blinding"])) if "secret" in told else None
        e = bytes.fromhex(told["e"]) if "e" in told else None
        given, blank = "given" in told, "blank" in told
        return cls(told["amount"], told.get("counter"), drawn, given, blank, e)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A request before it has a number; `plan` is what is to be done with the answer, in JSON's types."""

    kind: Kind
    unit: str
    keyset_id: str
    fee: int
    outputs: tuple[Wanted, ...] = field(repr=False)
    plan: Mapping[str, Any] = field(default_factory=dict, repr=False)
    path: str
    body: bytes = field(repr=False)

    @property
    def inputs(self) -> list[Proof]:
        """The tokens that the request spends."""
        return [Proof.from_json(item) for item in orjson.loads(self.body).get("inputs", ())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange(Order):
    """A request in the store; its body is empty once it is settled."""

    exchange_id: int


def keep(connection: Connection, order: Order, now_ms: int) -> Exchange:
    """Keep a request before it is sent."""
    row = connection.execute(
        "INSERT INTO exchange (kind, unit, keyset_id, fee, outputs, plan, path, body, state, opened_ms)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'open', ?) RETURNING *",
        (
            order.kind,
            order.unit,
            order.keyset_id,
            order.fee,
            orjson.dumps([output.to_json() for output in order.outputs]).decode(),
            orjson.dumps(order.plan).decode(),
            order.path,
            order.body,
            now_ms,
        ),
    ).fetchone()
    return _exchange(row)


def replan(connection: Connection, exchange_id: int, plan: Mapping[str, Any]) -> None:
    """Write down what has become known of a request under way."""
    connection.execute(
        "UPDATE exchange SET plan = ? WHERE id = ?", (orjson.dumps(plan).decode(), exchange_id)
    )


def finish(connection: Connection, exchange_id: int, state: State, now_ms: int) -> None:
    """End a request; bytes and drawn secrets are no longer needed unless it is disputed."""
    connection.execute(
        "UPDATE exchange SET state = :state, settled_ms = :now, body = iif(:keep, body, NULL),"
        " outputs = iif(:keep, outputs, '[]') WHERE id = :id",
        {"state": state, "now": now_ms, "keep": state == "disputed", "id": exchange_id},
    )


def is_open(connection: Connection, exchange_id: int) -> bool:
    """Whether a request has not been settled yet."""
    row = connection.execute("SELECT state FROM exchange WHERE id = ?", (exchange_id,)).fetchone()
    return row is not None and row["state"] == "open"


def unsettled(connection: Connection) -> list[Exchange]:
    """Requests without an answer, oldest first."""
    rows = connection.execute("SELECT * FROM exchange WHERE state = 'open' ORDER BY id")
    return [_exchange(row) for row in rows]


def _exchange(row: Row) -> Exchange:
    return Exchange(
        exchange_id=row["id"],
        kind=row["kind"],
        unit=row["unit"],
        keyset_id=row["keyset_id"],
        fee=row["fee"],
        outputs=tuple(map(Wanted.from_json, orjson.loads(row["outputs"]))),
        plan=orjson.loads(row["plan"]),
        path=row["path"],
        body=row["body"] or b"{}",
    )
