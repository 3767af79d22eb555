"""The node's state directory, held by one process at a time."""

import fcntl
from pathlib import Path
from typing import IO

from roles.regtest_node.errors import StateInUse

_LOCK = ".lock"


class ChainDirectory:
    """A directory with one chain, locked from construction to `close`; raises StateInUse if it is held."""

    def __init__(self, state: Path) -> None:
        self._lock: IO[bytes] | None = _hold(state / _LOCK)
        self.state = state
        self.chain = state / "chain"
        self.journal = state / "recent-blocks.dat"
        self.coins = state / "unspent.dat"
        self.mempool = state / "mempool.dat"
        self.rebuilding = state / "rebuilding"
        """Stands while indexes are made anew: half made, they would let blocks be overwritten."""

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
