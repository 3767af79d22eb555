"""The tokens in the store, and sums over them. These functions run inside a read or write of the store."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from protocols.cashu.curve import secret_point
from protocols.cashu.models import Dleq, Proof
from roles.runtime.storage import Connection, Row

_STATES = {"UNSPENT": "unspent", "PENDING": "pending", "SPENT": "spent"}


@dataclass(frozen=True, slots=True)
class HeldProof:
    """A token and where its secret comes from: the keyset's counter, if it is one of the seed's, else
    `blinding` is the 32-byte factor that was drawn for it, where it is known.
    """

    proof: Proof
    counter: int | None
    state: str = "unspent"
    blinding: bytes | None = field(default=None, repr=False)

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


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent token as a choice among them goes by it."""

    y: bytes
    keyset_id: str
    amount: int


def put(
    connection: Connection,
    proofs: Iterable[HeldProof],
    request_id: int | None,
    now_ms: int,
    *,
    token_id: int | None = None,
) -> int:
    """Store tokens; one that is there already stays as it is. Returns the sum of the new, unspent ones.

    `token_id` is what they were handed out in.
    """
    total = 0
    for held in proofs:
        proof, dleq = held.proof, held.proof.dleq
        added = connection.execute(
            "INSERT INTO proof (y, keyset_id, amount, secret, signature, dleq_e, dleq_s, counter, state,"
            " received_ms, request_id, token_id, blinding) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING",
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
                token_id,
                # What derives from the seed is not kept beside it.
                held.blinding if held.counter is None else None,
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


def coins(connection: Connection, unit: str) -> list[Coin]:
    """Spendable tokens of a unit, the largest first."""
    rows = connection.execute(
        "SELECT proof.y, proof.keyset_id, proof.amount FROM keyset"
        " JOIN proof ON proof.keyset_id = keyset.id AND proof.state = 'unspent'"
        " WHERE keyset.unit = ? ORDER BY proof.amount DESC, proof.y",
        (unit,),
    )
    return [Coin(row["y"], row["keyset_id"], row["amount"]) for row in rows]


def by_ys(connection: Connection, ys: Iterable[bytes]) -> list[HeldProof]:
    """Tokens that are there by their names, in the order of these; unknown ones are left out."""
    rows = (connection.execute("SELECT * FROM proof WHERE y = ?", (y,)).fetchone() for y in ys)
    return [_held(row) for row in rows if row is not None]


def spent_by(connection: Connection, exchange_id: int) -> list[HeldProof]:
    """The tokens that an exchange spends."""
    rows = connection.execute("SELECT * FROM proof WHERE exchange_id = ? ORDER BY amount, y", (exchange_id,))
    return [_held(row) for row in rows]


def hold(connection: Connection, ys: Iterable[bytes], exchange_id: int) -> None:
    """Keep unspent tokens for an exchange."""
    connection.executemany(
        "UPDATE proof SET state = 'pending', exchange_id = ? WHERE y = ? AND state = 'unspent'",
        [(exchange_id, y) for y in ys],
    )


def give(connection: Connection, ys: Iterable[bytes], token_id: int) -> None:
    """Keep unspent tokens for whoever they are handed out to."""
    connection.executemany(
        "UPDATE proof SET state = 'pending', token_id = ? WHERE y = ? AND state = 'unspent'",
        [(token_id, y) for y in ys],
    )


def settle(connection: Connection, exchange_id: int) -> int:
    """The tokens of an exchange are spent; returns their sum."""
    rows = connection.execute(
        "UPDATE proof SET state = 'spent' WHERE exchange_id = ? AND state = 'pending' RETURNING amount",
        (exchange_id,),
    ).fetchall()
    return sum(row["amount"] for row in rows)


def release(connection: Connection, exchange_id: int, spent: Iterable[bytes]) -> list[Coin]:
    """Give the tokens of an exchange free, but those that the mint holds for spent, which are returned."""
    lost = []
    for y in spent:
        row = connection.execute(
            "UPDATE proof SET state = 'spent' WHERE y = ? AND exchange_id = ? AND state = 'pending'"
            " RETURNING keyset_id, amount",
            (y, exchange_id),
        ).fetchone()
        if row is not None:
            lost.append(Coin(y, row["keyset_id"], row["amount"]))
    connection.execute(
        "UPDATE proof SET state = 'unspent', exchange_id = NULL WHERE exchange_id = ? AND state = 'pending'",
        (exchange_id,),
    )
    return lost


def mark_spent(connection: Connection, ys: Sequence[bytes]) -> None:
    """Tokens that were handed out have been taken."""
    connection.executemany(
        "UPDATE proof SET state = 'spent' WHERE y = ? AND state = 'pending'", [(y,) for y in ys]
    )


def _held(row: Row) -> HeldProof:
    dleq = None if row["dleq_e"] is None else Dleq(row["dleq_e"], row["dleq_s"])
    proof = Proof(row["amount"], row["keyset_id"], row["secret"], row["signature"], None, dleq)
    return HeldProof(proof, row["counter"], row["state"], row["blinding"])
