"""A store whose disk fails when it is told to, before, during and after the commit."""

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Connection, Migration, SqliteDatabase

T = TypeVar("T")

Fault = Literal["", "before", "during", "after"]
"""What one write meets: nothing; no disk at all; a disk that fills while it is made; an fsync that fails."""


@dataclass
class Faults:
    """What the next writes meet, one each."""

    waiting: list[Fault] = field(default_factory=list)

    def take(self) -> list[Fault]:
        """All that wait, which wait no more."""
        taken, self.waiting = self.waiting, []
        return taken


class BrokenDatabase(SqliteDatabase):
    """A store on such a disk."""

    faults: Faults

    async def write(self, fn: Callable[[Connection], T]) -> T:
        fault = self.faults.waiting.pop(0) if self.faults.waiting else ""
        match fault:
            case "before":
                raise CommitFailed("the disk is full")
            case "during":
                return await super().write(lambda connection: _run_and_fill(fn, connection))
            case "after":
                # As when an fsync fails: nobody knows, and the rows are there.
                await super().write(fn)
                raise CommitFailed("the disk does not say")
            case "":
                return await super().write(fn)


def open_broken(path: Path, migrations: Sequence[Migration], faults: Faults) -> BrokenDatabase:
    """Open or create a store."""
    path.parent.mkdir(exist_ok=True)
    database = BrokenDatabase.open_file(path, migrations)
    database.faults = faults
    return database


def _run_and_fill(fn: Callable[[Connection], T], connection: Connection) -> T:
    fn(connection)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL
    raise full
