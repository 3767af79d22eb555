"""Libraries that stand before libc's calls in daemons under test: a disk that fails, a clock that is set."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.functional.processes import Daemon

Fault = Literal["full", "readonly", "fsync"]

SOURCES: Final = Path(__file__).parent


def build(name: str, directory: Path) -> Path:
    """A library made of its C source; skips the test where there is no compiler, which CI must have."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        assert not os.environ.get("CI"), "gcc is not installed"
        pytest.skip("needs gcc")
    library = directory / f"{name}.so"
    source = SOURCES / f"{name}.c"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class FailingDisk:
    """The disk under a daemon that is started with `environment`; see failing_disk.c."""

    def __init__(self, library: Path, daemon: Daemon) -> None:
        self._switch = daemon.site.logs / f"{daemon.name}.fault"
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAILING_DISK": str(daemon.state),
            "FAILING_DISK_SWITCH": str(self._switch),
        }

    def fail(self, fault: Fault) -> None:
        """From now on the disk fails so."""
        _replace(self._switch, fault)

    def mend(self) -> None:
        """From now on the disk is good."""
        self._switch.unlink(missing_ok=True)


class ShiftedClock:
    """The wall clock of daemons that are started with `environment`; see shifted_clock.c."""

    def __init__(self, library: Path, directory: Path) -> None:
        self._shift = directory / "clock"
        self.environment = {"LD_PRELOAD": str(library), "SHIFTED_CLOCK": str(self._shift)}

    def set(self, seconds: int) -> None:
        """From now on the clock is wrong by so much."""
        _replace(self._shift, f"{seconds}\n")


def _replace(path: Path, text: str) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text)
    draft.replace(path)
