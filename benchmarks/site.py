"""A system to measure: real daemons on free ports of loopback, with a state of its own on the real disk."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from benchmarks.errors import DaemonFailed
from roles.cli.checkout import home
from roles.cli.fleet import ADDRESSES, PORT, SHARED_ADDRESSES, SV2, Fleet, Profile
from roles.cli.keys import public_halves
from shared_config.address import Address

READY_S: Final = 120.0
STOP_S: Final = 20.0
LAST_LINES: Final = 20
OFFSETS: Final = range(-1_500, -2_300, -20)
"""With these no port is one that the system gives to clients."""

_TOLD = {name: re.compile(rf" {name}=([\w-]+)") for name in ("loop", "kernel")}


@dataclass(slots=True)
class DaemonProcess:
    """A daemon that runs; its log is in `log`."""

    role: str
    process: asyncio.subprocess.Process
    log: Path

    @property
    def pid(self) -> int:
        """Its process."""
        return self.process.pid

    @property
    def loop(self) -> str:
        """The event loop that it says it runs on."""
        return self._told("loop")

    @property
    def kernel(self) -> str:
        """The kernel of the share path that it says it runs."""
        return self._told("kernel")

    def _told(self, name: str) -> str:
        found = _TOLD[name].search(self.log.read_text())
        return found[1] if found else "unknown"

    def check(self) -> None:
        """Raise DaemonFailed when it has ended."""
        if self.process.returncode is not None:
            raise DaemonFailed(self._story(f"ended with exit code {self.process.returncode}"))

    async def until_ready(self, health_url: str) -> None:
        """Wait for its /ready; raises DaemonFailed."""
        reason = ""
        try:
            async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
                while True:
                    self.check()
                    with contextlib.suppress(aiohttp.ClientError):
                        async with session.get(f"{health_url}/ready") as response:
                            reason = await response.text()
                            if response.status == 200:
                                return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise DaemonFailed(self._story(f"is not ready after {READY_S:g} s: {reason}")) from None

    async def stop(self) -> None:
        """End it, with violence if it does not drain."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.process.wait(), STOP_S)
        except TimeoutError:
            self.process.kill()
            await self.process.wait()

    def _story(self, what: str) -> str:
        lines = self.log.read_text().splitlines()[-LAST_LINES:]
        return "\n  ".join([f"{self.role} {what}", *lines])


@dataclass(slots=True)
class Site:
    """Ports, keys and state of a system whose daemons are started one by one."""

    state: Path
    fleet: Fleet
    issuer: str = ""
    """The pool's identity, in hex."""
    running: list[DaemonProcess] = field(default_factory=list)

    def address(self, role: str, key: str) -> Address:
        """An address of a daemon's own file, on this site's ports."""
        return Address.parse(self.fleet.address(role, key))

    def shared_address(self, side: str, key: str) -> Address:
        """An address of a shared file, on this site's ports."""
        return Address.parse(self.fleet.shared_address(side, key))

    async def start(self, role: str, settings: Mapping[str, object] | None = None) -> DaemonProcess:
        """Start a daemon with further settings and wait until it is ready; raises DaemonFailed."""
        (member,) = (member for member in self.fleet.members() if member.role == role)
        command = [*member.command, "--die-with-parent", str(os.getpid())]
        for key, value in (settings or {}).items():
            command += ["--set", f"{key}={value}"]
        log = self.state / f"{role}.log"
        with log.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file, cwd=home()
            )
        daemon = DaemonProcess(role, process, log)
        self.running.append(daemon)
        await daemon.until_ready(member.health_url)
        return daemon

    async def stop(self, daemon: DaemonProcess) -> None:
        """End one daemon and forget it."""
        await daemon.stop()
        self.running.remove(daemon)


@asynccontextmanager
async def open_site(
    where: Path | None = None, profile: Profile = SV2, *, keep: Path | None = None
) -> AsyncIterator[Site]:
    """A site whose daemons are ended and whose state is removed at the end.

    The state is made in `where`, by default in the checkout's .state, which is on the disk that a pool uses;
    or it is `keep`, whatever is in there, and stays.
    """
    with nullcontext(keep) if keep else _directory(where or home() / ".state") as state:
        keys = public_halves(state, profile)
        offset = free_offset(Fleet(home() / "config", state, 0, keys, profile), profile)
        site = Site(state, Fleet(home() / "config", state, offset, keys, profile), keys.issuer)
        try:
            yield site
        finally:
            for daemon in reversed(site.running):
                await daemon.stop()


@contextmanager
def _directory(where: Path) -> Iterator[Path]:
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix="bench-", dir=where))
    try:
        yield state
    finally:
        shutil.rmtree(state, ignore_errors=True)


def free_offset(fleet: Fleet, profile: Profile = SV2) -> int:
    """An offset at which every port of the development system is free; raises DaemonFailed when none is."""
    texts = [fleet.address(role, key) for role in profile.needs for key in ADDRESSES[role]]
    texts += [fleet.shared_address(side, key) for side, keys in SHARED_ADDRESSES.items() for key in keys]
    ports = {int(found[1]) for found in map(PORT.search, texts) if found}
    first = os.getpid() % len(OFFSETS)
    candidates: list[int] = [*OFFSETS[first:], *OFFSETS[:first]]
    for offset in candidates:
        if all(_is_free(port + offset) for port in ports):
            return offset
    raise DaemonFailed("no range of ports is free")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
