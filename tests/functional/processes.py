"""Single daemons as real processes, on free ports and a state directory of their own; none is left behind."""

import asyncio
import contextlib
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from roles.cli.fleet import ADDRESSES, PEERS, SHARED_ADDRESSES, SIDES
from shared_config.roster import directory, package
from tests.functional import secrecy
from tests.functional.nursery import Process, fork

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE_S: Final = 60.0
POLL_S: Final = 0.02
TAIL: Final = 60

_SERVED_BY: Final = {
    "bitcoin.rpc_url": ("regtest_node", "rpc_address", "http://{}"),
    "mint.url": ("mint", "http_address", "http://{}"),
    "mint.issuance_address": ("mint", "issuance_address", "{}"),
    "template_provider.address": ("template_provider", "listen_address", "{}"),
    "pool.address": ("pool", "listen_address", "{}"),
    "proxy.address": ("proxy", "listen_address", "{}"),
}
"""Keys of the shared files, and which daemon listens there."""
_UPSTREAMS: Final = {"sv1_proxy_pool": "solo_pool", "sv1_proxy_miner": "sv1_proxy_pool"}
"""SV1 servers that daemons mine at."""


def free_ports() -> Iterator[int]:
    """Ports that nobody listens on, below those that clients get; each test worker has its own range."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
    for port in itertools.cycle(range(23_000 + 500 * worker, 23_500 + 500 * worker)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            yield port


_PORTS = free_ports()


def launch(role: str, arguments: list[str], log: Path, environment: Mapping[str, str]) -> Process:
    """A daemon as a process in a session of its own; its end is asked for with ours.

    Forked, unless its variables mean something to the loader of programs.
    """
    if not any(name.startswith("LD_") for name in environment):
        return fork(package(role), arguments, log, environment)
    command = [sys.executable, "-m", f"roles.{package(role)}", *arguments]
    with log.open("ab") as file:
        return subprocess.Popen(
            [*command, "--die-with-parent", str(os.getpid())],
            cwd=ROOT,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


class Site:
    """A state directory and the addresses of every daemon that may run on it; leaving it kills them all."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.logs = root / "logs"
        self.logs.mkdir(parents=True)
        self.daemons: list[Daemon] = []
        self._addresses: dict[tuple[str, str], str] = {}

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        pages = secrecy.pages(
            (daemon.name, daemon.settings["health_address"]) for daemon in self.daemons if daemon.is_running
        )
        for daemon in self.daemons:
            daemon.kill()
        if kind is None:
            secrecy.check(self.state, pages | secrecy.logs(self.logs))

    def address(self, role: str, key: str) -> str:
        """Where a daemon listens, the same for as long as the site stands."""
        place = (role, key)
        if place not in self._addresses:
            self._addresses[place] = f"127.0.0.1:{next(_PORTS)}"
        return self._addresses[place]

    def daemon(self, role: str, name: str | None = None, **settings: str) -> "Daemon":
        """A daemon that is not started yet; ``name`` tells two of a role apart.

        ``settings`` are laid over the development configuration, two underscores for a dot. A second one of a
        role has the same addresses, unless they are given.
        """
        given = {key.replace("__", "."): value for key, value in settings.items()}
        chosen = {
            key: self.address(role, key) for key in ADDRESSES[role] if role != "cpu_miner" or key != "address"
        }
        for key in SHARED_ADDRESSES[SIDES[role]]:
            server, server_key, form = _SERVED_BY[key]
            chosen[f"shared.{key}"] = form.format(self.address(server, server_key))
        for key in PEERS.get(role, ()):
            chosen[key] = self.address(_UPSTREAMS[role], "listen_address")
        daemon = Daemon(self, role, name or role, chosen | given)
        self.daemons.append(daemon)
        return daemon

    def log_tails(self) -> list[tuple[str, str]]:
        """The last lines of every daemon's log, under a title."""
        return [
            (f"log of {daemon.name}", "\n".join(daemon.log.splitlines()[-TAIL:])) for daemon in self.daemons
        ]


class Daemon:
    """One daemon of a site: it can be started, killed, stopped and started again."""

    def __init__(self, site: Site, role: str, name: str, settings: dict[str, str]) -> None:
        self.site = site
        self.role = role
        self.name = name
        self.settings = settings
        self.process: Process | None = None
        self._file = site.logs / f"{name}.log"

    @property
    def state(self) -> Path:
        """Its own directory."""
        return self.site.state / directory(self.role)

    @property
    def log(self) -> str:
        """Everything that it has logged, over all its lives."""
        return self._file.read_text() if self._file.exists() else ""

    @property
    def is_running(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def start(self, *arguments: str, **environment: str) -> None:
        """Starts the process; its end is asked for with ours."""
        assert not self.is_running
        command = [
            "-c", str(ROOT / "config" / f"{self.role}.toml"),
            "-g", str(ROOT / "config" / "shared" / f"{SIDES[self.role]}.toml"),
            "--state", str(self.site.state), *arguments,
        ]  # fmt: skip
        for key, value in self.settings.items():
            command += ["--set", f"{key}={value}"]
        self.process = launch(self.role, command, self._file, environment)

    async def ready(self, bound_s: float = PATIENCE_S) -> float:
        """Waits until it says that it is ready; returns how long that took."""
        began = time.monotonic()
        async for _ in self.polls("to be ready", bound_s):
            if (await self.health("/ready"))[0] == 200:
                break
        return time.monotonic() - began

    async def started(self, *arguments: str) -> "Daemon":
        """Starts it and waits until it is ready."""
        self.start(*arguments)
        await self.ready()
        return self

    async def logged(self, pattern: str, bound_s: float = PATIENCE_S) -> re.Match[str]:
        """Waits for a line that matches; returns the last one."""
        async for _ in self.polls(f"to log {pattern!r}", bound_s):
            found = list(re.finditer(pattern, self.log))
            if found:
                return found[-1]
        raise AssertionError

    async def polls(self, what: str, bound_s: float = PATIENCE_S) -> Any:
        """Yields while something is awaited of it; fails at the bound, or when it has ended."""
        deadline = time.monotonic() + bound_s
        while time.monotonic() < deadline:
            yield
            assert self.is_running, f"{self.name} has ended instead of coming {what}:\n{self._tail()}"
            await asyncio.sleep(POLL_S)
        raise AssertionError(f"{self.name} did not come {what} within {bound_s} s:\n{self._tail()}")

    async def health(self, path: str) -> tuple[int, str]:
        """Status and body of a page of its health address; 0 when it does not answer."""
        host, _, port = self.settings["health_address"].rpartition(":")
        try:
            async with asyncio.timeout(20):
                reader, writer = await asyncio.open_connection(host, int(port))
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError):
            return 0, ""
        return (int(head.split(" ")[1]), body) if head else (0, "")

    async def reasons(self) -> dict[str, str]:
        """Why it is not ready."""
        _, body = await self.health("/ready")
        reasons: dict[str, str] = json.loads(body)["reasons"]
        return reasons

    async def ended(self, bound_s: float = PATIENCE_S) -> int:
        """Waits for its end and returns the exit code."""
        assert self.process is not None
        deadline = time.monotonic() + bound_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"{self.name} does not end:\n{self._tail()}"
            await asyncio.sleep(POLL_S)
        return int(self.process.returncode)

    async def stop(self) -> int:
        """Asks it to end, waits and returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    def kill(self) -> None:
        """Ends it without a word, if it lives, and what it has started with it."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(PATIENCE_S)

    def _tail(self) -> str:
        return "\n".join(self.log.splitlines()[-TAIL:])
