"""Blocks that were found: sent at once, kept, and followed on the chain until their fate is known."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from protocols.bitcoin.hashing import display
from protocols.mining.share import Verdict
from roles.node_client.answers import BlockInfo, ChainInfo
from roles.node_client.errors import NodeError, NodeMalformed, NodeRefused
from roles.pool import found_block
from roles.pool.found_block import FoundBlock
from roles.pool.meters import Meters
from roles.pool.salvage import Salvaged
from roles.pool.template_link import TransactionShelf
from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database, Row

FINAL_CONFIRMATIONS = 100
MAX_FOLLOWED = 1000
GRACE_S = 2.0
"""How long the template provider has before the block is handed to the node directly."""
TROUBLE_S = 60.0
"""How long a block rests that the node answers with an error of its own."""
LOOK_S = 5.0
SOON_S = 0.25
FRESH_S = 30.0
"""How long a block that the node does not know is asked after often."""
BURIED = 6
"""Blocks that stand above a block's height when it is lost: the node does not know it, and has gone on."""
PASSING = frozenset({None, "duplicate", "inconclusive", "prev-blk-not-found", "time-too-new"})
"""Verdicts of a node that may still take the block: it has it, or will know its parent or its time."""
GIVEN_UP = frozenset({"rejected", "lost"})

_log = logging.getLogger(__name__)


class Node(Protocol):
    """What following needs of a node; every call raises NodeError."""

    async def block_infos(self, block_hashes: Sequence[bytes]) -> list[BlockInfo | None]:
        """Where blocks stand, None for those that the node does not know."""
        ...

    async def submit_block(self, block: bytes) -> str | None:
        """The node's verdict: None when accepted, else a word of BIP22."""
        ...

    async def chain_info(self) -> ChainInfo:
        """How long the chain is."""
        ...


class Provider(found_block.Provider, Protocol):
    """What following needs of the link to the template provider."""

    def settled(self, block_hash: bytes) -> None:
        """Send it no more."""
        ...


@dataclass(slots=True)
class _Followed:
    """A block that is not final; `found`, of which it is made, stays while we may have to submit it."""

    block_hash: bytes
    header: bytes
    height: int
    found_ms: int
    status: str = "submitted"
    verdict: str | None = None
    confirmations: int = 0
    found: FoundBlock | None = None
    submit_at: float = 0.0
    fresh_until: float = 0.0
    stored: tuple[object, ...] | None = None

    @property
    def is_final(self) -> bool:
        return self.confirmations >= FINAL_CONFIRMATIONS or self.status in GIVEN_UP

    def assemble(self, shelf: TransactionShelf) -> bytes | None:
        """The whole block, where its template's transactions are there by now."""
        if self.found is None:
            return None
        self.found = self.found.assembled(shelf)
        return self.found.whole

    def let_go(self) -> None:
        """The node has it, or will never take it."""
        self.found = None


class BlockDesk:
    """Takes blocks from sessions by `found`; `run` stores and follows them."""

    def __init__(
        self,
        database: Database,
        provider: Provider,
        node: Node,
        meters: Meters,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._provider = provider
        self._node = node
        self._meters = meters
        self._clock = clock
        self._monotonic = monotonic
        self._followed: deque[_Followed] = deque(maxlen=MAX_FOLLOWED)
        self._wake = asyncio.Event()
        self._is_node_away = False
        self._is_store_away = False

    async def load(self) -> None:
        """Go on with the blocks of earlier runs that are not final."""
        for row in await self._database.read(_unsettled):
            self._add(_restored(row))
        await self._tell()

    def found(self, verdict: Verdict) -> None:
        """A share that is a block: sent now; everything else happens in `run`."""
        self.follow(found_block.send(verdict, self._provider, int(self._clock() * 1000)))

    def follow(self, found: FoundBlock) -> None:
        """A block whose solution is sent, also once more when it has become whole."""
        for known in self._followed:
            if known.block_hash == found.block_hash:
                # The ledger could not take it the first time, and its miner has handed it in again.
                if known.status == "submitted" and found.whole is not None:
                    known.found = found
                    self._wake.set()
                return
        self._meters.blocks.found.inc()
        fields = {"hash": display(found.block_hash), "height": found.height}
        _log.info("a block is found", extra=fields)
        block = _Followed(
            found.block_hash,
            found.header,
            found.height,
            found.found_ms,
            found=found,
            # A clock that is set back must not hold a block up.
            submit_at=self._monotonic() + (GRACE_S if found.is_sent else 0),
        )
        block.assemble(self._provider.shelf)
        self._add(block)
        self._wake.set()

    def adopt(self, block: Salvaged) -> None:
        """A block of an earlier life that did not come to store it."""
        if all(each.block_hash != block.block_hash for each in self._followed):
            fields = {"hash": display(block.block_hash), "height": block.height}
            _log.warning("a block of ours was not stored", extra=fields)
            self._add(_Followed(block.block_hash, block.header, block.height, 1000 * block.time))
            self._wake.set()

    def look(self) -> None:
        """The chain has moved: look again now."""
        self._wake.set()

    def _add(self, block: _Followed) -> None:
        block.fresh_until = self._monotonic() + FRESH_S
        self._followed.append(block)

    async def run(self) -> None:
        """Store and follow until cancelled."""
        while True:
            self._wake.clear()
            await self.look_once()
            try:
                async with asyncio.timeout(self.pause):
                    await self._wake.wait()
            except TimeoutError:
                continue
            # The node is told of a block a moment after us.
            await asyncio.sleep(SOON_S / 5)

    @property
    def pause(self) -> float:
        """Seconds until blocks are looked at again where nothing gives reason to do it before."""
        now = self._monotonic()
        is_fresh = any(block.status == "submitted" and now < block.fresh_until for block in self._followed)
        return SOON_S if is_fresh else LOOK_S

    async def look_once(self) -> None:
        """Look once at each block that is not final; what the node says is kept if the store can."""
        await self._keep()
        try:
            blocks = tuple(self._followed)
            infos = await self._node.block_infos([block.block_hash for block in blocks])
            for block, info in zip(blocks, infos, strict=True):
                await self._look_at(block, info)
            await self._give_up([block for block, info in zip(blocks, infos, strict=True) if info is None])
            self._is_node_away = False
        except NodeError as error:
            if not self._is_node_away:
                _log.warning("the node does not say what became of blocks", extra={"reason": str(error)})
            self._is_node_away = True
        await self._keep()

    async def _keep(self) -> None:
        """Store; a disk that fails must not keep blocks from the node."""
        try:
            await self._store()
            self._is_store_away = False
        except StorageError as error:
            if not self._is_store_away:
                _log.error("blocks cannot be stored", extra={"reason": str(error)})
            self._is_store_away = True

    async def _look_at(self, block: _Followed, info: BlockInfo | None) -> None:
        if info is None:
            await self._submit(block)
        else:
            before = block.status
            block.status = "in_chain" if info.in_active_chain else "orphaned"
            block.confirmations = max(0, info.confirmations)
            block.height = info.height
            block.let_go()
            self._provider.settled(block.block_hash)
            if block.status != before:
                level = logging.INFO if info.in_active_chain else logging.WARNING
                said = "a block is in the chain" if info.in_active_chain else "a block is orphaned"
                _log.log(level, said, extra={"hash": display(block.block_hash)})

    async def _give_up(self, unknown: Sequence[_Followed]) -> None:
        """Ask no more after blocks that the node does not know, once its chain has grown over them."""
        now = self._monotonic()
        stale = [block for block in unknown if not block.is_final and now >= block.fresh_until]
        if not stale:
            return
        height = (await self._node.chain_info()).blocks
        for block in stale:
            if height >= block.height + BURIED:
                block.status = "lost"
                block.let_go()
                self._provider.settled(block.block_hash)
                fields = {"hash": display(block.block_hash), "height": block.height, "chain": height}
                _log.error("a block is lost: the node does not know it and has gone on", extra=fields)

    async def _submit(self, block: _Followed) -> None:
        """Hand a block that the node does not know to the node itself, where we have its transactions."""
        whole = block.assemble(self._provider.shelf)
        if whole is None or self._monotonic() < block.submit_at:
            return
        try:
            block.verdict = await self._node.submit_block(whole)
        except (NodeRefused, NodeMalformed) as error:
            # This block's trouble alone: those behind it have their turn.
            block.submit_at = self._monotonic() + TROUBLE_S
            _log.error("the node cannot take a block", extra={"reason": str(error)})
            return
        block.submit_at = self._monotonic() + GRACE_S
        hint = {"hash": display(block.block_hash), "verdict": block.verdict or "accepted"}
        _log.warning("a block went to the node directly", extra=hint)
        if block.verdict not in PASSING:
            block.status = "rejected"
            block.let_go()
            self._provider.settled(block.block_hash)

    async def _store(self) -> None:
        changed = [(block, row) for block in self._followed if (row := _values(block)) != block.stored]
        if changed:
            await self._database.write(lambda connection: _save(connection, [row for _, row in changed]))
            crash.at("pool.block-stored")
            for block, row in changed:
                block.stored = row
            await self._tell()
        for block in [block for block in self._followed if block.is_final]:
            self._followed.remove(block)

    async def _tell(self) -> None:
        counts = await self._database.read(
            lambda c: c.execute("SELECT status, count(*) FROM block GROUP BY status").fetchall()
        )
        self._meters.blocks.by_status.clear()
        for status, count in counts:
            self._meters.blocks.by_status.labels(status).set(count)


def _values(block: _Followed) -> tuple[object, ...]:
    return (
        block.block_hash,
        block.header,
        block.height,
        block.found_ms,
        block.status,
        block.verdict,
        block.confirmations,
    )


def _save(connection: Connection, rows: list[tuple[object, ...]]) -> int:
    return connection.executemany(
        "INSERT INTO block (hash, header, height, found_ms, status, verdict, confirmations)"
        " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (hash) DO UPDATE SET height = excluded.height,"
        " status = excluded.status, verdict = excluded.verdict, confirmations = excluded.confirmations",
        rows,
    ).rowcount


def _unsettled(connection: Connection) -> list[Row]:
    return connection.execute(
        "SELECT * FROM block WHERE status NOT IN ('rejected', 'lost') AND confirmations < ?"
        " ORDER BY number DESC LIMIT ?",
        (FINAL_CONFIRMATIONS, MAX_FOLLOWED),
    ).fetchall()[::-1]


def _restored(row: Row) -> _Followed:
    block = _Followed(
        row["hash"],
        row["header"],
        row["height"],
        row["found_ms"],
        row["status"],
        row["verdict"],
        row["confirmations"],
    )
    block.stored = _values(block)
    return block
