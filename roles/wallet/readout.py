"""What a person or a script wants to know of a store, without a secret in it; runs inside a read of it."""

from dataclasses import dataclass

from protocols.ehash.key_text import encode_key
from roles.runtime.storage import Connection


@dataclass(frozen=True, slots=True)
class Worker:
    """A key of the wallet and what it earned, in ehash; `name` None where the key alone is known.

    `shares` counts the quotes that are minted or waiting; an index below zero is a key that was brought.
    """

    key_index: int
    name: str | None
    key: str
    minted: int
    waiting: int
    shares: int


@dataclass(frozen=True, slots=True)
class Denomination:
    """Unspent tokens of one size."""

    unit: str
    keyset_id: str
    amount: int
    count: int


@dataclass(frozen=True, slots=True)
class Stranger:
    """A worker with a key that the wallet does not hold, and the ehash that it is said to have earned."""

    name: str
    key: str
    ehash: int
    shares: int


def workers(connection: Connection) -> list[Worker]:
    """Every key that has earned something or bears a name, by index."""
    # What waits has an index for each of its states, and what is minted has been added up: quotes by the
    # million take no longer.
    rows = connection.execute(
        "SELECT key_index, name, public_key, minted, coalesce(ehash, 0) AS waiting,"
        " minted_quotes + coalesce(quotes, 0) AS shares FROM identity LEFT JOIN ("
        "  SELECT key_index AS whose, total(amount) AS ehash, count(*) AS quotes FROM ("
        "   SELECT key_index, amount FROM quote WHERE state = 'pending'"
        "   UNION ALL SELECT key_index, amount FROM quote WHERE state = 'requested') GROUP BY key_index"
        " ) ON whose = key_index WHERE shares > 0 OR name IS NOT NULL ORDER BY key_index"
    )
    return [
        Worker(
            row["key_index"],
            None if row["name"] is None else row["name"].decode("utf-8", "replace"),
            encode_key(row["public_key"]),
            int(row["minted"]),
            int(row["waiting"]),
            row["shares"],
        )
        for row in rows
    ]


def strangers(connection: Connection) -> list[Stranger]:
    """Workers that bring their own keys, who earned most first."""
    rows = connection.execute("SELECT * FROM stranger ORDER BY ehash DESC, public_key, name")
    return [
        Stranger(
            row["name"].decode("utf-8", "replace"),
            encode_key(row["public_key"]),
            int(row["ehash"]),
            row["quotes"],
        )
        for row in rows
    ]


def denominations(connection: Connection) -> list[Denomination]:
    """Unspent tokens by keyset and size, the smallest first."""
    rows = connection.execute(
        "SELECT coalesce(keyset.unit, '') AS unit, proof.keyset_id, proof.amount, count(*) AS tokens"
        " FROM proof LEFT JOIN keyset ON keyset.id = proof.keyset_id WHERE proof.state = 'unspent'"
        " GROUP BY proof.keyset_id, proof.amount ORDER BY unit, proof.keyset_id, proof.amount"
    )
    return [Denomination(row["unit"], row["keyset_id"], row["amount"], row["tokens"]) for row in rows]
