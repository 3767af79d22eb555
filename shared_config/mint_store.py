"""The table [store] of config/mint.toml: where the mint keeps its ledger."""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from shared_config.settings import Finding, Settings
from shared_config.values import FilePath


class StoreSettings(Settings):
    """A file of one process, or a PostgreSQL database of several."""

    engine: Literal["sqlite", "postgresql"] = "sqlite"
    """sqlite: mint.sqlite in the state directory, for one mint process; postgresql: for several."""
    dsn_file: FilePath | None = None
    """Holds postgresql://user:password@host/database, mode 0600; without one the credential or file mint.dsn
    of the state directory, else $HASHPOOL_MINT_DSN.
    """
    writers: int = Field(default=8, ge=1, le=100)
    """Connections to PostgreSQL that write, each a request at a time."""
    readers: int = Field(default=4, ge=1, le=100)
    """Connections to PostgreSQL that read."""
    connect_s: float = Field(default=5.0, ge=0.1, le=60)
    """How long PostgreSQL may take to let us in."""
    statement_s: float = Field(default=10.0, ge=0.5, le=300)
    """How long PostgreSQL may take for one statement; beyond, the connection is given up."""

    def examine(self) -> Iterator[Finding]:
        """A DSN belongs to PostgreSQL."""
        if self.dsn_file is not None and self.engine == "sqlite":
            yield Finding("store.dsn_file", 'has no meaning with engine = "sqlite"', 'engine = "postgresql"')
