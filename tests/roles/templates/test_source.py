import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.networks import Network
from roles.node_client.answers import NodeTemplate, TemplateTransaction
from roles.node_client.errors import NodeCredentialsMissing, NodeError, NodeUnreachable
from roles.runtime.readiness import Readiness
from roles.templates import source as source_module
from roles.templates.errors import WrongChain
from roles.templates.meters import NodeMeters
from roles.templates.selection import Constraints
from roles.templates.source import MAX_DRAFTS, Pace, Source

Make = Callable[..., TemplateTransaction]
MakeTemplate = Callable[..., NodeTemplate]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

NEVER = 3600.0
DOWN = NodeUnreachable("no connection to the node", hint="is it running?")


class Bench:
    """A source over a fake node, with what it tells the world."""

    def __init__(self, node: Any, network: Network, fee_check_s: float) -> None:
        self.node = node
        self.readiness = Readiness()
        self.registry = CollectorRegistry()
        self.meters = NodeMeters(self.registry, "template_provider")
        pace = Pace(fee_check_s, first_pause_s=0.001, longest_pause_s=0.002)
        self.source = Source(node, network, pace, readiness=self.readiness, meters=self.meters)

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_template_provider_{name}", labels) or 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Source]:
        task = asyncio.create_task(self.source.run())
        try:
            yield self.source
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
def bench(node: Any) -> Callable[..., Bench]:
    def make(network: Network = Network.REGTEST, fee_check_s: float = NEVER) -> Bench:
        return Bench(node, network, fee_check_s)

    return make


async def test_it_is_ready_with_the_first_template(bench: Callable[..., Bench], node: Any) -> None:
    made = bench()
    assert made.readiness.reasons == {"node": "the node has not answered yet"}
    async with made.running() as source:
        await made.readiness.wait()
        assert source.current == node.template_now
        assert made.count("node_up") == 1
        assert made.count("template_height") == 120
    assert node.rules == ("segwit",)


async def test_a_new_tip_wakes_those_who_watch(
    bench: Callable[..., Bench], node: Any, template: MakeTemplate
) -> None:
    made = bench()
    async with made.running() as source, source.watch() as changed:
        assert changed.is_set()
        await made.readiness.wait()
        changed.clear()
        node.offer(template("next", height=121))
        async with asyncio.timeout(30):
            await changed.wait()
        assert source.current == template("next", height=121)
        assert made.count("tips_total") == 2


async def test_the_long_poll_is_asked_with_the_newest_id(
    bench: Callable[..., Bench], node: Any, template: MakeTemplate, eventually: Eventually
) -> None:
    made = bench()
    async with made.running():
        await eventually(lambda: node.asked == ["genesis-0"])
        node.offer(template("next"))
        await eventually(lambda: node.asked == ["genesis-0", "next-0"])


async def test_a_long_poll_that_runs_out_is_asked_again(
    bench: Callable[..., Bench], node: Any, eventually: Eventually, long_poll_ran_out: NodeError
) -> None:
    made = bench()
    async with made.running():
        await made.readiness.wait()
        node.polls.put_nowait(long_poll_ran_out)
        await eventually(lambda: len(node.asked) == 2)
        assert made.readiness.ready


async def test_a_long_poll_that_does_not_wait_is_not_asked_in_a_circle(
    bench: Callable[..., Bench],
    node: Any,
    template: MakeTemplate,
    transaction: Make,
    eventually: Eventually,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_module, "_LEAST_LONG_POLL_S", NEVER)
    made = bench()
    async with made.running() as source:
        for number in range(3):
            node.polls.put_nowait(template(transactions=[transaction(str(number))]))
        await eventually(lambda: source.current is not None and len(source.current.transactions) == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(node.asked) == 1


async def test_fees_are_looked_at_now_and_then(
    bench: Callable[..., Bench], node: Any, template: MakeTemplate, transaction: Make, eventually: Eventually
) -> None:
    made = bench(fee_check_s=0.002)
    async with made.running() as source:
        await made.readiness.wait()
        node.offer(template(transactions=[transaction("a", fee=7)]), wake=False)
        await eventually(lambda: source.current is not None and source.current.fees == 7)
        assert made.count("template_fees_sat") == 7


async def test_a_poke_looks_at_once(
    bench: Callable[..., Bench], node: Any, template: MakeTemplate, eventually: Eventually
) -> None:
    made = bench()
    async with made.running() as source:
        await made.readiness.wait()
        node.offer(template("next"), wake=False)
        source.poke()
        await eventually(lambda: source.current == template("next"))


async def test_an_answer_that_is_older_than_the_tip_is_asked_for_again(
    bench: Callable[..., Bench], node: Any, template: MakeTemplate, eventually: Eventually
) -> None:
    made = bench()
    async with made.running() as source:
        await eventually(lambda: len(node.asked) == 1)
        node.offer(template("third", height=122), wake=False)
        source.poke()
        await eventually(lambda: source.current == template("third", height=122))
        fetches = node.calls.count("template")
        # The long poll began on the first tip and tells of the second, which has passed.
        node.polls.put_nowait(template("second", height=121))
        await eventually(lambda: node.calls.count("template") == fetches + 1)
        await eventually(lambda: len(node.asked) == 2)
        assert source.current == template("third", height=122)
        assert node.asked[-1] == "third-0"


async def test_a_node_that_is_down_at_first_is_waited_for(
    bench: Callable[..., Bench], node: Any, eventually: Eventually
) -> None:
    made = bench()
    node.error = NodeCredentialsMissing("there is no cookie", hint="is it running?")
    async with made.running():
        await eventually(lambda: made.count("node_errors_total", reason="credentials-missing") >= 3)
        assert made.readiness.reasons == {"node": "there is no cookie (is it running?)"}
        node.error = None
        await made.readiness.wait()


async def test_a_node_that_goes_leaves_its_template_and_comes_back(
    bench: Callable[..., Bench],
    node: Any,
    template: MakeTemplate,
    eventually: Eventually,
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = bench()
    async with made.running() as source:
        await eventually(lambda: len(node.asked) == 1)
        before = source.current
        node.fail(DOWN)
        await eventually(lambda: made.count("node_errors_total", reason="unreachable") >= 3)
        assert not made.readiness.ready
        assert made.count("node_up") == 0
        assert source.current is before
        node.offer(template("next"), wake=False)
        node.error = None
        await made.readiness.wait()
        assert source.current == template("next")
    assert [each.getMessage() for each in caplog.records].count(
        "no templates from the node: no connection to the node"
    ) == 1


async def test_a_node_that_is_catching_up_is_waited_for_except_on_test_chains(
    bench: Callable[..., Bench], node: Any, eventually: Eventually
) -> None:
    node.is_catching_up = True
    node.chain = "main"
    made = bench(Network.MAIN)
    async with made.running():
        await eventually(lambda: made.count("node_errors_total", reason="warming-up") >= 1)
        assert made.readiness.reasons == {"node": "the node is catching up, block 119 of 200"}
        node.is_catching_up = False
        await made.readiness.wait()
    node.is_catching_up = True
    node.chain = "signet"
    made = bench(Network.SIGNET)
    async with made.running():
        await made.readiness.wait()
    assert node.rules == ("segwit", "signet")


async def test_a_node_on_another_chain_ends_the_daemon_with_a_hint(
    bench: Callable[..., Bench], node: Any
) -> None:
    node.chain = "test"
    with pytest.raises(WrongChain, match=r"chain test, the configuration says regtest .*rpc_url"):
        await bench().source.run()


async def test_templates_share_the_bytes_that_they_have_in_common(
    bench: Callable[..., Bench], node: Any, template: MakeTemplate, transaction: Make, eventually: Eventually
) -> None:
    made = bench()
    node.template_now = template(transactions=[transaction("a")])
    async with made.running() as source:
        await made.readiness.wait()
        assert source.current is not None
        first = source.current.transactions[0].data
        node.offer(template(transactions=[transaction("b"), transaction("a", depends=[0])]), wake=False)
        source.poke()
        await eventually(lambda: source.current is not None and len(source.current.transactions) == 2)
        assert source.current.transactions[1].data is first
        assert source.current.transactions[1].depends == (0,)


async def test_clients_with_the_same_constraints_share_a_draft(
    bench: Callable[..., Bench], node: Any, template: MakeTemplate
) -> None:
    made = bench()
    async with made.running() as source:
        await made.readiness.wait()
        assert source.current is not None
        draft = source.draft(source.current, Constraints(1, 1))
        assert source.draft(source.current, Constraints(1, 1)) is draft
        for size in range(2, MAX_DRAFTS + 2):
            source.draft(source.current, Constraints(size, 1))
        assert source.draft(source.current, Constraints(1, 1)) is not draft
        earlier = template("earlier")
        assert source.draft(earlier, Constraints(1, 1)).previous == earlier.previous


def test_ids_grow_and_never_come_again_after_a_restart(node: Any) -> None:
    def source(now: float) -> Source:
        meters = NodeMeters(CollectorRegistry(), "template_provider")
        return Source(node, Network.REGTEST, Pace(1), readiness=Readiness(), meters=meters, clock=lambda: now)

    first = source(1_800_000_000.0)
    given = [first.next_id() for _ in range(100)]
    assert given == sorted(set(given))
    assert given[-1] < source(1_800_000_001.0).next_id() < 1 << 53
