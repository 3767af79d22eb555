"""Which key stands for which user identity: one index of the quote keys each, stored before the key is used.

Names are Python text that may carry undecodable bytes (surrogateescape), as they come from the wire. An index
without a name was found by a restore, or is burned. These functions run inside a read or write of the store.
"""

from collections.abc import Callable
from dataclasses import dataclass

from roles.runtime.storage import Connection, Row
from roles.wallet.errors import IdentityLimitError

_INSERT = "INSERT INTO identity (key_index, name, public_key, made_ms) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class Identity:
    """A key of the wallet and the user identity that it was made for; the public key is 33 bytes
    compressed.
    """

    key_index: int
    name: str | None
    public_key: bytes


def claim(
    connection: Connection, name: str, derive: Callable[[int], bytes], *, limit: int, now_ms: int
) -> Identity:
    """The identity called `name`, made with the next index if it is new.

    `derive` gives the public key of an index. Raises IdentityLimitError when the wallet holds `limit` names.
    """
    raw = name.encode("utf-8", "surrogateescape")
    row = connection.execute("SELECT * FROM identity WHERE name = ?", (raw,)).fetchone()
    if row is not None:
        return _identity(row)
    if count(connection) >= limit:
        raise IdentityLimitError(f"the wallet keeps keys for {limit} user identities and no more")
    index = next_index(connection)
    public = derive(index)
    connection.execute(_INSERT, (index, raw, public, now_ms))
    return Identity(index, name, public)


def add_unnamed(connection: Connection, key_index: int, public_key: bytes, now_ms: int) -> None:
    """Keep an index that was found in use, without knowing for whom; a known one stays as it is."""
    connection.execute(f"{_INSERT} ON CONFLICT DO NOTHING", (key_index, None, public_key, now_ms))


def first(connection: Connection) -> Identity | None:
    """The identity of the seed's lowest index, None in a store without any."""
    row = connection.execute(
        "SELECT * FROM identity WHERE key_index >= 0 ORDER BY key_index LIMIT 1"
    ).fetchone()
    return None if row is None else _identity(row)


def next_index(connection: Connection) -> int:
    """The first index that was never used."""
    return int(
        connection.execute("SELECT max(coalesce(max(key_index), -1) + 1, 0) FROM identity").fetchone()[0]
    )


def bring(connection: Connection, public_key: bytes, now_ms: int) -> Identity:
    """The identity of a key that is not of the seed, made if it is new."""
    known = by_key(connection, public_key)
    if known is None:
        lowest = connection.execute("SELECT min(0, coalesce(min(key_index), 0)) FROM identity").fetchone()[0]
        known = Identity(int(lowest) - 1, None, public_key)
        add_unnamed(connection, known.key_index, public_key, now_ms)
    return known


def by_key(connection: Connection, public_key: bytes) -> Identity | None:
    """The identity of a public key, None when the key is not the wallet's."""
    row = connection.execute("SELECT * FROM identity WHERE public_key = ?", (public_key,)).fetchone()
    return None if row is None else _identity(row)


def count(connection: Connection) -> int:
    """How many user identities have a key."""
    return int(connection.execute("SELECT count(*) FROM identity WHERE name IS NOT NULL").fetchone()[0])


def everyone(connection: Connection) -> list[Identity]:
    """All identities by index."""
    return [_identity(row) for row in connection.execute("SELECT * FROM identity ORDER BY key_index")]


def _identity(row: Row) -> Identity:
    raw = row["name"]
    name = None if raw is None else raw.decode("utf-8", "surrogateescape")
    return Identity(row["key_index"], name, row["public_key"])
