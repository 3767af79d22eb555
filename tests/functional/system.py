"""A whole system under test: `hashpool up` as a process of its own, with its ports moved out of the way."""

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from roles.cli.stores import WalletStore, open_store
from tests.functional import secrecy

HOME: Final = Path(__file__).resolve().parents[2]
BOUND_S: Final = 90.0
BASE_PORTS: Final = (
    3338, 9108, 9109, 9110, 9111, 9112, 9113, 9114, 9117, 9118, 9119, 18443, 18447,
    34254, 34255, 34256, 34257, 34258, 34259, 34260,
)  # fmt: skip
HEALTH_PORTS: Final = {
    "pool": 9108, "proxy": 9109, "translator": 9110, "mint": 9111, "template_provider": 9114,
    "regtest_node": 9117, "cpu_miner": 9118,
}  # fmt: skip
POLL_S: Final = 0.05


_claims: dict[int, int] = {}


def free_offset() -> int:
    """Return a port offset at which every port is free, and keep other test processes away from it.

    The ports lie below those that the system gives to clients, so that no connection takes one by chance.
    """
    for offset in range(-1500, -2300, -20):
        mine = offset in _claims or claim(offset)
        if mine and all(is_free(port + offset) for port in BASE_PORTS):
            return offset
    raise RuntimeError("no free range of ports")


def claim(offset: int) -> bool:
    """Take the lock of an offset for the life of this process; False when another one has it."""
    path = Path(tempfile.gettempdir()) / f"hashpool-test-ports{offset}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    _claims[offset] = descriptor
    return True


def is_free(port: int) -> bool:
    """Whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def run_cli(*arguments: str, timeout: float = BOUND_S) -> subprocess.CompletedProcess[str]:
    """Run a command of `hashpool` to its end."""
    command = [sys.executable, "-m", "roles.cli", *arguments]
    return subprocess.run(command, cwd=HOME, capture_output=True, text=True, timeout=timeout, check=False)


@contextlib.contextmanager
def daemon(role: str, state: Path, offset: int) -> Iterator[subprocess.Popen[bytes]]:
    """One daemon of a state directory alone, from the moment that it is ready."""
    command = [sys.executable, "-m", "roles.cli", "start", role, "--state", str(state)]
    process = subprocess.Popen([*command, "--port-offset", str(offset)], cwd=HOME, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + BOUND_S
        while not answers(f"http://127.0.0.1:{HEALTH_PORTS[role] + offset}/ready"):
            assert process.poll() is None, f"{role} has ended"
            assert time.monotonic() < deadline, f"{role} does not get ready"
            time.sleep(POLL_S)
        yield process
    finally:
        process.terminate()
        process.wait(BOUND_S)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


class System:
    """`hashpool up` on a state directory; leaving its context ends it and everything that it started."""

    def __init__(self, state: Path, *arguments: str, offset: int | None = None) -> None:
        self.state = state
        self.offset = free_offset() if offset is None else offset
        command = [sys.executable, "-m", "roles.cli", "up", "--state", str(state)]
        command += ["--port-offset", str(self.offset), *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=HOME,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pages = secrecy.pages(
            (role, f"127.0.0.1:{port + self.offset}") for role, port in HEALTH_PORTS.items()
        )
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(BOUND_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self.process.stderr is not None:
            self.process.stderr.close()
        if kind is not None:
            print("\n".join(self.lines[-200:]))
        else:
            shown = {"what up shows": "\n".join(self.lines)}
            secrecy.check(self.state, pages | shown | secrecy.logs(self.state / "logs"))

    def wait_ready(self) -> None:
        """Wait until `up` says that everything is ready."""
        self.wait_line("everything is ready")

    def wait_line(self, text: str, *, after: int = 0) -> None:
        """Wait until a line that contains a text has been shown."""
        for _ in self.polls(f"a line with {text!r}"):
            if any(text in line for line in self.lines[after:]):
                return

    def polls(self, what: str, bound_s: float = BOUND_S) -> Iterator[None]:
        """Yield until the bound is reached; raises AssertionError then, or when `up` has ended."""
        deadline = time.monotonic() + bound_s
        while time.monotonic() < deadline:
            yield
            assert self.process.poll() is None, f"up ended while {what} was awaited:\n" + "\n".join(
                self.lines[-40:]
            )
            time.sleep(POLL_S)
        raise AssertionError(f"{what} was awaited in vain for {bound_s} s:\n" + self.tail())

    def tail(self) -> str:
        """Return the last lines shown."""
        return "\n".join(self.lines[-60:])

    def result(self) -> dict[str, Any]:
        """Wait for the end and return the object on the last line of stdout."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        code = self.process.wait(BOUND_S)
        assert code == 0, f"exit code {code}, {out!r}\n{self.tail()}"
        last: dict[str, Any] = json.loads(out.splitlines()[-1])
        return last

    def children(self) -> dict[str, int]:
        """Return the running daemons by role and process id."""
        found: dict[str, int] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with contextlib.suppress(OSError, IndexError):
                    words = (entry / "cmdline").read_bytes().decode().split("\0")
                    if str(self.state) in words and words[1] == "-m" and words[2] != "roles.cli":
                        found[words[2].removeprefix("roles.")] = int(entry.name)
        return found

    def metrics(self, role: str) -> str:
        """Return a daemon's metrics as text, empty while it does not answer."""
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{HEALTH_PORTS[role] + self.offset}/metrics", timeout=10
            ) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""

    def balance(self) -> int:
        """Return the miners' wallet's balance in ehash, 0 before there is a wallet."""
        for role in ("proxy", "sv1_proxy-miner"):
            connection = open_store(self.state, role, WalletStore.FILE)
            if connection is not None:
                with connection:
                    return WalletStore(connection).balance()[0]
        return 0
