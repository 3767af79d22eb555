"""Reading a store from outside of the daemon that owns it, wherever it is."""

from pathlib import Path

from roles.runtime.storage.connection import ReadOnlyConnection
from roles.runtime.storage.server import Server
from roles.runtime.storage.sqlite import open_file_readonly


def open_readonly(where: Path | str | Server) -> ReadOnlyConnection:
    """A connection that can only read, in one snapshot, also beside a live writer.

    Leaving its context closes it. Raises DatabaseUnusable when there is no such store or it is damaged.
    """
    if isinstance(where, Path | str):
        return open_file_readonly(where)
    from roles.runtime.storage.postgres_snapshot import open_server_readonly

    return open_server_readonly(where)
