"""A program of others that runs beside our daemons while both are measured."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.errors import DaemonFailed
from shared_config.address import Address

READY_S: Final = 60.0
STOP_S: Final = 10.0
_TAIL: Final = 2_000


@dataclass(frozen=True, slots=True)
class ForeignProcess:
    """It as it runs: what people call it, and where it listens."""

    name: str
    process: asyncio.subprocess.Process
    address: Address
    log: Path

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    def check(self) -> None:
        """Raise DaemonFailed when it has ended."""
        if self.process.returncode is not None:
            raise DaemonFailed(f"{self.name} has ended: {self._end()}")

    async def until_it_listens(self) -> None:
        """Wait until it takes connections; raises DaemonFailed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while True:
                    self.check()
                    with contextlib.suppress(OSError):
                        _, writer = await asyncio.open_connection(self.address.host, self.address.port)
                        writer.close()
                        return
                    await asyncio.sleep(0.1)
        raise DaemonFailed(f"{self.name} does not listen at {self.address}: {self._end()}")

    async def stop(self, by: signal.Signals) -> None:
        """End it, with violence if it does not go."""
        if self.process.returncode is None:
            self.process.send_signal(by)
            try:
                await asyncio.wait_for(self.process.wait(), STOP_S)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    def _end(self) -> str:
        return self.log.read_text(errors="replace")[-_TAIL:]


@asynccontextmanager
async def running(
    name: str,
    command: Sequence[str],
    address: Address,
    *,
    home: Path,
    environment: Mapping[str, str],
    ends_by: signal.Signals = signal.SIGTERM,
) -> AsyncIterator[ForeignProcess]:
    """A program in the directory `home` from when it listens at `address` until the context is left; raises
    DaemonFailed.
    """
    log = home / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=home, env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    foreign = ForeignProcess(name, process, address, log)
    try:
        await foreign.until_it_listens()
        yield foreign
    finally:
        await foreign.stop(ends_by)


def free_address() -> Address:
    """An address of loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Address("127.0.0.1", int(probe.getsockname()[1]))
