"""`hashpool db move DSN_FILE`: the mint's store from SQLite to PostgreSQL, while the mint is stopped."""

import sys
from pathlib import Path

from roles.cli.checkout import STATE_HELP
from roles.mint.schema import MIGRATIONS
from roles.mint.store import MOVED_NAME, STORE_NAME, point
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from roles.runtime.errors import OperatorError
from roles.runtime.state import state_root
from roles.runtime.storage import Server


def main(argv: list[str]) -> int:
    """Move, check, and put the old file out of the way."""
    parser = Arguments(
        prog="hashpool db move",
        description="Bring the mint's store from SQLite to an empty PostgreSQL database, while the mint is"
        " stopped. All rows go in one transaction and are checked by counts and sums.",
    )
    parser.add_argument("dsn_file", type=Path, metavar="DSN_FILE", help="holds postgresql://..., mode 0600")
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    given = parser.parse_args(argv)
    state = state_root(given.state) / "mint"
    try:
        moved = carry(state, given.dsn_file.absolute())
    except OperatorError as error:
        print(f"hashpool db move: {error}", file=sys.stderr)
        return error.exit_code
    for table, rows in moved.items():
        print(f"{rows:>12,}  {table}")
    print(
        f'moved; the file is {state / MOVED_NAME} now. Set [store] engine = "postgresql" and dsn_file ='
        f' "{given.dsn_file.absolute()}", then start the mint'
    )
    return sysexits.OK


def carry(state: Path, dsn_file: Path) -> dict[str, int]:
    """Move the store of a mint's state directory; gives rows by table. Raises OperatorError."""
    # Not before it is asked for: it needs the driver.
    from roles.runtime.storage.move import move

    server = Server.find(dsn_file, state, writers=1, readers=1)
    moved = move(state / STORE_NAME, server, MIGRATIONS, _tell)
    # From here on the file is old: a mint on it would take tokens that were spent.
    point(state, str(dsn_file))
    (state / STORE_NAME).rename(state / MOVED_NAME)
    return moved


def _tell(table: str, rows: int) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{table}: {rows:,} rows", end="", file=sys.stderr, flush=True)
