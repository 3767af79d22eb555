"""`hashpool db STORE [SQL]`: look into a store, read-only, also beside the daemon that writes it."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from roles.cli import db_move, whereabouts
from roles.cli.checkout import STATE_HELP
from roles.credit.issuer_key import LEDGER_NAME
from roles.mint.store import find_store
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from roles.runtime.errors import DatabaseUnusable, SecretUnusable
from roles.runtime.state import state_root
from roles.runtime.storage import Connection, DatabaseError, Server, open_readonly
from roles.wallet.wallet import STORE_NAME

STORES: Final[dict[str, Callable[[Path], Path]]] = {
    "wallet": lambda state: state / whereabouts.wallet(state) / STORE_NAME,
    "mint": lambda state: state / "mint/mint.sqlite",
    "pool": lambda state: state / whereabouts.issuer(state) / LEDGER_NAME,
}
"""Where each store is in a state directory; the pool's is sv1_proxy's where there is no other."""


def main(argv: list[str]) -> int:
    """Run a query, or open sqlite3's shell, or print the schema where there is no such shell."""
    parser = Arguments(
        prog="hashpool db",
        description="Look into a store, read-only, also beside the daemon that writes it."
        " `hashpool db move` brings the mint's to PostgreSQL.",
    )
    parser.add_argument("store", choices=tuple(STORES))
    parser.add_argument(
        "sql",
        nargs="?",
        help="a query; without one: sqlite3's shell on a terminal that has it, else the schema",
    )
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    if argv[:1] == ["move"]:
        return db_move.main(argv[1:])
    given = parser.parse_intermixed_args(argv)
    path = STORES[given.store](state_root(given.state))
    place: Path | Server | None = None
    try:
        place = (find_store(path.parent) if given.store == "mint" else None) or path
        shell = shutil.which("sqlite3")
        if given.sql is None and shell and place == path and path.exists() and sys.stdin.isatty():
            os.execv(shell, [shell, "-readonly", "-box", str(path)])  # noqa: S606
        with open_readonly(place) as store:
            if given.sql:
                return query(store, given.sql)
            return schema(store) if isinstance(place, Path) else columns(store)
    except DatabaseError as error:
        print(f"hashpool db: {error}", file=sys.stderr)
        return sysexits.DATA
    except SecretUnusable as error:
        print(f"hashpool db: {error}", file=sys.stderr)
        return error.exit_code
    except DatabaseUnusable as error:
        if not isinstance(place, Path):
            print(f"hashpool db: {error}", file=sys.stderr)
            return error.exit_code
        told = error if path.exists() else f"there is no {path} yet; it is made when the system first runs"
        print(f"hashpool db: {told}", file=sys.stderr)
        return error.exit_code if path.exists() else sysexits.NO_INPUT


def query(store: Connection, sql: str) -> int:
    """Print the rows of a query, tab-separated under their names, each on a line of its own."""
    cursor = store.execute(sql)
    print("\t".join(column[0] for column in cursor.description or ()))
    for row in cursor:
        print("\t".join(map(shown, row)))
    return sysexits.OK


def shown(value: object) -> str:
    """A value as text: byte strings as hex, and of names that strangers gave nothing that moves a cursor."""
    if isinstance(value, bytes):
        return value.hex()
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(value))


def schema(store: Connection) -> int:
    """Print the tables and views as they were made."""
    for row in store.execute(
        "SELECT sql FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY type, name"
    ):
        print(f"{row[0]};")
    return sysexits.OK


def columns(store: Connection) -> int:
    """Print the tables and views of a PostgreSQL store with their columns."""
    rows = store.execute(
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = current_schema() ORDER BY table_name, ordinal_position"
    )
    for row in rows:
        print("\t".join(row))
    return sysexits.OK
