"""Daemons that start in a tenth of the time: forked from a process that has imported their code."""

import multiprocessing
import os
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

PACKAGES: Final = (
    "cpu_miner",
    "mint",
    "pool",
    "proxy",
    "regtest_node",
    "solo_pool",
    "sv1_proxy",
    "template_provider",
    "translator",
)
"""Whose code is imported before it is needed."""

_FORKS: Final = multiprocessing.get_context("forkserver")


class Process(Protocol):
    """A running daemon, as `subprocess.Popen` gives it."""

    pid: int

    @property
    def returncode(self) -> Any: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int, /) -> None: ...


class Nursling:
    """A daemon that was forked, with what tests need of `subprocess.Popen`."""

    def __init__(self, process: multiprocessing.context.ForkServerProcess) -> None:
        assert process.pid is not None
        self._process = process
        self.pid = process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, less than zero after a signal; None while it lives."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code as it is now."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise TimeoutError(f"process {self.pid} has not ended")
        return self._process.exitcode

    def send_signal(self, sig: int, /) -> None:
        """Send a signal if it lives."""
        if self._process.is_alive():
            os.kill(self.pid, sig)


def fork(
    package: str,
    arguments: list[str],
    log: Path,
    environment: Mapping[str, str],
    output: Path | None = None,
) -> Process:
    """A daemon whose code is in `roles.<package>`; what it prints goes to the log, or to a file apart."""
    _FORKS.set_forkserver_preload([f"roles.{each}.__main__" for each in PACKAGES])
    given = {"given": (package, arguments, log, dict(environment), output or log)}
    # By path: the name of this package means nothing to a process that pytest has not prepared.
    script = str(Path(__file__).with_name("forked_daemon.py"))
    process = _FORKS.Process(target=runpy.run_path, args=(script, given, "__main__"))
    process.start()
    return Nursling(process)
