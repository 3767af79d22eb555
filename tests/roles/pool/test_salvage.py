import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header, serialize_block
from protocols.bitcoin.transaction import Transaction, TxIn, TxOut
from roles.node_client.errors import NodeError, NodeUnreachable
from roles.pool.salvage import DEPTH, Salvage, Salvaged
from roles.pool.schema import MIGRATIONS
from roles.runtime.storage import Database

OURS, THEIRS = b"\x51", b"\x52"
TAG = b"Sv2/test/"


class Chain:
    """A node with a chain of blocks, each with nothing but a coinbase."""

    def __init__(self) -> None:
        self.blocks: dict[bytes, bytes] = {}
        self.tip = bytes(32)
        self.asked: list[bytes] = []
        self.failures = 0

    def grow(self, *, script: bytes = OURS, tag: bytes = TAG) -> Salvaged:
        height = len(self.blocks) + 1
        start = bytes([0x50 + height]) if height <= 16 else b"\x01" + bytes([height])
        coinbase = Transaction(2, (TxIn(bytes(32), 0xFFFFFFFF, start + tag, 0),), (TxOut(50, script),), (), 0)
        header = Header(2, self.tip, coinbase.txid, 1_700_000_000 + height, 0x207FFFFF, 0).pack()
        self.tip = sha256d(header)
        self.blocks[self.tip] = serialize_block(header, coinbase.serialize(), [])
        return Salvaged(self.tip, header, height, 1_700_000_000 + height)

    async def best_block_hash(self) -> bytes:
        if self.failures:
            self.failures -= 1
            raise NodeUnreachable("the node is away", hint="")
        return self.tip

    async def block(self, block_hash: bytes) -> bytes:
        self.asked.append(block_hash)
        return self.blocks[block_hash]


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "ledger.sqlite", MIGRATIONS) as opened:
        yield opened


@pytest.fixture
def chain() -> Chain:
    return Chain()


async def search(database: Database, chain: Chain) -> list[Salvaged]:
    found: list[Salvaged] = []
    salvage = Salvage(database, chain, found.append, script=OURS, pool="test")
    await searched(salvage)
    # What was found is not found again.
    before = list(found)
    salvage.look()
    await searched(salvage)
    assert found == before
    return found


async def searched(salvage: Salvage) -> None:
    """Let it run until it has nothing more to do."""
    task = asyncio.create_task(salvage.run())
    while not salvage.is_done:
        await asyncio.sleep(0.001)
    task.cancel()


async def test_blocks_that_the_chain_holds_and_the_store_does_not_are_found_again(
    database: Database, chain: Chain
) -> None:
    first = chain.grow()
    chain.grow(script=THEIRS)
    chain.grow(tag=b"Sv2/tester/")
    last = chain.grow(tag=b"Sv2/test/a/")
    assert await search(database, chain) == [last, first]


async def test_stored_blocks_are_not_asked_for(database: Database, chain: Chain) -> None:
    lost, stored = chain.grow(), chain.grow()
    row = (stored.block_hash, stored.header)
    await database.write(
        lambda c: (
            c.execute(
                "INSERT INTO block (hash, header, height, found_ms, status) VALUES (?, ?, 2, 0, 'submitted')",
                row,
            ).rowcount
        )
    )
    assert await search(database, chain) == [lost]
    assert chain.asked == [lost.block_hash]


async def test_the_search_ends_where_a_crash_can_no_longer_have_been(
    database: Database, chain: Chain
) -> None:
    blocks = [chain.grow() for _ in range(DEPTH + 3)]
    assert await search(database, chain) == blocks[: -DEPTH - 1 : -1]


async def test_a_node_that_is_away_is_waited_for(
    database: Database, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_: object) -> None: ...

    monkeypatch.setattr("roles.runtime.backoff.Backoff.wait", at_once)
    chain.failures = 2
    block = chain.grow()
    assert issubclass(NodeUnreachable, NodeError)
    assert await search(database, chain) == [block]
