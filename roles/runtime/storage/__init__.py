"""Durable storage with one face and two engines: a SQLite file of one process, or PostgreSQL for many.

A write is a function of a `Connection`, and its result is delivered only after the commit that holds it.
`Database.open` chooses the engine by where the store is: a path, or a `Server`. Database drivers are imported
in this package alone.
"""

from sqlite3 import DatabaseError, IntegrityError

from roles.runtime.outcome import Done
from roles.runtime.storage.chain import CHAIN, claim_chain
from roles.runtime.storage.connection import Connection, Cursor, ReadOnlyConnection, Row
from roles.runtime.storage.database import Database
from roles.runtime.storage.definition import define, discard
from roles.runtime.storage.look_up import each
from roles.runtime.storage.migration import Migration
from roles.runtime.storage.place import open_readonly
from roles.runtime.storage.server import Server
from roles.runtime.storage.sqlite import SqliteDatabase

__all__ = [
    "CHAIN",
    "Connection",
    "Cursor",
    "Database",
    "DatabaseError",
    "Done",
    "IntegrityError",
    "Migration",
    "ReadOnlyConnection",
    "Row",
    "Server",
    "SqliteDatabase",
    "claim_chain",
    "define",
    "discard",
    "each",
    "open_readonly",
]
