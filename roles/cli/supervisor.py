"""Starts daemons in order of readiness, restarts what dies, and ends everything without an orphan."""

import asyncio
import contextlib
import enum
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import orjson

from roles.cli.log_line import LogLine

READY_POLL_S: Final = 0.05
STOP_TIMEOUT_S: Final = 10.0
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_LIMIT_S: Final = 5.0
STEADY_S: Final = 10.0
LINE_LIMIT: Final = 64 * 1024
LAST_LINES: Final = 12

EXIT_KINDS: Final = {
    64: "usage",
    65: "unusable data",
    66: "missing file",
    69: "unavailable",
    73: "cannot create",
    74: "disk",
    77: "no permission",
    78: "configuration",
}
"""Exit codes of sysexits that a new start does not mend by itself."""


class State(enum.Enum):
    """Where a daemon stands in its life."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


class StartFailed(Exception):
    """A daemon does not start for a reason that stays; the text says which one, why, and the cure."""


@dataclass(frozen=True)
class Member:
    """A daemon of the fleet: how to start it, where it tells that it is ready, and what it starts after."""

    role: str
    command: tuple[str, ...]
    health_url: str
    needs: tuple[str, ...] = ()


@dataclass
class Life:
    """What is known of a running member; `restarts` counts unplanned ends, times are monotonic seconds."""

    member: Member
    state: State = State.WAITING
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    since: float = 0.0
    reason: str = ""
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    last_lines: list[str] = field(default_factory=list)
    tender: asyncio.Task[None] | None = None


class Supervisor:
    """Keeps a fleet of daemons running; `say(role, line)` is called with each line that a daemon logs."""

    def __init__(
        self, members: Sequence[Member], say: Callable[[str, str], None], environment: Mapping[str, str]
    ) -> None:
        self.lives: dict[str, Life] = {member.role: Life(member) for member in members}
        self._say = say
        self._environment = dict(environment)
        self._stopping: set[str] = set()
        self._session: aiohttp.ClientSession | None = None
        self.all_ready = asyncio.Event()

    async def run(self) -> None:
        """Tend every member until all are stopped; raises StartFailed if one cannot start at all."""
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as self._session, asyncio.TaskGroup() as tasks:
            for life in self.lives.values():
                life.tender = tasks.create_task(self._tend(life))
            announcer = tasks.create_task(self._announce())
            await asyncio.wait([life.tender for life in self.lives.values() if life.tender])
            announcer.cancel()

    async def stop(self, roles: Sequence[str] | None = None) -> None:
        """End the given members (all by default, the latest started first) within their drain time."""
        chosen = [role for role in reversed(self.lives) if roles is None or role in roles]
        self._stopping.update(chosen)
        for role in chosen:
            await self._end(self.lives[role])

    def is_stopping(self) -> bool:
        """Whether every member has been told to end."""
        return self._stopping >= self.lives.keys()

    def kill(self) -> None:
        """End every member at once; what they had made durable stays."""
        self._stopping.update(self.lives)
        for life in self.lives.values():
            self._signal(life, signal.SIGKILL)

    async def _announce(self) -> None:
        for life in self.lives.values():
            await life.ready.wait()
        self.all_ready.set()

    async def _tend(self, life: Life) -> None:
        for role in life.member.needs:
            await self.lives[role].ready.wait()
        pause = BACKOFF_FIRST_S
        while life.member.role not in self._stopping:
            begun = time.monotonic()
            code = await self._run_once(life)
            if life.member.role in self._stopping:
                break
            self._refuse_hopeless(life, code)
            life.restarts += 1
            pause = (
                BACKOFF_FIRST_S if time.monotonic() - begun > STEADY_S else min(pause * 2, BACKOFF_LIMIT_S)
            )
            self._enter(life, State.RESTARTING, describe_exit(code))
            self._say(life.member.role, f"{describe_exit(code)}; starting again in {pause:.1f} s")
            await asyncio.sleep(pause)
        self._enter(life, State.STOPPED, "")

    async def _run_once(self, life: Life) -> int:
        process = await asyncio.create_subprocess_exec(
            *life.member.command,
            "--die-with-parent",
            str(os.getpid()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
            limit=LINE_LIMIT,
        )
        life.process = process
        self._enter(life, State.STARTING, "")
        if life.member.role in self._stopping:
            self._signal(life, signal.SIGTERM)
        watcher = asyncio.create_task(self._watch_ready(life))
        try:
            await self._pump(life, process)
            return await process.wait()
        except asyncio.CancelledError:
            await self._terminate(life, process)
            raise
        finally:
            watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watcher

    async def _pump(self, life: Life, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while True:
            try:
                raw = await process.stdout.readline()
            except ValueError:
                continue
            if not raw:
                return
            line = raw.decode("utf-8", "backslashreplace").rstrip()
            life.last_lines = [*life.last_lines[-LAST_LINES:], line]
            self._say(life.member.role, line)

    async def _watch_ready(self, life: Life) -> None:
        while True:
            ready, reason = await self._ask_ready(life)
            if ready and life.state is not State.READY:
                self._enter(life, State.READY, "")
                life.ready.set()
            elif not ready and life.state is State.READY:
                self._enter(life, State.STARTING, reason)
            life.reason = "" if ready else reason
            await asyncio.sleep(READY_POLL_S if not ready else 1.0)

    async def _ask_ready(self, life: Life) -> tuple[bool, str]:
        assert self._session is not None
        try:
            async with self._session.get(f"{life.member.health_url}/ready") as response:
                pid, reasons = parse_ready(await response.read())
        except (aiohttp.ClientError, TimeoutError):
            return False, ""
        if life.process is None or pid != life.process.pid:
            return False, f"process {pid} answers at {life.member.health_url}" if pid else ""
        return response.status == 200, reasons

    def _refuse_hopeless(self, life: Life, code: int) -> None:
        if life.ready.is_set() or code not in EXIT_KINDS:
            return
        told = "\n".join(f"  {line}" for line in complaints(life.last_lines))
        raise StartFailed(f"{life.member.role} does not start ({describe_exit(code)}):\n{told}")

    async def _end(self, life: Life) -> None:
        if life.state in {State.WAITING, State.RESTARTING} and life.tender:
            life.tender.cancel()
            self._enter(life, State.STOPPED, "")
        process = life.process
        if process is None or process.returncode is not None:
            return
        await self._terminate(life, process)

    async def _terminate(self, life: Life, process: asyncio.subprocess.Process) -> None:
        self._signal(life, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            self._say(life.member.role, f"did not stop within {STOP_TIMEOUT_S:.0f} s; killed")
            self._signal(life, signal.SIGKILL)
            await process.wait()

    def _signal(self, life: Life, number: signal.Signals) -> None:
        if life.process is not None and life.process.returncode is None:
            # Not by the process object: it would look for the end first, and take it from asyncio's watcher,
            # which then tells 255 for whatever ended it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(life.process.pid, number)

    def _enter(self, life: Life, state: State, reason: str) -> None:
        life.state, life.reason, life.since = state, reason, time.monotonic()


def parse_ready(body: bytes) -> tuple[int, str]:
    """Return which process answers /ready, 0 if it does not say so, and what it waits for."""
    try:
        told = orjson.loads(body)
        return int(told["pid"]), "; ".join(f"{name}: {reason}" for name, reason in told["reasons"].items())
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
        return 0, ""


def complaints(lines: Sequence[str]) -> list[str]:
    """Return what a daemon's last lines say that is wrong and how to mend it, else the lines as they are."""
    parsed = [line for line in map(LogLine.parse, lines) if line and line.level in {"error", "critical"}]
    told = [text for line in parsed for text in (line.message, line.fields.get("hint", "")) if text]
    return told or list(lines)


def describe_exit(code: int) -> str:
    """Return a sentence on how a process ended."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    kind = EXIT_KINDS.get(code)
    return f"ended with exit code {code}" + (f" ({kind})" if kind else "")
