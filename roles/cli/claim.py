"""The claim of one `hashpool up` on a state directory, so that a second one says so and ends.

Its lock file also tells a development system's state from production's, which such commands leave alone.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from roles.cli.checkout import home
from roles.runtime.errors import StateUnusable

LOCK_NAME: Final = "up.lock"
MONEY: Final = ("pool/ledger.sqlite", "sv1_proxy-pool/ledger.sqlite", "mint/mint.sqlite")
"""Stores in which regtest's shares and toy sats must not end up beside others."""


def mark_development(state: Path) -> None:
    """Make a directory the state of a development system, for good; raises StateUnusable where it holds
    stores of money that no such system has made.

    `$HASHPOOL_STATE` names production's in the shell of whoever runs it.
    """
    is_ours = (state / LOCK_NAME).exists() or state.is_relative_to(home() / ".state")
    for store in () if is_ours else MONEY:
        if (state / store).exists():
            raise StateUnusable(
                f"{state / store} is of no development system",
                hint="up, start and clean are for such alone: name another directory with --state",
            )
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        (state / LOCK_NAME).touch(mode=0o600)
    except OSError as error:
        raise StateUnusable(
            f"the state directory {state} cannot be used: {error.strerror}",
            hint="name another one with --state",
        ) from error


class AlreadyRunning(Exception):
    """Another `up` holds the state; `pid` is its process, where it could be read."""

    def __init__(self, state: Path, pid: int | None) -> None:
        super().__init__(
            f"hashpool is already running on {state}" + (f" (process {pid})" if pid else "") + ".\n"
            "  End it first (Ctrl-C there, or kill that process), or start a second one beside it: "
            "hashpool up --port-offset 1000"
        )
        self.pid = pid


class Claim:
    """An exclusive lock on `up.lock` in the state directory, which is made, held until it is left.

    Raises StateUnusable when it is made, AlreadyRunning when it is entered.
    """

    def __init__(self, state: Path) -> None:
        mark_development(state)
        self._state = state
        self._descriptor = os.open(state / LOCK_NAME, os.O_RDWR | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise AlreadyRunning(self._state, int(text) if text.isdecimal() else None) from None
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
