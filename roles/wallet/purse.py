"""The tokens in the store, and sums over them. These functions run inside a read or write of the store."""

from collections.abc import Iterable
from dataclasses import dataclass

from protocols.cashu.curve import secret_point
from protocols.cashu.models import Dleq, Proof
from roles.runtime.storage import Connection, Row

_STATES = {"UNSPENT": "unspent", "PENDING": "pending", "SPENT": "spent"}


@dataclass(frozen=True, slots=True)
class HeldProof:
    """A token and where its secret comes from: the keyset's counter, if it is one of the seed's."""

    proof: Proof
    counter: int | None
    state: str = "unspent"

    @property
    def y(self) -> bytes:
        """The name by which the mint knows the token, 33 bytes."""
        return secret_point(self.proof.secret)


@dataclass(frozen=True, slots=True)
class Balance:
    """What is held of one unit."""

    unit: str
    amount: int
    proofs: int


def put(connection: Connection, proofs: Iterable[HeldProof], request_id: int | None, now_ms: int) -> int:
    """Store tokens; one that is there already stays as it is. Returns the sum of the new, unspent ones."""
    total = 0
    for held in proofs:
        proof, dleq = held.proof, held.proof.dleq
        added = connection.execute(
            "INSERT INTO proof VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (
                held.y,
                proof.keyset_id,
                proof.amount,
                proof.secret,
                proof.signature,
                dleq and dleq.e,
                dleq and dleq.s,
                held.counter,
                held.state,
                now_ms,
                request_id,
            ),
        ).rowcount
        total += proof.amount if added and held.state == "unspent" else 0
    return total


def state_word(word: str) -> str:
    """The store's word for a state of NUT-07; what a mint may add later counts as pending, never as
    spendable.
    """
    return _STATES.get(word, "pending")


def balances(connection: Connection) -> list[Balance]:
    """Unspent tokens by unit, in the order of units."""
    # Summed in halves: what a mint has signed may be more than an integer of the store can be.
    rows = connection.execute(
        "SELECT coalesce(keyset.unit, '') AS unit, sum(held.high) AS high, sum(held.low) AS low,"
        " sum(held.proofs) AS proofs"
        " FROM (SELECT keyset_id, sum(amount >> 32) AS high, sum(amount & 4294967295) AS low,"
        " count(*) AS proofs FROM proof WHERE state = 'unspent' GROUP BY keyset_id) AS held"
        " LEFT JOIN keyset ON keyset.id = held.keyset_id GROUP BY unit ORDER BY unit"
    )
    return [Balance(row["unit"], (row["high"] << 32) + row["low"], row["proofs"]) for row in rows]


def unspent(connection: Connection, keyset_id: str | None = None) -> list[HeldProof]:
    """Spendable tokens, of one keyset or of all, the smallest first."""
    rows = connection.execute(
        "SELECT * FROM proof WHERE state = 'unspent' AND keyset_id = coalesce(?, keyset_id)"
        " ORDER BY keyset_id, amount, y",
        (keyset_id,),
    )
    return [_held(row) for row in rows]


def _held(row: Row) -> HeldProof:
    dleq = None if row["dleq_e"] is None else Dleq(row["dleq_e"], row["dleq_s"])
    proof = Proof(row["amount"], row["keyset_id"], row["secret"], row["signature"], None, dleq)
    return HeldProof(proof, row["counter"], row["state"])
