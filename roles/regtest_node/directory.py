"""The node's state directory: held by one process, and marked while its indexes lag behind its blocks.

The kernel writes blocks at once but its indexes only when it closes. Opened after a crash as it is, it would
go back to the last clean close and overwrite every block since. So a marker stands in the directory from
before the first write until after a clean close; where it is found at start, the indexes must be made anew
from the block files.
"""

import fcntl
import os
from pathlib import Path
from typing import IO

from roles.regtest_node.errors import StateInUse

CHAIN: str = "chain"
_MARKER = "indexes-behind"
_LOCK = ".lock"


class ChainDirectory:
    """A directory with one chain, locked from construction to `close`; raises StateInUse if it is held."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.chain = state / CHAIN
        self._marker = state / _MARKER
        self._lock: IO[bytes] | None = _hold(state / _LOCK)
        # Before anything is opened: opening is what would do the damage.
        self.rebuild = self._marker.exists()

    def mark_behind(self) -> None:
        """Notes on disk that from now on only the block files tell the whole chain."""
        with self._marker.open("wb") as marker:
            os.fsync(marker.fileno())
        _sync_directory(self.state)

    def mark_clean(self) -> None:
        """Notes that the kernel has closed and its indexes are whole."""
        self._marker.unlink(missing_ok=True)
        _sync_directory(self.state)

    def close(self) -> None:
        """Lets another process have the directory; a second call does nothing."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _hold(path: Path) -> IO[bytes]:
    # Not truncated: what is in it belongs to whoever holds it.
    lock = path.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        raise StateInUse(
            f"another regtest node runs on {path.parent}",
            hint="stop it first, or give this one its own directory with --state",
        ) from error
    return lock


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
