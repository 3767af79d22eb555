"""Keysets as rows: made at run time, and each made from the seed again at every start."""

from protocols.ehash.shift import DENOMINATIONS
from roles.mint.errors import KeysetMismatchError
from roles.mint.keysets import KeyRing, KeysetBook, MintKeyset, derive
from roles.mint.seed import MintSeed
from roles.runtime.storage import Connection, Row

OVERLAP = 64
"""Rows before the last known one that are looked at again: writes of several processes may become visible in
another order than their numbers are.
"""


def load(connection: Connection, seed: MintSeed, ring: KeyRing | None = None) -> KeysetBook:
    """Every stored keyset, derived anew; raises KeysetMismatchError if one does not come out as it was.

    The keys of the newest stay in `ring`.
    """
    chosen = ring or KeyRing(seed.raw)
    rows = connection.execute("SELECT * FROM keyset ORDER BY keyset_no").fetchall()
    return KeysetBook((_derive(row, seed, chosen) for row in rows), chosen)


def news(connection: Connection, *, seed: MintSeed, book: KeysetBook, everything: bool) -> list[MintKeyset]:
    """Keysets that are not in the book as they are stored: the newest, or with `everything` any; raises
    KeysetMismatchError.
    """
    first = 0 if everything else book.last_number - OVERLAP
    heads = connection.execute(
        "SELECT keyset_no, keyset_id, active FROM keyset WHERE keyset_no > ? ORDER BY keyset_no", (first,)
    ).fetchall()
    found = []
    for head in heads:
        keyset_id = head["keyset_id"]
        if keyset_id in book and book.get(keyset_id).active == bool(head["active"]):
            continue
        row = connection.execute("SELECT * FROM keyset WHERE keyset_no = ?", (head["keyset_no"],)).fetchone()
        found.append(_derive(row, seed, book.ring or KeyRing(seed.raw)))
    return found


def first(
    connection: Connection,
    seed: MintSeed,
    unit: str,
    now: int,
    ring: KeyRing | None = None,
    *,
    input_fee_ppk: int = 0,
) -> MintKeyset:
    """The first keyset of a unit: as another process has stored it meanwhile, else as `create` makes it."""
    chosen = ring or KeyRing(seed.raw)
    keyset = derive(chosen, unit, 0, len(DENOMINATIONS), input_fee_ppk=input_fee_ppk)
    _store(connection, seed, keyset, now)
    row = connection.execute(
        "SELECT * FROM keyset WHERE seed_fingerprint = ? AND unit = ? AND derivation_index = 0",
        (seed.fingerprint, keyset.unit),
    ).fetchone()
    return _derive(row, seed, chosen)


def create(
    connection: Connection,
    seed: MintSeed,
    unit: str,
    now: int,
    ring: KeyRing | None = None,
    *,
    input_fee_ppk: int = 0,
) -> MintKeyset:
    """Store and give the next keyset of a unit, active, with all denominations and without expiry.

    It goes into the book when this is committed.
    """
    row = connection.execute(
        "SELECT coalesce(max(derivation_index) + 1, 0) AS next FROM keyset"
        " WHERE seed_fingerprint = ? AND unit = ?",
        (seed.fingerprint, unit),
    ).fetchone()
    keyset = derive(ring or seed.raw, unit, row["next"], len(DENOMINATIONS), input_fee_ppk=input_fee_ppk)
    _store(connection, seed, keyset, now)
    made = connection.execute(
        "SELECT keyset_no FROM keyset WHERE keyset_id = ?", (keyset.keyset_id,)
    ).fetchone()
    return keyset.numbered(made["keyset_no"])


def _store(connection: Connection, seed: MintSeed, keyset: MintKeyset, now: int) -> None:
    """Keep a keyset, unless another process has made the very same one meanwhile."""
    connection.execute(
        "INSERT INTO keyset (keyset_id, unit, seed_fingerprint, derivation_index, denominations,"
        " input_fee_ppk, created_at) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            keyset.keyset_id,
            keyset.unit,
            seed.fingerprint,
            keyset.index,
            len(DENOMINATIONS),
            keyset.input_fee_ppk,
            now,
        ),
    )


def has_seed(connection: Connection) -> bool:
    """Whether the store belongs to a seed already."""
    return connection.execute("SELECT fingerprint FROM seed").fetchone() is not None


def claim(connection: Connection, seed: MintSeed) -> None:
    """Have a new store belong to this seed for good; raises KeysetMismatchError if it is another's."""
    connection.execute(
        "INSERT INTO seed (seed_no, fingerprint) VALUES (1, ?) ON CONFLICT DO NOTHING", (seed.fingerprint,)
    )
    row = connection.execute("SELECT fingerprint FROM seed").fetchone()
    if row["fingerprint"] != seed.fingerprint:
        raise KeysetMismatchError(
            "the mint's store was made with another seed than the one in use",
            hint="put back the seed.key that belongs to the store, or the store that belongs to it",
        )


def totals(connection: Connection) -> list[tuple[str, int, int]]:
    """Unit, issued and redeemed of every keyset, from the counters."""
    rows = connection.execute("SELECT unit, issued, redeemed FROM keyset ORDER BY keyset_no").fetchall()
    return [(row["unit"], row["issued"], row["redeemed"]) for row in rows]


def _derive(row: Row, seed: MintSeed, ring: KeyRing) -> MintKeyset:
    if row["seed_fingerprint"] != seed.fingerprint:
        raise KeysetMismatchError(
            f"keyset {row['keyset_id']} was made from another seed than the one in use",
            hint="put back the seed.key that belongs to this mint.sqlite, or the store that belongs to it",
        )
    keyset = derive(
        ring,
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
