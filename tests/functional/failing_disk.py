"""A disk that fails when told to, for the state directory of one daemon; see failing_disk.c."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final, Literal

import pytest

from tests.functional.processes import Daemon

Fault = Literal["full", "readonly", "fsync"]

SOURCE: Final = Path(__file__).with_suffix(".c")


def build(directory: Path) -> Path:
    """The library that is preloaded; skips the test where there is no compiler, which CI must have."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        assert not os.environ.get("CI"), "gcc is not installed"
        pytest.skip("needs gcc")
    library = directory / "failing_disk.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


class FailingDisk:
    """The disk under a daemon that is started with `environment`."""

    def __init__(self, library: Path, daemon: Daemon) -> None:
        self._library = library
        self._place = daemon.state
        self._switch = daemon.site.logs / f"{daemon.name}.fault"

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the daemon."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAILING_DISK": str(self._place),
            "FAILING_DISK_SWITCH": str(self._switch),
        }

    def fail(self, fault: Fault) -> None:
        """From now on the disk fails so."""
        draft = self._switch.with_suffix(".new")
        draft.write_text(fault)
        draft.replace(self._switch)

    def mend(self) -> None:
        """From now on the disk is good."""
        self._switch.unlink(missing_ok=True)
