import asyncio
import logging
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from roles.node_client.errors import NodeBusy, NodeRefused, NodeUnreachable
from roles.templates import submission
from roles.templates.block import Block
from roles.templates.meters import NodeMeters
from roles.templates.submission import MAX_PENDING, Submitter, is_taken

BLOCK = Block(bytes(range(32)), 120, 5_000_000_000, b"block")


class Bench:
    def __init__(self, node: Any, give_up_s: float = 60.0) -> None:
        self.registry = CollectorRegistry()
        self.accepted = 0
        self.submitter = Submitter(
            node, NodeMeters(self.registry, "template_provider"), self.judged, give_up_s=give_up_s
        )

    def judged(self, verdict: str | None) -> None:
        self.accepted += is_taken(verdict)

    def count(self, verdict: str) -> float:
        name = "hashpool_template_provider_solutions_total"
        return self.registry.get_sample_value(name, {"verdict": verdict}) or 0.0

    async def settle(self) -> None:
        await self.submitter.submit(BLOCK, "peer")
        async with asyncio.timeout(30):
            await self.submitter.drain()


@pytest.mark.parametrize(
    ("verdict", "name", "level", "accepted"),
    [
        (None, "accepted", logging.INFO, 1),
        ("duplicate", "duplicate", logging.WARNING, 1),
        ("inconclusive", "inconclusive", logging.WARNING, 1),
        ("duplicate-invalid", "duplicate-invalid", logging.ERROR, 0),
        ("bad-cb-amount", "bad-cb-amount", logging.ERROR, 0),
    ],
)
async def test_the_verdict_is_counted_and_logged(
    node: Any, caplog: pytest.LogCaptureFixture, verdict: str | None, name: str, level: int, accepted: int
) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench(node)
    node.verdicts = [verdict]
    await bench.settle()
    assert node.blocks == [b"block"]
    assert bench.count(name) == 1
    assert bench.accepted == accepted
    record = caplog.records[-1]
    assert record.levelno == level
    assert record.__dict__["hash"] == bytes(range(32))[::-1].hex()


async def test_a_block_waits_for_a_node_that_is_away(node: Any) -> None:
    bench = Bench(node)
    node.verdicts = [NodeUnreachable("down"), NodeBusy("busy"), None]
    await bench.settle()
    assert len(node.blocks) == 3
    assert bench.count("accepted") == 1


async def test_a_block_that_was_taken_before_the_answer_got_lost_counts_as_accepted(node: Any) -> None:
    bench = Bench(node)
    node.verdicts = [NodeUnreachable("the answer was lost"), "duplicate"]
    await bench.settle()
    assert bench.count("accepted") == 1
    assert bench.count("duplicate") == 0


async def test_a_node_that_cannot_read_a_block_is_not_asked_again(node: Any) -> None:
    bench = Bench(node)
    node.verdicts = [NodeRefused("submitblock", -22, "Block decode failed")]
    await bench.settle()
    assert len(node.blocks) == 1
    assert bench.count("refused") == 1


async def test_a_block_that_no_node_takes_is_given_up_in_the_end(node: Any) -> None:
    bench = Bench(node, give_up_s=0.0)
    node.verdicts = [NodeUnreachable("down")]
    await bench.settle()
    assert bench.count("unreachable") == 1
    assert bench.accepted == 0


async def test_no_more_blocks_are_under_way_than_the_bound(node: Any) -> None:
    bench = Bench(node)
    node.verdicts = [NodeUnreachable("down")] * 10_000
    for _ in range(MAX_PENDING):
        await bench.submitter.submit(BLOCK, "peer")
    waiting = asyncio.create_task(bench.submitter.submit(BLOCK, "peer"))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    await bench.submitter.close()
    await waiting
    await bench.submitter.close()
    assert len(node.blocks) >= MAX_PENDING


async def test_a_fault_of_ours_is_told_and_ends_only_this_block(
    node: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(node)

    def broken(_: bytes) -> str:
        raise RuntimeError("broken")

    monkeypatch.setattr(submission, "display", broken)
    await bench.settle()
    assert "a block could not be submitted" in caplog.text
