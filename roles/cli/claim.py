"""The claim of one `hashpool up` on a state directory, so that a second one says so and ends."""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from roles.runtime.errors import StateUnusable


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
        self._state = state
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(state / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StateUnusable(
                f"the state directory {state} cannot be used: {error.strerror}",
                hint="name another one with --state",
            ) from error

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
