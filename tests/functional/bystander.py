"""Who mines on beside hostile peers, and what a daemon takes meanwhile."""

import asyncio
import contextlib
import json
import subprocess
import sys
from typing import Final

from tests.functional.processes import ROOT

AS_MODULE: Final = """
import runpy, sys, types
# Another distribution has left a package of this name, which would come before ours.
package = sys.modules["tests"] = types.ModuleType("tests")
package.__path__ = ["tests"]
runpy.run_module("tests.functional.good_miner", run_name="__main__", alter_sys=False)
"""


class GoodMiner:
    """A process that mines on, whatever others do."""

    def __init__(self, *arguments: str) -> None:
        self.round_trips: list[float] = []
        self._process = subprocess.Popen(
            [sys.executable, "-c", AS_MODULE, *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    async def mark(self) -> list[float]:
        """Its round trips since the last mark, in ms; every one of its shares has been accepted."""
        return await asyncio.to_thread(self._mark)

    def _mark(self) -> list[float]:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write("mark\n")
            self._process.stdin.flush()
        # Libraries that it imports may have something to say first.
        while (line := self._process.stdout.readline()) and not line.startswith("["):
            pass
        if not line:
            assert self._process.stderr
            raise AssertionError(f"the good miner has ended: {self._process.stderr.read()}")
        trips: list[float] = json.loads(line)
        return trips

    def end(self) -> None:
        """No more."""
        self._process.kill()
        self._process.communicate()


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
