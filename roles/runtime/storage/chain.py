"""The chain that all rows of a store are about: shares of a test chain are worth nothing on another."""

from typing import Final

from protocols.bitcoin.networks import Network
from roles.runtime.errors import ChainMismatch
from roles.runtime.storage.connection import Connection

CHAIN: Final = """
CREATE TABLE chain (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    network TEXT NOT NULL
) STRICT;
"""
"""The migration that makes room for its name."""


def claim_chain(connection: Connection, network: Network, store: str) -> None:
    """Have a store that names no chain be of this one for good; raises ChainMismatch if it is another's."""
    connection.execute("INSERT INTO chain (one, network) VALUES (1, ?) ON CONFLICT DO NOTHING", (network,))
    known = connection.execute("SELECT network FROM chain").fetchone()["network"]
    if known != network:
        raise ChainMismatch(
            f"{store} is of {known}, and the configuration names {network}",
            hint="name another state directory with --state, or the files that the store was made with",
        )
