"""The further processes of a pool: started, watched, started again when they end, and ended with it."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge

from protocols.ehash.errors import CreditCode
from roles.credit.ledger_rows import LedgerRow
from roles.pool import intercom
from roles.pool.branch_desk import BranchDesk, KeptBooks
from roles.pool.intercom import Assignment, Garbled, Intercom
from roles.pool.notices import Notices
from roles.pool.tallies import Tallies
from roles.runtime import crash
from roles.runtime.backoff import Backoff
from roles.runtime.readiness import Readiness
from roles.runtime.task_group import TaskGroup
from roles.stratum.miner_pages import Pages
from shared_config.address import Address
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

CONDITION: Final = "branches"
COMMAND: Final = (sys.executable, "-m", "roles.pool.branch")
STEADY_S: Final = 10.0
"""A branch that has lived so long is started again without delay."""
SILENCE_S: Final = 30.0
"""A branch that has said nothing for so long is ended; it says something each second."""
STOP_S: Final = 5.0
GATHER_S: Final = 10.0
LISTEN_S: Final = 0.5

_log = logging.getLogger(__name__)


class BranchMetrics:
    """What the keeper tells of the processes of the pool; 0 is its own number."""

    def __init__(self, registry: CollectorRegistry, tallies: Tallies) -> None:
        self._connections = Gauge(
            "hashpool_pool_process_connections",
            "Peers connected, by process.",
            ["process"],
            registry=registry,
        )
        self._accepted = Gauge(
            "hashpool_pool_process_shares_accepted",
            "Shares accepted, by process, since it was started.",
            ["process"],
            registry=registry,
        )
        self.ends = Counter(
            "hashpool_pool_process_ends",
            "Times that a process ended without being told to.",
            ["process"],
            registry=registry,
        )
        self._tallies = tallies

    def show(self, number: int) -> None:
        """Show a process from now on."""
        process = str(number)
        of = self._tallies.of
        self._connections.labels(process).set_function(lambda: of(number, "hashpool_pool_connections"))
        self._accepted.labels(process).set_function(lambda: of(number, "hashpool_pool_shares_accepted_total"))


class Branches:
    """As many branches as `count`, numbered from 1; hears for all processes what the mint does with rows."""

    def __init__(
        self,
        count: int,
        assign: Callable[[int], Assignment],
        books: KeptBooks,
        notices: Notices,
        *,
        tallies: Tallies,
        metrics: BranchMetrics,
        readiness: Readiness,
        ended: Callable[[], None],
        worked: Callable[[float, float, int], None],
    ) -> None:
        self._worked = worked
        self._configuration: bytes | None = None
        self._work: dict[int, tuple[float, float, int]] = {}
        self._count = count
        self._assign = assign
        self._books = books
        self._notices = notices
        self._tallies = tallies
        self._metrics = metrics
        self._readiness = readiness
        self._ended = ended
        self._desks: dict[int, BranchDesk] = {}
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._heard: dict[int, float] = {}
        self._reasons = dict.fromkeys(range(1, count + 1), "starting")
        self._waiting = set(self._reasons)
        self._is_gathered = asyncio.Event()
        self._are_serving = asyncio.Event()
        self._address: Address | None = None
        self._stopping = asyncio.Event()
        books.difficulties.listener = self._departed_here
        books.claims.tenants = self._tenants
        for number in range(count + 1):
            metrics.show(number)
        if count:
            readiness.declare(CONDITION, "starting")
        else:
            self._is_gathered.set()
            self._are_serving.set()

    async def run(self) -> None:
        """Keep the branches running until cancelled."""
        async with TaskGroup() as tasks:
            for number in self._reasons:
                tasks.create_task(self._tend(number))

    async def gather(self) -> None:
        """Wait until all have work, or have had their time: who listens first would be given all miners."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self._is_gathered.wait()

    async def listen(self, address: Address) -> None:
        """Have the branches serve miners there, these and those to come; wait for it, but not long."""
        self._address = address
        for desk in self._desks.values():
            desk.listen(address)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTEN_S):
                await self._are_serving.wait()

    async def stop(self) -> None:
        """End the branches; what they have begun is finished, if that does not take long."""
        self._stopping.set()
        processes = list(self._processes.values())
        for process in processes:
            _signal(process, signal.SIGTERM)
        await asyncio.gather(*(_ended(process) for process in processes))

    # What concerns rows and blocks of any process

    def confirmed(self, rows: Sequence[LedgerRow]) -> None:
        """The mint holds a quote for each of these rows."""
        self._notices.confirmed(rows)
        if rows:
            for desk in self._desks.values():
                desk.confirmed(rows)

    def refused(self, row: LedgerRow, code: CreditCode) -> None:
        """The mint settled a row by refusing it."""
        self._notices.refused(row.seq, code)
        for desk in self._desks.values():
            desk.refused(row.seq, code)

    def settled(self, block_hash: bytes) -> None:
        """The node knows a block."""
        for desk in self._desks.values():
            desk.settled(block_hash)

    def _tenants(self) -> Sequence[BranchDesk]:
        return tuple(self._desks.values())

    def _departed_here(self, host: str, user: str, hashes: int) -> None:
        if self._desks:
            self._departed(None, intercom.pack_json([host, user, hashes]))

    def _departed(self, where: BranchDesk | None, payload: bytes) -> None:
        for desk in self._desks.values():
            if desk is not where:
                desk.learn(payload)

    # What people and operators want

    def pages(self) -> dict[int, Pages]:
        """Who tells of the miners of each branch that serves any."""
        return {number: desk.inquiries.page for number, desk in self._desks.items()}

    def reload(self, config: PoolSettings, shared: PoolSide) -> None:
        """The configuration was read again."""
        self._configuration = intercom.pack_configuration(config, shared)
        for desk in self._desks.values():
            desk.reload(self._configuration)

    # The life of a branch

    async def _tend(self, number: int) -> None:
        backoff = Backoff(first_s=0.2, limit_s=5.0)
        environment = dict(os.environ)
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                reason = await self._live(number, environment)
            except (OSError, Garbled, ValueError) as error:
                reason = str(error)
            finally:
                self._forget(number)
            # A crash point is for one life: what comes after it is the recovery.
            environment.pop(crash.VARIABLE, None)
            if self._stopping.is_set():
                return
            self._metrics.ends.labels(str(number)).inc()
            _log.error("a front end has ended", extra={"branch": number, "reason": reason})
            self._say(number, reason)
            self._ended()
            if time.monotonic() - began > STEADY_S:
                backoff.reset()
            await backoff.wait()

    async def _live(self, number: int, environment: dict[str, str]) -> str:
        """Start a branch and answer it to its end; returns why it has ended."""
        near, far = socket.socketpair()
        with contextlib.closing(near), contextlib.closing(far):
            process = await asyncio.create_subprocess_exec(*COMMAND, stdin=far.fileno(), env=environment)
            self._processes[number] = process
            far.close()
            try:
                assignment = self._assign(number)
                await asyncio.to_thread(_brief, near, assignment)
                near.setblocking(False)
                loop = asyncio.get_running_loop()
                _, line = await loop.create_unix_connection(Intercom, sock=near)
                return await self._attend(assignment, process, line)
            finally:
                _signal(process, signal.SIGKILL)
                await process.wait()

    async def _attend(
        self, assignment: Assignment, process: asyncio.subprocess.Process, line: Intercom
    ) -> str:
        number = assignment.number
        desk = BranchDesk(
            line,
            self._books,
            report=partial(self._report, number),
            departed=self._departed,
            store=assignment.store,
        )
        self._desks[number] = desk
        self._heard[number] = time.monotonic()
        line.attend(desk.hear)
        if self._configuration is not None:
            # It may have been read again since the branch was told its own.
            desk.reload(self._configuration)
        if self._address is not None:
            desk.listen(self._address)
        try:
            while not line.lost.is_set():
                patience = self._heard[number] + SILENCE_S - time.monotonic()
                if patience <= 0:
                    return f"it has said nothing for {SILENCE_S:g} s"
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(patience):
                        await line.lost.wait()
            return await _ended(process)
        finally:
            del self._desks[number]
            desk.close()

    def _forget(self, number: int) -> None:
        self._processes.pop(number, None)
        self._heard.pop(number, None)
        self._work.pop(number, None)
        self._tallies.depart(number)

    def _report(self, number: int, state: dict[str, Any]) -> None:
        self._heard[number] = time.monotonic()
        self._tallies.take(number, state["metrics"])
        work, squares, shares = state["work"]
        before = self._work.get(number, (0.0, 0.0, 0))
        self._worked(work - before[0], squares - before[1], shares - before[2])
        self._work[number] = (work, squares, shares)
        if state["has_work"]:
            self._waiting.discard(number)
            if not self._waiting:
                self._is_gathered.set()
        reasons: dict[str, str] = state["reasons"]
        self._say(number, "; ".join(f"{name}: {reason}" for name, reason in reasons.items()))

    def _say(self, number: int, reason: str) -> None:
        if self._reasons[number] == reason:
            return
        self._reasons[number] = reason
        waits = [f"process {each}: {why}" for each, why in self._reasons.items() if why]
        if waits:
            self._readiness.unmet(CONDITION, ", ".join(waits))
        else:
            self._are_serving.set()
            self._readiness.met(CONDITION)


def _brief(wire: socket.socket, assignment: Assignment) -> None:
    """Tell a new process what it is; waits until it has heard, or raises OSError."""
    with Connection(os.dup(wire.fileno())) as briefing:
        briefing.send(assignment)


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)


async def _ended(process: asyncio.subprocess.Process) -> str:
    """How a process has ended, with violence if that takes long."""
    try:
        async with asyncio.timeout(STOP_S):
            code = await process.wait()
    except TimeoutError:
        _signal(process, signal.SIGKILL)
        code = await process.wait()
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return f"it ended with exit code {code}"
