"""Where the mint's ledger is, the seed that belongs to it, and how others of this machine find it."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from protocols.bitcoin.networks import Network
from roles.mint import keyset_rows
from roles.mint.schema import MIGRATIONS
from roles.mint.seed import SEED_SIZE, MintSeed
from roles.runtime.errors import DatabaseUnusable, SecretUnusable
from roles.runtime.secret import SecretFile
from roles.runtime.storage import Connection, Database, Server, claim_chain
from shared_config.mint import MintSettings
from shared_config.mint_store import StoreSettings

STORE_NAME: Final = "mint.sqlite"
SEED_NAME: Final = "seed.key"
POINTER_NAME: Final = "mint.postgresql"
"""Beside the place of the SQLite file: which file holds the DSN, for those who look into the store."""
MOVED_NAME: Final = "mint.sqlite.moved"
"""What a SQLite file is called once its rows are on PostgreSQL."""
LOG_PAGES: Final = 4_000
"""Of the file's log, 16 MB: tokens go all over their indexes, and the pages that a longer log meets again are
a quarter of what a write costs.
"""


async def open_store(
    settings: StoreSettings,
    network: Network,
    state: Path,
    resolve: Callable[[Path], Path],
    metrics: CollectorRegistry,
) -> tuple[Database, MintSeed]:
    """The mint's ledger with its seed, which is made at the first start.

    Raises ChainMismatch, DatabaseInUse, DatabaseUnusable, SchemaMismatch, SecretUnusable and
    KeysetMismatchError.
    """
    place = _place(settings, state, resolve)
    if isinstance(place, Path):
        if (state / MOVED_NAME).exists() and not place.exists():
            raise DatabaseUnusable(
                f"the ledger of {state} was moved to PostgreSQL, and an empty one would take spent tokens",
                hint='set [store] engine = "postgresql"; to begin anew, use another state directory',
            )
        # First the seed: beside a store that is there already none is made anew.
        seed = _seed(SecretFile(state / SEED_NAME, store=place))
        database = Database.open(place, MIGRATIONS, metrics=metrics, log_pages=LOG_PAGES, runs_again=True)
    else:
        database = Database.open(place, MIGRATIONS, metrics=metrics)
        file = SecretFile(state / SEED_NAME)
        # In this order: another process that begins beside this one has the file before its claim.
        if await database.read(keyset_rows.has_seed) and file.load() is None:
            database.close()
            raise SecretUnusable(
                f"{file.path} is missing, and {place.name} is of no use without it",
                hint="bring the seed.key of the mint's other processes, or from its backup",
            )
        seed = _seed(file)

    def claim(connection: Connection) -> None:
        claim_chain(connection, network, database.name)
        keyset_rows.claim(connection, seed)

    try:
        await database.write(claim)
    except BaseException:
        database.close()
        raise
    if isinstance(place, Path):
        (state / POINTER_NAME).unlink(missing_ok=True)
    else:
        point(state, "" if settings.dsn_file is None else str(resolve(settings.dsn_file)))
    return database, seed


def point(state: Path, dsn_file: str) -> None:
    """Have those who look into the ledger find it on PostgreSQL; an empty name for the DSN's usual places."""
    (state / POINTER_NAME).write_text(f"{dsn_file}\n", encoding="utf-8")


def find_store(state: Path) -> Path | Server | None:
    """Where the ledger of a state directory is, for who only reads it; None if no mint has run there.

    Raises DatabaseUnusable and SecretUnusable.
    """
    pointer = state / POINTER_NAME
    if pointer.exists():
        file = pointer.read_text(encoding="utf-8").strip()
        return Server.find(Path(file) if file else None, state, writers=1, readers=1)
    path = state / STORE_NAME
    return path if path.exists() else None


def examine(config: MintSettings, find: Callable[[Path], Path]) -> None:
    """What --check looks at: whether there is a DSN; raises DatabaseUnusable and SecretUnusable."""
    _place(config.store, find(Path("mint")), find)


def _place(settings: StoreSettings, state: Path, resolve: Callable[[Path], Path]) -> Path | Server:
    if settings.engine == "sqlite":
        return state / STORE_NAME
    file = None if settings.dsn_file is None else resolve(settings.dsn_file)
    found = Server.find(file, state, writers=settings.writers, readers=settings.readers)
    return found.within(connect_s=settings.connect_s, statement_s=settings.statement_s)


def _seed(file: SecretFile) -> MintSeed:
    return MintSeed(file.load_or_create_bytes(SEED_SIZE, lambda: secrets.token_bytes(SEED_SIZE)))
