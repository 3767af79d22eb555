"""Blocks are sent and followed whatever becomes of the store."""

from collections.abc import Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header, parse_block
from protocols.bitcoin.target import MAX_TARGET
from protocols.bitcoin.transaction import TxOut
from protocols.mining.extranonce import FULL_SIZE
from protocols.mining.job import Job, Template, Tip, build_work
from protocols.mining.share import Verdict, extended_root
from protocols.sv2.template_distribution import SubmitSolution
from roles.node_client.answers import BlockInfo, ChainInfo
from roles.node_client.errors import NodeRefused
from roles.pool.blocks import BURIED, FRESH_S, LOOK_S, SOON_S, BlockDesk
from roles.pool.meters import Meters
from roles.pool.template_link import Origin, TransactionShelf
from roles.runtime.errors import CommitFailed, ReadFailed

ORIGIN = (1, 7)
HEIGHT = 101
"""Of the blocks that are found here, as their coinbase says."""


class FullDisk:
    """A store that fails until there is room."""

    def __init__(self) -> None:
        self.is_full = True
        self.rows: list[Any] = []

    async def write(self, fn: Any) -> Any:
        if self.is_full:
            raise CommitFailed("the disk is full")
        return fn(self)

    async def read(self, fn: Any) -> Any:
        if self.is_full:
            raise ReadFailed("the disk is full")
        return []

    def executemany(self, _: str, rows: Any) -> Any:
        self.rows += rows
        return self

    rowcount = 0


class Provider:
    """A link that is there, or away."""

    def __init__(self) -> None:
        self.shelf = TransactionShelf()
        self.is_away = False
        self.sent: list[SubmitSolution] = []
        self.done: list[bytes] = []

    def submit(self, _block_hash: bytes, _origin: Origin, solution: SubmitSolution) -> bool:
        if not self.is_away:
            self.sent.append(solution)
        return not self.is_away

    def settled(self, block_hash: bytes) -> None:
        self.done.append(block_hash)


class Node:
    """Takes blocks; knows those in `chain`."""

    def __init__(self) -> None:
        self.submitted: list[bytes] = []
        self.chain: set[bytes] = set()
        self.verdict: str | None = None
        self.poison = b""
        self.height = 1
        self.asked = 0

    async def chain_info(self) -> ChainInfo:
        return ChainInfo("regtest", self.height, self.height, bytes(32), False)

    async def block_infos(self, block_hashes: Sequence[bytes]) -> list[BlockInfo | None]:
        self.asked += len(block_hashes)
        return [_info(name) if name in self.chain else None for name in block_hashes]

    async def submit_block(self, block: bytes) -> str | None:
        self.submitted.append(block)
        if self.poison == sha256d(block[:80]):
            raise NodeRefused("submitblock", -22, "Block decode failed")
        if self.verdict is None:
            self.chain.add(sha256d(block[:80]))
        return self.verdict


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
def provider() -> Provider:
    provider = Provider()
    provider.shelf.put(ORIGIN, ())
    return provider


@pytest.fixture
def disk() -> FullDisk:
    return FullDisk()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(disk: FullDisk, provider: Provider, node: Node, clock: Clock) -> BlockDesk:
    database: Any = disk
    return BlockDesk(database, provider, node, Meters(CollectorRegistry()), clock=clock, monotonic=clock)


def block(nonce: int = 0) -> Verdict:
    """A share that is a block, if any hash is one."""
    coinbase = CoinbaseTemplate(2, b"\x01\x65", 0xFFFFFFFF, 50, 0, b"", 0)
    work = build_work(Template(ORIGIN, 2, coinbase, ()), [TxOut(50, b"\x51")], pool="test", revision=0)
    tip = Tip(bytes(32), 1_700_000_000, 0x207FFFFF, MAX_TARGET, 1_700_000_000)
    extranonce = bytes(FULL_SIZE)
    header = Header(2, tip.previous, extended_root(work, extranonce), tip.min_ntime, tip.bits, nonce).pack()
    job = Job(1, work, tip, MAX_TARGET)
    return Verdict(sha256d(header), header, job, extranonce, True, True, False)


async def test_a_block_reaches_the_node_and_is_followed_while_the_disk_is_full(
    desk: BlockDesk, disk: FullDisk, provider: Provider, node: Node
) -> None:
    provider.is_away = True
    found = block()
    desk.found(found)
    await desk.look_once()
    assert [parse_block(each)[0].hash() for each in node.submitted] == [found.share_hash]
    await desk.look_once()
    assert provider.done == [found.share_hash]
    disk.is_full = False
    await desk.look_once()
    assert [(row[0], row[4]) for row in disk.rows] == [(found.share_hash, "in_chain")]


@pytest.mark.parametrize("verdict", ["prev-blk-not-found", "time-too-new"])
async def test_a_block_that_may_still_become_good_is_handed_in_again(
    desk: BlockDesk, provider: Provider, node: Node, clock: Clock, verdict: str
) -> None:
    provider.is_away = True
    node.verdict = verdict
    desk.found(block())
    await desk.look_once()
    node.verdict = None
    clock.now += 10
    await desk.look_once()
    assert len(node.submitted) == 2
    await desk.look_once()
    assert provider.done


async def test_a_block_found_again_is_followed_once(desk: BlockDesk, node: Node, provider: Provider) -> None:
    provider.is_away = True
    desk.found(block())
    desk.found(block())
    await desk.look_once()
    assert len(node.submitted) == 1


async def test_a_block_that_the_node_cannot_read_does_not_stand_before_others(
    desk: BlockDesk, node: Node, provider: Provider
) -> None:
    provider.is_away = True
    bad, good = block(1), block(2)
    node.poison = bad.share_hash
    desk.found(bad)
    desk.found(good)
    await desk.look_once()
    assert node.chain == {good.share_hash}


async def test_transactions_that_come_after_the_block_still_serve_it(
    desk: BlockDesk, provider: Provider, node: Node
) -> None:
    provider.is_away = True
    provider.shelf = TransactionShelf()
    desk.found(block())
    await desk.look_once()
    assert node.submitted == []
    provider.shelf.put(ORIGIN, ())
    await desk.look_once()
    assert len(node.submitted) == 1


async def test_a_block_that_no_node_knows_is_asked_after_less_often_and_lost_when_the_chain_has_grown_over_it(
    desk: BlockDesk, disk: FullDisk, provider: Provider, node: Node, clock: Clock
) -> None:
    disk.is_full = False
    provider.shelf = TransactionShelf()
    found = block()
    desk.found(found)
    await desk.look_once()
    assert desk.pause == SOON_S
    clock.now += FRESH_S
    node.height = HEIGHT + BURIED - 1
    await desk.look_once()
    assert desk.pause == LOOK_S
    assert provider.done == []
    node.height += 1
    await desk.look_once()
    assert provider.done == [found.share_hash]
    assert [row[4] for row in disk.rows] == ["submitted", "lost"]
    asked = node.asked
    await desk.look_once()
    assert node.asked == asked


async def test_a_block_that_is_in_the_chain_is_not_lost_however_late_it_is_asked_after(
    desk: BlockDesk, disk: FullDisk, provider: Provider, node: Node, clock: Clock
) -> None:
    disk.is_full = False
    provider.shelf = TransactionShelf()
    found = block()
    desk.found(found)
    clock.now += FRESH_S
    node.height = 1_000
    node.chain.add(found.share_hash)
    await desk.look_once()
    assert [row[4] for row in disk.rows][-1] == "in_chain"


def _info(block_hash: bytes) -> BlockInfo:
    return BlockInfo(block_hash, 1, 101, 1_700_000_000, 1_700_000_000, 0x207FFFFF, None)
