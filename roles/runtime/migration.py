"""Numbered, checksummed schema migrations, each applied with its record in one transaction."""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from roles.runtime.errors import SchemaMismatch

if TYPE_CHECKING:
    from roles.runtime.storage import Connection

Migration = tuple[int, str, str]
"""Version, name and SQL."""

_RECORDS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_ms INTEGER NOT NULL
)
"""


def migrate(connection: "Connection", migrations: Sequence[Migration], path: Path) -> None:
    """Apply what is missing of ``migrations``, which must be numbered from 1 without gaps.

    Raises SchemaMismatch when the store holds a version this program does not know, or one whose SQL differs
    from what was applied; nothing has been changed then.
    """
    if [version for version, _, _ in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError("migrations must be numbered from 1 without gaps")
    connection.execute(_RECORDS)
    applied = connection.execute(
        "SELECT version, name, checksum FROM schema_migrations ORDER BY version"
    ).fetchall()
    if len(applied) > len(migrations):
        newest = applied[-1]
        raise SchemaMismatch(
            f"{path} has schema {newest['version']} ({newest['name']}), and this hashpool knows schemas"
            f" up to {len(migrations)} only: a newer hashpool has written it",
            hint="run the newer hashpool again, or restore the backup made before the upgrade",
        )
    for row, (version, name, sql) in zip(applied, migrations, strict=False):
        if row["version"] != version or row["checksum"] != _checksum(sql):
            raise SchemaMismatch(
                f"{path} was made with another migration {row['version']} ({row['name']})"
                f" than this hashpool's {version} ({name})",
                hint="run the hashpool that made it; migrations never change once released",
            )
    for version, name, sql in migrations[len(applied) :]:
        _apply(connection, version, name, sql)


def _apply(connection: "Connection", version: int, name: str, sql: str) -> None:
    try:
        # executescript commits what is pending before it starts, so the script itself begins.
        connection.executescript(f"BEGIN EXCLUSIVE;\n{sql}")
        connection.execute(
            "INSERT INTO schema_migrations VALUES (?, ?, ?, ?)",
            (version, name, _checksum(sql), time.time_ns() // 1_000_000),
        )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()
