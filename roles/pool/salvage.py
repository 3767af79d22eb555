"""Blocks of ours that stand in the chain and not in the store: a block is sent before it is stored, and the
life of the pool that found it may have ended between the two.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple, Protocol

from protocols.bitcoin.encoding import ByteReader
from protocols.bitcoin.errors import EncodingError
from protocols.bitcoin.header import HEADER_SIZE, Header
from protocols.bitcoin.transaction import Transaction
from roles.node_client.errors import NodeError
from roles.pool.workshop import script_height
from roles.runtime.backoff import Backoff
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database

DEPTH = 32
"""How many blocks from the tip are looked at; what was lost lies where the life before left the chain."""
BEFORE_GENESIS = bytes(32)

_log = logging.getLogger(__name__)


class Salvaged(NamedTuple):
    """A block of ours: hash in internal order, header of 80 bytes."""

    block_hash: bytes
    header: bytes
    height: int
    time: int


class Node(Protocol):
    """What the search needs of a node; every call raises NodeError."""

    async def best_block_hash(self) -> bytes:
        """Hash of the tip, internal order."""
        ...

    async def block(self, block_hash: bytes) -> bytes:
        """A whole block, serialised."""
        ...


class Salvage:
    """Searches the end of the chain; a block is ours if it pays `script` and its tag names `pool`."""

    def __init__(
        self, database: Database, node: Node, adopt: Callable[[Salvaged], None], *, script: bytes, pool: str
    ) -> None:
        self._database = database
        self._node = node
        self._adopt = adopt
        self._script = script
        self._tag = f"Sv2/{pool}/".encode()
        self._backoff = Backoff(first_s=0.5, limit_s=30.0)
        self._wake = asyncio.Event()
        self.is_done = False
        """Whether there is nothing more to search."""
        self._seen: OrderedDict[bytes, bytes] = OrderedDict()

    def look(self) -> None:
        """Search again for what a process that has ended may have left."""
        self.is_done = False
        self._wake.set()

    async def run(self) -> None:
        """Search as soon as node and store answer, and whenever there is reason to, until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self.search()
            except (NodeError, StorageError, EncodingError) as error:
                _log.debug("the chain cannot be searched", extra={"reason": str(error)})
                await self._backoff.wait()
            else:
                self._backoff.reset()
                self.is_done = not self._wake.is_set()
                await self._wake.wait()

    async def search(self) -> None:
        """Look at the last blocks of the chain; raises NodeError and StorageError."""
        known = await self._database.read(_headers)
        block_hash = await self._node.best_block_hash()
        for _ in range(DEPTH):
            if block_hash == BEFORE_GENESIS:
                return
            header = known.get(block_hash) or self._seen.get(block_hash)
            if header is None:
                header = await self._look_at(block_hash)
                self._seen[block_hash] = header
                if len(self._seen) > 2 * DEPTH:
                    self._seen.popitem(last=False)
            block_hash = Header.parse(header).previous

    async def _look_at(self, block_hash: bytes) -> bytes:
        reader = ByteReader(await self._node.block(block_hash))
        header = reader.read(HEADER_SIZE)
        reader.compact_size()
        coinbase = Transaction.read(reader)
        script = coinbase.inputs[0].script
        if self._tag in script and any(output.script == self._script for output in coinbase.outputs):
            height = script_height(script)
            self._adopt(Salvaged(block_hash, header, height, Header.parse(header).time))
        return header


def _headers(connection: Connection) -> dict[bytes, bytes]:
    rows = connection.execute("SELECT hash, header FROM block ORDER BY number DESC LIMIT ?", (2 * DEPTH,))
    return {row["hash"]: row["header"] for row in rows}
