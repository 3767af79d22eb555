"""What a person or a script wants to know of a store, without a secret in it; runs inside a read of it."""

from dataclasses import dataclass

from protocols.ehash.key_text import encode_key
from roles.runtime.storage import Connection


@dataclass(frozen=True, slots=True)
class Worker:
    """A key of the wallet and what it earned, in ehash; `name` None where a restore found the key alone."""

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


def workers(connection: Connection) -> list[Worker]:
    """Every key that has earned something or bears a name, by index."""
    rows = connection.execute(
        "SELECT identity.key_index, identity.name, identity.public_key,"
        " total(iif(quote.state = 'minted', quote.amount, 0)) AS minted,"
        " total(iif(quote.state IN ('pending', 'requested'), quote.amount, 0)) AS waiting,"
        " count(quote.share_hash) AS shares"
        " FROM identity LEFT JOIN quote ON quote.key_index = identity.key_index"
        " GROUP BY identity.key_index HAVING shares > 0 OR identity.name IS NOT NULL"
        " ORDER BY identity.key_index"
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


def denominations(connection: Connection) -> list[Denomination]:
    """Unspent tokens by keyset and size, the smallest first."""
    rows = connection.execute(
        "SELECT coalesce(keyset.unit, '') AS unit, proof.keyset_id, proof.amount, count(*) AS tokens"
        " FROM proof LEFT JOIN keyset ON keyset.id = proof.keyset_id WHERE proof.state = 'unspent'"
        " GROUP BY proof.keyset_id, proof.amount ORDER BY unit, proof.keyset_id, proof.amount"
    )
    return [Denomination(row["unit"], row["keyset_id"], row["amount"], row["tokens"]) for row in rows]
