"""A further process of a pool: serves miners, and writes into the books that the keeper keeps.

It is started by `branches` with the intercom in the place of its standard input, and ends when that is cut.
"""

import asyncio
import contextlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Coroutine
from functools import partial
from multiprocessing.connection import Connection
from typing import Final

from protocols.ehash.resume_token import ResumeToken
from roles.pool import intercom
from roles.pool.api import Hall
from roles.pool.books import Books
from roles.pool.front_end import FrontEnd, PoolDaemon
from roles.pool.inquiry import Clerk
from roles.pool.intercom import Assignment, Garbled, Intercom, Word
from roles.pool.meters import Meters
from roles.pool.records import open_records, prefix_of
from roles.pool.remote_books import RemoteBlocks, RemoteClaims, RemoteLedger, RemotePrefixes
from roles.pool.resume_store import Found, Result
from roles.pool.supply import Supply, reward_script
from roles.pool.tallies import snapshot
from roles.runtime import sysexits
from roles.runtime.authority import authority_secret
from roles.runtime.daemon import Daemon, assist
from roles.runtime.errors import OperatorError
from roles.runtime.process import die_with_parent
from roles.stratum.miner_pages import page
from shared_config.address import Address
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

TICK_S: Final = 1.0
SETTLE_S: Final = 2.0

_log = logging.getLogger(__name__)


def main() -> int:
    """Be a branch until told to stop, or until the keeper has gone; returns the exit code."""
    wire = socket.socket(fileno=os.dup(0))
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    try:
        with Connection(os.dup(wire.fileno())) as briefing:
            assignment: Assignment = briefing.recv()
    except (EOFError, OSError):
        return sysexits.OK
    if not die_with_parent(assignment.keeper):
        return sysexits.OK
    daemon: PoolDaemon = Daemon(
        f"pool/{assignment.number}", assignment.config, assignment.shared, assignment.state
    )
    return assist(daemon, lambda it: serve(it, assignment, wire))


async def serve(daemon: PoolDaemon, assignment: Assignment, wire: socket.socket) -> None:
    """Serve miners until told to stop or until the keeper has gone."""
    wire.setblocking(False)
    _, line = await asyncio.get_running_loop().create_unix_connection(Intercom, sock=wire)
    branch = Branch(daemon, line, assignment)
    line.attend(branch.hear)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(each) for each in branch.activities()]
        stopping = tasks.create_task(daemon.stopping.wait())
        lost = tasks.create_task(line.lost.wait())
        serving = tasks.create_task(branch.run_listener())
        await asyncio.wait({stopping, lost, serving}, return_when=asyncio.FIRST_COMPLETED)
        serving.cancel()
        await asyncio.wait({serving})
        if not line.lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SETTLE_S):
                    await branch.ledger.settled()
        for task in (stopping, lost, *running):
            task.cancel()
        await asyncio.wait(running)
    branch.report()
    line.close()
    if not daemon.stopping.is_set():
        _log.warning("the keeper of the books is gone")
        daemon.stopping.set()


class Branch:
    """The parts of a branch."""

    def __init__(self, daemon: PoolDaemon, line: Intercom, assignment: Assignment) -> None:
        identity, store = assignment.identity, assignment.store
        daemon.readiness.declare("listener", "waiting for work")
        self._daemon = daemon
        self._line = line
        meters = Meters(daemon.metrics)
        self._supply = Supply(
            daemon.config,
            daemon.shared,
            reward_script(daemon.config, daemon.shared),
            readiness=daemon.readiness,
            meters=meters,
        )
        self.ledger = RemoteLedger(line)
        self._blocks = RemoteBlocks(line, self._supply.link, clock=time.time)
        self._prefixes = RemotePrefixes(line)
        self._claims = RemoteClaims(line)
        self._records = open_records(daemon.config, daemon.state, store, self._supply.workshop, meters)
        books = Books(self.ledger, self._blocks, self._prefixes, self._claims, self._records)
        self._front = FrontEnd(daemon, daemon.metrics, meters, self._supply, books, identity=identity)
        self._front.difficulties.listener = self._departed
        hall = Hall(assignment.number, self._front.figures, daemon.show_peer)
        self._clerk = Clerk(line.say, partial(page, hall))
        self._address: asyncio.Future[Address] = asyncio.get_running_loop().create_future()
        self._prefixes.ask()

    def activities(self) -> tuple[Coroutine[None, None, None], ...]:
        """What runs beside the listener, each until cancelled."""
        return (*self._front.activities(), self._blocks.run(), self._tell(), self._records.run())

    async def run_listener(self) -> None:
        """Serve where the keeper serves, once there is work, until cancelled."""
        await self._supply.has_work.wait()
        address = await self._address
        secret = authority_secret(self._daemon.state)
        server = self._front.server(address, secret, has_siblings=True)
        self._daemon.readiness.met("listener")
        _log.info("serving miners", extra={"address": str(server.address)})
        await server.run()

    def hear(self, word: Word, payload: bytes) -> None:
        """Take what the keeper says; raises Garbled for what no keeper says."""
        notices = self._front.notices
        # Shares are settled in a later turn of the event loop; what is said of their rows must come behind.
        soon = asyncio.get_running_loop().call_soon
        match word:
            case Word.RECORDED:
                self.ledger.recorded(intercom.unpack_outcome(payload))
            case Word.NOT_STORED:
                reason, is_fault = json.loads(payload)
                self.ledger.not_stored(reason, is_fault=is_fault)
            case Word.PREFIXES:
                self._prefixes.lent(intercom.unpack_prefixes(payload))
            case Word.CLAIMED:
                self._claims.answered(*intercom.unpack_claimed(payload))
            case Word.RELEASE:
                self._release(*intercom.unpack_claim(payload))
            case Word.MINERS_WANTED:
                self._clerk.ask(payload)
            case Word.CONFIGURATION:
                self._reload(*intercom.unpack_configuration(payload))
            case Word.SETTLED:
                self._supply.link.settled(payload)
            case Word.CONFIRMED:
                soon(notices.confirmed, intercom.unpack_confirmed(payload))
            case Word.REFUSED:
                soon(notices.refused, *intercom.unpack_refused(payload))
            case Word.DEPARTED:
                self._front.difficulties.learn(*json.loads(payload))
            case Word.LISTEN:
                host, port = json.loads(payload)
                self._address.set_result(Address(host, port))
            case _:
                raise Garbled(f"{word.name} is not for a branch")

    def report(self) -> None:
        """Tell the keeper how this process is."""
        self._front.figures.settle()
        state = {
            "has_work": self._supply.has_work.is_set(),
            "reasons": self._daemon.readiness.reasons,
            "metrics": snapshot(self._daemon.metrics),
            "work": self._front.figures.totals.rate.sums,
        }
        self._line.say(Word.STATE, intercom.pack_json(state))

    async def _tell(self) -> None:
        """Say each second how this process is, and at once when it has work and when it is ready."""
        awaited = [self._supply.has_work.wait, self._daemon.readiness.wait]
        while awaited:
            self._say_how()
            try:
                async with asyncio.timeout(TICK_S):
                    await awaited[0]()
            except TimeoutError:
                continue
            del awaited[0]
        while True:
            self._say_how()
            await asyncio.sleep(TICK_S)

    def _say_how(self) -> None:
        self._prefixes.give_back()
        self.report()

    def _release(self, number: int, token: bytes, key: bytes | None) -> None:
        """Another process, or this one, goes on with a channel that was recorded here."""
        parsed = ResumeToken.parse(token)
        found = Found(Result.UNKNOWN) if parsed is None else self._records.release(parsed, key)
        if found.raw is not None:
            self._prefixes.withhold(prefix_of(found.raw))
        self._line.say(Word.RELEASED, intercom.pack_claimed(number, found.result, found.raw))

    def _reload(self, config: PoolSettings, shared: PoolSide) -> None:
        try:
            self._daemon.take(config, shared)
        except OperatorError as error:
            # What the keeper could read a moment ago.
            _log.error("the configuration could not be taken over", extra={"reason": str(error)})

    def _departed(self, host: str, user: str, hashes: int) -> None:
        self._line.hint(Word.DEPARTED, intercom.pack_json([host, user, hashes]))


if __name__ == "__main__":
    sys.exit(main())
