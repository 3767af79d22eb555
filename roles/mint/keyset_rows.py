"""Keysets as rows: made at run time, and each made from the seed again at every start."""

from protocols.ehash.shift import DENOMINATIONS
from roles.mint.errors import KeysetMismatchError
from roles.mint.keysets import KeysetBook, MintKeyset, derive
from roles.mint.seed import MintSeed
from roles.runtime.storage import Connection, Row


def load(connection: Connection, seed: MintSeed) -> KeysetBook:
    """Every stored keyset, derived anew; raises KeysetMismatchError if one does not come out as it was."""
    rows = connection.execute("SELECT * FROM keyset ORDER BY keyset_no").fetchall()
    return KeysetBook(_derive(row, seed) for row in rows)


def create(connection: Connection, seed: MintSeed, unit: str, now: int) -> MintKeyset:
    """Store and give the next keyset of a unit, active, with all denominations, without fee and expiry."""
    row = connection.execute(
        "SELECT coalesce(max(derivation_index) + 1, 0) AS next FROM keyset"
        " WHERE seed_fingerprint = ? AND unit = ?",
        (seed.fingerprint, unit),
    ).fetchone()
    keyset = derive(seed.raw, unit, row["next"], len(DENOMINATIONS))
    cursor = connection.execute(
        "INSERT INTO keyset (keyset_id, unit, seed_fingerprint, derivation_index, denominations, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (keyset.keyset_id, keyset.unit, seed.fingerprint, keyset.index, len(DENOMINATIONS), now),
    )
    return keyset.numbered(cursor.lastrowid or 0)


def totals(connection: Connection) -> list[tuple[str, int, int]]:
    """Unit, issued and redeemed of every keyset, from the counters."""
    rows = connection.execute("SELECT unit, issued, redeemed FROM keyset ORDER BY keyset_no").fetchall()
    return [(row["unit"], row["issued"], row["redeemed"]) for row in rows]


def _derive(row: Row, seed: MintSeed) -> MintKeyset:
    if row["seed_fingerprint"] != seed.fingerprint:
        raise KeysetMismatchError(
            f"keyset {row['keyset_id']} was made from another seed than the one in use",
            hint="put back the seed.key that belongs to this mint.sqlite, or the store that belongs to it",
        )
    keyset = derive(
        seed.raw,
        row["unit"],
        row["derivation_index"],
        row["denominations"],
        number=row["keyset_no"],
        active=bool(row["active"]),
        input_fee_ppk=row["input_fee_ppk"],
        final_expiry=row["final_expiry"],
    )
    if keyset.keyset_id != row["keyset_id"]:
        raise KeysetMismatchError(
            f"keyset {row['keyset_id']} comes out as {keyset.keyset_id} when it is made from the seed again",
            hint="the store is damaged or was written by another program; restore mint.sqlite from a backup",
        )
    return keyset
