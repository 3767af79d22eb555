"""Miners that bring keys of their own: what the pool said their shares earned, so that it can be shown.

Their tokens are theirs alone: the wallet can neither mint nor see them. What is kept is hearsay, written
every few seconds; a crash forgets the last of it.
"""

from dataclasses import dataclass

from roles.runtime.storage import Connection, Database


@dataclass(slots=True)
class _Heard:
    quotes: int = 0
    ehash: int = 0


class Strangers:
    """Adds up notices of foreign keys; who comes when `limit` are kept already is not told apart any more."""

    def __init__(self, database: Database, limit: int) -> None:
        self._database = database
        self._limit = limit
        self._heard: dict[tuple[bytes, str], _Heard] = {}

    def heard(self, key: bytes, name: str, ehash: int) -> None:
        """A share of a worker of this locking key, 33 bytes, has earned so much."""
        who = (key, name)
        if who not in self._heard and len(self._heard) >= self._limit:
            return
        told = self._heard.setdefault(who, _Heard())
        told.quotes += 1
        told.ehash += ehash

    async def keep(self, now_ms: int) -> None:
        """Write what has been heard; raises StorageError, and nothing is forgotten then."""
        if not self._heard:
            return
        taken, self._heard = self._heard, {}
        try:
            await self._database.write(lambda c: _add(c, taken, self._limit, now_ms))
        except BaseException:
            for who, told in self._heard.items():
                known = taken.setdefault(who, _Heard())
                known.quotes += told.quotes
                known.ehash += told.ehash
            self._heard = taken
            raise


def _add(connection: Connection, heard: dict[tuple[bytes, str], _Heard], limit: int, now_ms: int) -> None:
    known = connection.execute("SELECT count(*) FROM stranger").fetchone()[0]
    for (key, name), told in heard.items():
        raw = name.encode("utf-8", "surrogateescape")
        changed = connection.execute(
            "UPDATE stranger SET quotes = quotes + ?, ehash = ehash + ?, heard_ms = ?"
            " WHERE public_key = ? AND name = ?",
            (told.quotes, float(told.ehash), now_ms, key, raw),
        ).rowcount
        if not changed and known < limit:
            known += 1
            connection.execute(
                "INSERT INTO stranger VALUES (?, ?, ?, ?, ?)",
                (key, raw, told.quotes, float(told.ehash), now_ms),
            )
