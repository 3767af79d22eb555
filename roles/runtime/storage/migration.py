"""Numbered, checksummed schema migrations; each engine applies one with its record in one transaction."""

import hashlib
import time
from collections.abc import Sequence

from roles.runtime.errors import SchemaMismatch
from roles.runtime.storage.connection import Connection

Migration = tuple[int, str, str]
"""Version, name and SQL."""

RECORDS = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_ms INTEGER NOT NULL
)
"""
"""What keeps the records."""


def missing(connection: Connection, migrations: Sequence[Migration], store: str) -> Sequence[Migration]:
    """What is to be applied of ``migrations``, which must be numbered from 1 without gaps.

    Raises SchemaMismatch when the store holds a version this program does not know, or one whose SQL differs
    from what was applied.
    """
    if [version for version, _, _ in migrations] != list(range(1, len(migrations) + 1)):
        raise ValueError("migrations must be numbered from 1 without gaps")
    applied = connection.execute(
        "SELECT version, name, checksum FROM schema_migrations ORDER BY version"
    ).fetchall()
    if len(applied) > len(migrations):
        newest = applied[-1]
        raise SchemaMismatch(
            f"{store} has schema {newest['version']} ({newest['name']}), and this hashpool knows schemas"
            f" up to {len(migrations)} only: a newer hashpool has written it",
            hint="run the newer hashpool again, or restore the backup made before the upgrade",
        )
    for row, (version, name, sql) in zip(applied, migrations, strict=False):
        if row["version"] != version or row["checksum"] != _checksum(sql):
            raise SchemaMismatch(
                f"{store} was made with another migration {row['version']} ({row['name']})"
                f" than this hashpool's {version} ({name})",
                hint="run the hashpool that made it; migrations never change once released",
            )
    return migrations[len(applied) :]


def record(connection: Connection, migration: Migration) -> None:
    """Note that a migration has been applied."""
    version, name, sql = migration
    connection.execute(
        "INSERT INTO schema_migrations (version, name, checksum, applied_ms) VALUES (?, ?, ?, ?)",
        (version, name, _checksum(sql), time.time_ns() // 1_000_000),
    )


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()
