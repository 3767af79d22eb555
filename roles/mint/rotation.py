"""A new keyset for a unit while the mint serves: what is signed from now on is signed with it."""

from dataclasses import replace

from protocols.ehash.errors import UnitError
from protocols.ehash.shift import parse_unit
from roles.mint import journal
from roles.mint.errors import RotationRefused
from roles.mint.keysets import MintKeyset, derive
from roles.mint.seed import MintSeed
from roles.runtime.storage import Connection


def check_unit(unit: str) -> None:
    """Raises RotationRefused for a unit of ehash, whose keysets open and close with the ledger's shifts."""
    try:
        parse_unit(unit)
    except UnitError:
        return
    raise RotationRefused(
        "a unit of ehash has one keyset for good",
        hint="shifts bring new units by themselves; `pause` stops one",
    )


def rotate(
    connection: Connection,
    seed: MintSeed,
    unit: str,
    *,
    fee_ppk: int | None,
    final_expiry: int | None,
    now: int,
) -> MintKeyset:
    """Give a unit its next keyset, and let the ones before sign no more; raises RotationRefused.

    Tokens of the old ones stay good. Denominations stay as they were, and so does the fee if it is None.
    """
    check_unit(unit)
    last = connection.execute(
        "SELECT derivation_index, denominations, input_fee_ppk FROM keyset"
        " WHERE unit = ? AND seed_fingerprint = ? ORDER BY derivation_index DESC LIMIT 1",
        (unit, seed.fingerprint),
    ).fetchone()
    if last is None:
        raise RotationRefused(f"there is no unit {unit!r} here", hint="`keysets` lists them")
    if final_expiry is not None and final_expiry <= now:
        raise RotationRefused("the final expiry has passed already", hint="give one that is to come")
    fee = last["input_fee_ppk"] if fee_ppk is None else fee_ppk
    fresh = derive(
        seed.raw,
        unit,
        last["derivation_index"] + 1,
        last["denominations"],
        input_fee_ppk=fee,
        final_expiry=final_expiry,
    )
    connection.execute("UPDATE keyset SET active = 0 WHERE unit = ? AND active = 1", (unit,))
    row = connection.execute(
        "INSERT INTO keyset (keyset_id, unit, seed_fingerprint, derivation_index, denominations,"
        " input_fee_ppk, final_expiry, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING keyset_no",
        (
            fresh.keyset_id,
            unit,
            seed.fingerprint,
            fresh.index,
            last["denominations"],
            fee,
            final_expiry,
            now,
        ),
    ).fetchone()
    expiry = "" if final_expiry is None else f", final expiry {final_expiry}"
    journal.record(connection, now, "rotate", unit, f"keyset {fresh.keyset_id}, fee {fee} ppk{expiry}")
    return replace(fresh, number=row["keyset_no"])
