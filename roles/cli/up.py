"""`hashpool up`: the whole system on an own regtest chain, until it is told to stop."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import orjson

from roles.cli.checkout import development_state, home
from roles.cli.claim import AlreadyRunning, Claim
from roles.cli.fleet import PROFILES, SV2, Fleet, Profile
from roles.cli.gauges import Gauges
from roles.cli.keys import public_halves
from roles.cli.panel import Signpost
from roles.cli.run_report import OUTLOOKS, Baseline, facts, outcome, report, settled
from roles.cli.supervisor import StartFailed, State, Supervisor
from roles.cli.terminal import REFRESH_S, LogFiles, Terminal
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments

SETTLE_S: Final = 8.0
SETTLE_POLL_S: Final = 0.1
READY_LIMIT_S: Final = 120.0
"""So long a run with an end waits for its daemons; without one, `up` goes on trying."""
MINER: Final = "cpu_miner"


@dataclass(frozen=True)
class Options:
    """What the command line asks for."""

    seconds: float | None
    json: bool
    offset: int
    state: Path
    tree: Path
    profile: Profile


def parse(argv: list[str]) -> Options:
    """Read the arguments."""
    parser = Arguments(
        prog="hashpool up",
        description="Run the whole system on an own regtest chain until Ctrl-C. What the miner has earned"
        " goes to the wallet before the end; a second Ctrl-C ends at once, and loses nothing durable either.",
    )
    parser.add_argument(
        "--for", dest="seconds", type=float, metavar="SECONDS", help="stop so long after all is ready"
    )
    parser.add_argument("--json", action="store_true", help="print one object on the last line of stdout")
    parser.add_argument("--port-offset", type=int, default=0, metavar="N", help="move every port by N")
    parser.add_argument(
        "--profile",
        choices=tuple(PROFILES),
        default=SV2.name,
        help="the system: sv2, or sv1 with sv1_proxy alone at an SV1 pool",
    )
    parser.add_argument(
        "--state",
        metavar="DIR",
        help="where everything is kept: by default $HASHPOOL_STATE, else .state, .state/sv1, .state/offset-N",
    )
    parser.add_argument(
        "--config", type=Path, metavar="DIR", help="the tree of configuration files: by default config"
    )
    parser.add_argument("--backtrace", action="store_true", help="full tracebacks in the logs")
    given = parser.parse_args(argv)
    if given.seconds is not None and given.seconds <= 0:
        parser.error("--for takes a number of seconds above 0")
    if not -2300 <= given.port_offset <= 30000:
        parser.error("--port-offset takes -2300 to 30000")
    if given.backtrace:
        os.environ["HASHPOOL_BACKTRACE"] = "1"
    profile = PROFILES[given.profile]
    state = development_state(given.state, given.port_offset, profile.name)
    tree = given.config or home() / "config"
    return Options(given.seconds, given.json, given.port_offset, state, tree.absolute(), profile)


def main(argv: list[str]) -> int:
    """Run the system and return 0 if all went well and the audit at its end, if any, is ok.

    Raises OperatorError, and ConfigInvalid with all faults of all files, before anything is started.
    """
    started = time.monotonic()
    options = parse(argv)
    try:
        with Claim(options.state):
            return asyncio.run(Run(options, started).run())
    except AlreadyRunning as error:
        print(f"hashpool up: {error}", file=sys.stderr)
        return sysexits.CANT_CREATE


class Run:
    """One run of the system, from the first process to the last."""

    def __init__(self, options: Options, started: float) -> None:
        self._options = options
        self._started = started
        profile = options.profile
        keys = public_halves(options.state, profile)
        self._fleet = Fleet(options.tree, options.state, options.offset, keys, profile)
        self._fleet.check()
        members = self._fleet.members()
        roles = [member.role for member in members]
        logs = options.state / "logs"
        self._terminal = Terminal(roles, LogFiles(logs), self._signpost(logs))
        self._supervisor = Supervisor(members, self._terminal.say, os.environ)
        self._gauges = Gauges()
        self._stopping = asyncio.Event()
        self._outlook = OUTLOOKS[profile.name]
        self._baseline = Baseline.take(options.state, profile)
        self._ready_s = 0.0

    def _signpost(self, logs: Path) -> Signpost:
        miners = miner_address(self._fleet.address(self._options.profile.server, "listen_address"))
        elsewhere = "" if logs.parent == home() / ".state" else f" --state {shortest(logs.parent)}"
        tokens = f"./hashpool wallet list{elsewhere}"
        return Signpost(f"stratum+tcp://{miners}", tokens, shortest(logs))

    async def run(self) -> int:
        """Start, watch, stop, report."""
        with self._signals():
            supervised = asyncio.create_task(self._supervisor.run())
            self._terminal.open()
            try:
                await self._until_stopped(supervised)
            except ExceptionGroup as group:
                refusals, others = group.split(StartFailed)
                if others is not None:
                    raise others from None
                return self._refused(refusals)
            finally:
                self._terminal.close_live()
        return self._conclude()

    def _refused(self, refusals: ExceptionGroup[StartFailed] | None) -> int:
        self._terminal.close()
        for refusal in refusals.exceptions if refusals else ():
            print(f"hashpool up: {refusal}", file=sys.stderr)
        return sysexits.UNAVAILABLE

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self._stopping.is_set():
            self._terminal.tell("ending at once")
            self._supervisor.kill()
        self._stopping.set()

    async def _until_stopped(self, supervised: asyncio.Task[None]) -> None:
        timeout = aiohttp.ClientTimeout(total=2)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            watcher = asyncio.create_task(self._watch(session))
            stopper = asyncio.create_task(self._stop_in_time())
            try:
                await asyncio.wait({supervised, stopper}, return_when=asyncio.FIRST_COMPLETED)
                if not supervised.done():
                    await self._wind_down(session)
                await supervised
            finally:
                stopper.cancel()
                watcher.cancel()
                await asyncio.wait({stopper, watcher})

    async def _stop_in_time(self) -> None:
        """Return when the run is to end: at a signal, or so long after everything is ready."""
        stopping = asyncio.create_task(self._stopping.wait())
        ready = asyncio.create_task(self._supervisor.all_ready.wait())
        limit = None if self._options.seconds is None else READY_LIMIT_S
        await asyncio.wait({stopping, ready}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if ready.done():
            self._ready_s = time.monotonic() - self._started
            self._terminal.ready(self._ready_s)
            await asyncio.wait({stopping}, timeout=self._options.seconds)
        elif not stopping.done():
            self._tell_laggards()
        stopping.cancel()
        ready.cancel()

    def _tell_laggards(self) -> None:
        self._terminal.tell(f"not everything was ready within {READY_LIMIT_S:.0f} s:")
        for life in self._supervisor.lives.values():
            if life.state is not State.READY:
                self._terminal.tell(f"{life.member.role} {life.state.value} {life.reason}".rstrip())

    async def _watch(self, session: aiohttp.ClientSession) -> None:
        while True:
            await self._look(session)
            self._terminal.show(
                list(self._supervisor.lives.values()), lambda: facts(self._gauges, self._outlook)
            )
            await asyncio.sleep(REFRESH_S)

    async def _look(self, session: aiohttp.ClientSession) -> None:
        for role, life in self._supervisor.lives.items():
            if life.ready.is_set():
                await self._gauges.look(session, role, self._fleet.health_url(role))

    async def _wind_down(self, session: aiohttp.ClientSession) -> None:
        """Stop the miner, let what it has earned arrive, then stop the rest."""
        self._terminal.tell("stopping; the wallet takes in what is on its way (Ctrl-C: at once)")
        await self._supervisor.stop([MINER])
        if self._supervisor.all_ready.is_set():
            for _ in range(round(SETTLE_S / SETTLE_POLL_S)):
                if self._supervisor.is_stopping() or settled(self._options.state, self._options.profile):
                    break
                await asyncio.sleep(SETTLE_POLL_S)
        await self._look(session)
        await self._supervisor.stop()

    def _conclude(self) -> int:
        result = report(self._options.state, self._baseline, self._gauges, self._options.profile)
        install_s = float(os.environ.get("HASHPOOL_INSTALL_S", "0"))
        whole = {"install_s": install_s, "ready_s": round(self._ready_s, 2)} | result
        audit = whole["audit"]
        self._terminal.tell(outcome(result))
        self._terminal.tell(f"audit: {audit['detail']}")
        self._terminal.close()
        if self._options.json:
            sys.stdout.write(orjson.dumps(whole).decode() + "\n")
            sys.stdout.flush()
        return 0 if audit["ok"] and self._supervisor.all_ready.is_set() else 1


def miner_address(listening: str) -> str:
    """Return where miners reach an address that a daemon listens on; a wildcard is this machine's name."""
    host, _, port = listening.rpartition(":")
    return f"{socket.gethostname()}:{port}" if host in {"0.0.0.0", "[::]", "*"} else listening  # noqa: S104


def shortest(path: Path) -> str:
    """Return a path as it is shortest to write here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
