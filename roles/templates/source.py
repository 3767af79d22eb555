"""The node's templates as they come: new tips by long poll (or ZMQ) at once, fees by looking now and then."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

from protocols.bitcoin.hashing import display
from protocols.bitcoin.networks import Network
from roles.node_client.answers import ChainInfo, NodeTemplate
from roles.node_client.errors import NodeError, NodeTimeout, NodeWarmingUp
from roles.runtime.backoff import Backoff
from roles.runtime.readiness import Readiness
from roles.runtime.task_group import TaskGroup
from roles.templates.draft import Draft
from roles.templates.errors import WrongChain
from roles.templates.meters import NodeMeters
from roles.templates.selection import Constraints

CONDITION = "node"
MAX_DRAFTS = 16
_FETCHES = 8
_LEAST_LONG_POLL_S = 1.0

_log = logging.getLogger(__name__)


class Node(Protocol):
    """What is asked of a node; every call raises NodeError."""

    async def chain_info(self) -> ChainInfo:
        """Its chain and whether it has caught up."""
        ...

    async def template(self, rules: Sequence[str] = ...) -> NodeTemplate:
        """The template of this moment."""
        ...

    async def next_template(self, long_poll_id: str, rules: Sequence[str] = ...) -> NodeTemplate:
        """The template once it differs from the one with this id."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between looks at the fees, and of the first and the longest pause while the node is away."""

    fee_check_s: float
    first_pause_s: float = 0.2
    longest_pause_s: float = 5.0


class Source:
    """Holds the newest template and wakes whoever waits for it; `run` keeps it fresh.

    A node that is down, starting or catching up leaves the last template in place and readiness unmet.
    """

    def __init__(
        self,
        node: Node,
        network: Network,
        pace: Pace,
        *,
        readiness: Readiness,
        meters: NodeMeters,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._node = node
        self._network = network
        self._rules = ("segwit", "signet") if network is Network.SIGNET else ("segwit",)
        self._pace = pace
        self._readiness = readiness
        self._meters = meters
        self._backoff = Backoff(pace.first_pause_s, pace.longest_pause_s)
        self._watchers: set[asyncio.Event] = set()
        self._poked = asyncio.Event()
        self._fetching = asyncio.Lock()
        self._drafts: dict[Constraints, Draft] = {}
        # Counting on from the time, a restarted provider gives no id twice; below 2^53 for 200 years.
        self._ids = count(int(clock() * 1000) * 1024)
        self._told = ""
        self.current: NodeTemplate | None = None
        self.down_since: float | None = time.monotonic()
        """Since when the node gives no templates, in monotonic seconds; None while it does."""
        readiness.declare(CONDITION, "the node has not answered yet")

    async def run(self) -> None:
        """Follow the node until cancelled; raises WrongChain when it is on another chain than configured."""
        while True:
            try:
                await self._begin()
                await self._follow()
            except* NodeError as group:
                self._lost(_first(group))
            await self._backoff.wait()

    def poke(self) -> None:
        """Look at the node at once: it has a new block."""
        self._poked.set()

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever `current` changes, and at first."""
        event = asyncio.Event()
        event.set()
        self._watchers.add(event)
        try:
            yield event
        finally:
            self._watchers.discard(event)

    def draft(self, template: NodeTemplate, constraints: Constraints) -> Draft:
        """The block that a client with these constraints may fill; shared by clients that need the same."""
        if template is not self.current:
            return Draft.make(template, constraints)
        found = self._drafts.get(constraints)
        if found is None:
            if len(self._drafts) >= MAX_DRAFTS:
                del self._drafts[next(iter(self._drafts))]
            found = self._drafts[constraints] = Draft.make(template, constraints)
        return found

    def next_id(self) -> int:
        """A template id above all before it."""
        return next(self._ids)

    async def _begin(self) -> None:
        info = await self._node.chain_info()
        if info.chain != self._network:
            raise WrongChain(
                f"the node is on the chain {info.chain}, the configuration says {self._network}",
                hint="see network and bitcoin.rpc_url",
            )
        if info.initial_download and self._network not in {Network.REGTEST, Network.SIGNET}:
            raise NodeWarmingUp(f"the node is catching up, block {info.blocks} of {info.headers}")
        await self._refresh()
        self._backoff.reset()
        self._told = ""
        self.down_since = None
        self._meters.node_up.set(1)
        self._readiness.met(CONDITION)

    async def _follow(self) -> None:
        async with TaskGroup() as group:
            group.create_task(self._long_poll())
            group.create_task(self._look())

    def _lost(self, error: NodeError) -> None:
        if self.down_since is None:
            self.down_since = time.monotonic()
        self._meters.node_up.set(0)
        self._meters.node_errors.labels(error.reason).inc()
        self._readiness.unmet(CONDITION, str(error))
        if self._told != str(error):
            self._told = str(error)
            _log.warning("no templates from the node: %s", error.text, extra={"hint": error.hint})

    async def _long_poll(self) -> None:
        loop = asyncio.get_running_loop()
        while (seen := self.current) is not None:
            began = loop.time()
            try:
                template = await self._node.next_template(seen.long_poll_id, self._rules)
            except NodeTimeout:
                continue
            if not self._absorb(template, seen):
                await self._refresh()
            elif template.previous == seen.previous and loop.time() - began < _LEAST_LONG_POLL_S:
                # A node that does not hold the call is not to be asked in a circle.
                await asyncio.sleep(_LEAST_LONG_POLL_S)

    async def _look(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.fee_check_s):
                    await self._poked.wait()
            self._poked.clear()
            await self._refresh()

    async def _refresh(self) -> None:
        async with self._fetching:
            for _ in range(_FETCHES):
                seen = self.current
                with self._meters.fetch.time():
                    template = await self._node.template(self._rules)
                if self._absorb(template, seen):
                    return

    def _absorb(self, template: NodeTemplate, seen: NodeTemplate | None) -> bool:
        """Take a template asked for when `seen` was current; False where it may be older than ours."""
        current = self.current
        if current is not None and template.previous != current.previous:
            has_moved = seen is None or seen.previous != current.previous
            if has_moved:
                return False
        known = {each.wtxid: each.data for each in current.transactions} if current else {}
        # Templates share the bytes that they have in common: many are kept at a time.
        shared = tuple(
            replace(each, data=known[each.wtxid]) if each.wtxid in known else each
            for each in template.transactions
        )
        self.current = replace(template, transactions=shared)
        self._drafts.clear()
        self._meters.height.set(template.height)
        self._meters.fees.set(template.fees)
        self._meters.transactions.set(len(shared))
        if current is None or current.previous != template.previous:
            self._meters.tips.inc()
            _log.info(
                "new tip", extra={"previous": display(template.previous), "template_height": template.height}
            )
        for event in self._watchers:
            event.set()
        return True


def _first(group: BaseExceptionGroup[NodeError]) -> NodeError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
