"""Shifts as they are told: each issuer's, the newest first."""

from dataclasses import dataclass

from protocols.ehash.amount import Valuation
from roles.runtime.storage import Connection, Row

PAGE = 100


@dataclass(frozen=True, slots=True)
class ToldShift:
    """One shift; amounts in ehash, times in Unix seconds; minimum and valuation are None before its first
    row.
    """

    unit: str
    issuer: bytes
    shift: int
    minimum: int | None
    valuation: int | None
    credited: int
    rows: int
    first_time: int | None
    closed_at: int | None
    keysets: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """The item of /v1/ehash/shifts."""
        return {
            "unit": self.unit,
            "issuer": self.issuer.hex(),
            "shift": self.shift,
            "state": "open" if self.closed_at is None else "closed",
            "minimum_difficulty": self.minimum,
            "valuation": None if self.valuation is None else Valuation(self.valuation).name.lower(),
            "credited": self.credited,
            "shares": self.rows,
            "first_share_at": None if self.first_time is None else self.first_time // 1000,
            "closed_at": self.closed_at,
            "keysets": list(self.keysets),
        }


def page(connection: Connection, after: str | None, limit: int = PAGE) -> tuple[list[ToldShift], str | None]:
    """The shifts after that of a unit, issuer by issuer and the newest first, and the unit to go on after.

    A unit that is not known is followed by nothing.
    """
    place = (-1, 0) if after is None else _place(connection, after)
    if place is None:
        return [], None
    issuer_no, shift = place
    rows = connection.execute(
        f"{_SHIFT} WHERE shift.issuer_no > ? OR (shift.issuer_no = ? AND shift.shift < ?)"
        " ORDER BY shift.issuer_no, shift.shift DESC LIMIT ?",
        (issuer_no, issuer_no, shift, limit + 1),
    ).fetchall()
    told = [_told(connection, row) for row in rows[:limit]]
    return told, told[-1].unit if len(rows) > limit else None


def find(connection: Connection, unit: str) -> ToldShift | None:
    """The shift of a unit, None if there is none."""
    row = connection.execute(f"{_SHIFT} WHERE shift.unit = ?", (unit,)).fetchone()
    return None if row is None else _told(connection, row)


_SHIFT = "SELECT shift.*, issuer.identity FROM shift JOIN issuer ON issuer.issuer_no = shift.issuer_no"


def _place(connection: Connection, unit: str) -> tuple[int, int] | None:
    row = connection.execute("SELECT issuer_no, shift FROM shift WHERE unit = ?", (unit,)).fetchone()
    return None if row is None else (row["issuer_no"], row["shift"])


def _told(connection: Connection, row: Row) -> ToldShift:
    keysets = connection.execute(
        "SELECT keyset_id FROM keyset WHERE unit = ? ORDER BY keyset_no", (row["unit"],)
    ).fetchall()
    return ToldShift(
        row["unit"],
        row["identity"],
        row["shift"],
        row["minimum"],
        row["valuation"],
        row["credited"],
        row["rows"],
        row["first_time"],
        row["closed_at"],
        tuple(each["keyset_id"] for each in keysets),
    )
