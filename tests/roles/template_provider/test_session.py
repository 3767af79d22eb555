"""Clients over real loopback connections, with Noise, against a fake node."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin import secp256k1
from protocols.bitcoin.coinbase import CoinbaseTemplate, add_witness, coinbase_parts
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header, parse_block
from protocols.bitcoin.merkle import root_from_path
from protocols.bitcoin.networks import Network
from protocols.bitcoin.target import from_bits, meets
from protocols.bitcoin.transaction import TxOut
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION, encode
from protocols.sv2.connection import SetupConnection, SetupConnectionError, SetupConnectionSuccess
from protocols.sv2.extensions import RequestExtensions, RequestExtensionsError
from protocols.sv2.frame import Frame, frame_from
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.template_distribution import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataError,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
    SubmitSolution,
)
from roles.node_client.answers import NodeTemplate, TemplateTransaction
from roles.runtime.errors import ConnectionLost
from roles.runtime.readiness import Readiness
from roles.runtime.sv2_connection import Sv2Connection, connect, serve
from roles.template_provider.meters import Meters
from roles.template_provider.session import LIMIT, Session, Terms
from roles.templates.source import Pace, Source
from roles.templates.submission import Submitter
from shared_config.address import Address

Make = Callable[..., TemplateTransaction]
MakeTemplate = Callable[..., NodeTemplate]
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
M = TypeVar("M", bound=Message)

SECRET = b"\x11" * 32
AUTHORITY = secp256k1.xonly(secp256k1.public_key(SECRET))
SETUP = SetupConnection(2, 2, 2, 0, "localhost", 8442, "test", "", "1", "")
CONSTRAINTS = CoinbaseOutputConstraints(100, 4)
PATIENCE = 30.0


class Client:
    """A scripted client."""

    def __init__(self, connection: Sv2Connection) -> None:
        self.connection = connection

    def say(self, *messages: Message) -> None:
        self.connection.send(*(encode(message) for message in messages))

    async def hear(self, kind: type[M]) -> M:
        async with asyncio.timeout(PATIENCE):
            message, _ = TEMPLATE_DISTRIBUTION.decode(await self.connection.receive())
        assert isinstance(message, kind), message
        return message

    async def hear_template(self) -> tuple[NewTemplate, SetNewPrevHash]:
        """A future template and at once the tip that makes it present."""
        template, tip = await self.hear(NewTemplate), await self.hear(SetNewPrevHash)
        assert template.future_template
        assert tip.template_id == template.template_id
        return template, tip

    async def hear_end(self) -> None:
        async with asyncio.timeout(PATIENCE):
            with suppress(ConnectionLost):
                while True:
                    await self.connection.receive()

    async def hears_nothing_before(self, question: int) -> None:
        """Whatever the server had to say would come before the answer to a question."""
        self.say(RequestTransactionData(question))
        assert (await self.hear(RequestTransactionDataError)).template_id == question


class Provider:
    """All parts but the daemon, over a fake node, with a clock that the test turns."""

    def __init__(self, node: Any) -> None:
        self.node = node
        self.now = 1_000.0
        self.registry = CollectorRegistry()
        self.readiness = Readiness()
        meters = Meters(self.registry)
        pace = Pace(3600, first_pause_s=0.001, longest_pause_s=0.002)
        self.source = Source(node, Network.REGTEST, pace, readiness=self.readiness, meters=meters.node)
        self.submitter = Submitter(node, meters.node, lambda _: self.source.poke())
        self.terms = Terms(fee_gain_sat=1_000, stale_template_s=10.0, setup_s=PATIENCE)

        async def handle(connection: Sv2Connection) -> None:
            session = Session(
                connection,
                source=self.source,
                submitter=self.submitter,
                meters=meters,
                terms=self.terms,
                clock=lambda: self.now,
            )
            await session.run()

        self.server = serve(Address("127.0.0.1", 0), SECRET, handle, limit=LIMIT, setting="listen_address")

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_template_provider_{name}", labels) or 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self.source.run()), asyncio.create_task(self.server.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.submitter.close()

    async def see(self, template: NodeTemplate) -> None:
        """The node has this template, and the provider has looked."""
        self.node.offer(template, wake=False)
        self.source.poke()
        async with asyncio.timeout(PATIENCE):
            while self.source.current != template:
                await asyncio.sleep(0.001)

    async def dial(self) -> Client:
        limit = FrameLimits(TEMPLATE_DISTRIBUTION)
        return Client(await connect(self.server.address, AUTHORITY, limit=limit))

    async def client(self, constraints: CoinbaseOutputConstraints | None = CONSTRAINTS) -> Client:
        """A client that is set up and has told its constraints."""
        client = await self.dial()
        client.say(SETUP)
        assert await client.hear(SetupConnectionSuccess) == SetupConnectionSuccess(2, 0)
        if constraints is not None:
            client.say(constraints)
        return client


@pytest.fixture
async def provider(node: Any) -> AsyncIterator[Provider]:
    made = Provider(node)
    async with made.running():
        yield made


def mine(
    template: NewTemplate, tip: SetNewPrevHash, *, version: int | None = None, solved: bool = True
) -> SubmitSolution:
    """A solution of an announced template as a pool makes it, or what only looks like one."""
    fields = CoinbaseTemplate(
        template.coinbase_tx_version,
        template.coinbase_prefix,
        template.coinbase_tx_input_sequence,
        template.coinbase_tx_value_remaining,
        template.coinbase_tx_outputs_count,
        template.coinbase_tx_outputs,
        template.coinbase_tx_locktime,
    )
    parts = coinbase_parts(fields, [TxOut(fields.value, b"\x51")], tag=b"test", extranonce_size=4)
    root = root_from_path(sha256d(b"\1\2\3\4".join(parts)), template.merkle_path)
    chosen = template.version if version is None else version
    header = Header(chosen, tip.prev_hash, root, tip.header_timestamp, tip.nbits, 0)
    while meets(header.hash(), tip.target) != solved:
        header = replace(header, nonce=header.nonce + 1)
    whole = b"\1\2\3\4".join(add_witness(*parts))
    return SubmitSolution(template.template_id, chosen, header.time, header.nonce, whole)


async def test_the_conversation_has_the_order_of_a_real_template_provider(
    provider: Provider, node: Any, recorded: list[bytes], template: MakeTemplate, transaction: Make
) -> None:
    theirs = [TEMPLATE_DISTRIBUTION.decode(frame_from(raw[:6], raw[6:]))[0] for raw in recorded]
    kinds = [type(message) for message in theirs]
    ours: list[Message] = []

    async def take(client: Client, kind: type[M]) -> M:
        message = await client.hear(kind)
        ours.append(message)
        return message

    await provider.see(template(transactions=[transaction(str(number)) for number in range(5)]))
    client = await provider.dial()
    client.say(SETUP)
    await take(client, SetupConnectionSuccess)
    client.say(CONSTRAINTS)
    first = await take(client, NewTemplate)
    await take(client, SetNewPrevHash)
    client.say(RequestTransactionData(first.template_id))
    await take(client, RequestTransactionDataSuccess)
    client.say(RequestTransactionData(1_000_000))
    await take(client, RequestTransactionDataError)
    node.offer(template("next", height=121))
    await take(client, NewTemplate)
    await take(client, SetNewPrevHash)
    node.offer(template("next", [transaction("fee", fee=1_410)], height=121))
    await take(client, NewTemplate)
    assert [type(message) for message in ours] == kinds
    assert ours[0] == theirs[0]
    for mine, other in zip(ours, theirs, strict=True):
        if isinstance(mine, NewTemplate) and isinstance(other, NewTemplate):
            assert mine.future_template == other.future_template
            assert len(mine.merkle_path) == len(other.merkle_path)
        if isinstance(mine, RequestTransactionDataError):
            assert isinstance(other, RequestTransactionDataError)
            assert mine.error_code == other.error_code
        if isinstance(mine, RequestTransactionDataSuccess):
            assert isinstance(other, RequestTransactionDataSuccess)
            assert mine.excess_data == other.excess_data


async def test_ids_grow_and_the_tip_names_the_template(
    provider: Provider, node: Any, template: MakeTemplate
) -> None:
    client = await provider.client()
    first, tip = await client.hear_template()
    assert tip.prev_hash == node.template_now.previous
    assert tip.target == from_bits(tip.nbits)
    node.offer(template("next"))
    second, _ = await client.hear_template()
    assert second.template_id > first.template_id


async def test_constraints_before_the_first_template_wait_for_it(node: Any, template: MakeTemplate) -> None:
    made = Provider(node)
    server = asyncio.create_task(made.server.run())
    client = await made.client()
    await client.hears_nothing_before(1)
    source = asyncio.create_task(made.source.run())
    await client.hear_template()
    for task in (source, server):
        task.cancel()
    await asyncio.wait([source, server])


async def test_a_client_without_constraints_is_sent_nothing(
    provider: Provider, node: Any, template: MakeTemplate
) -> None:
    client = await provider.client(constraints=None)
    await provider.readiness.wait()
    node.offer(template("next"))
    await client.hears_nothing_before(1)
    client.say(CONSTRAINTS)
    await client.hear_template()


async def test_only_a_gain_worth_sending_is_sent_before_the_tip_changes(
    provider: Provider, node: Any, template: MakeTemplate, transaction: Make
) -> None:
    client = await provider.client()
    await client.hear_template()
    for number, fee in enumerate((1, 999)):
        await provider.see(template(transactions=[transaction("a", fee=fee)]))
        await client.hears_nothing_before(number)
    node.offer(template(transactions=[transaction("a", fee=1_000)]), wake=False)
    provider.source.poke()
    better = await client.hear(NewTemplate)
    assert not better.future_template
    assert better.coinbase_tx_value_remaining == 5_000_001_000
    assert provider.count("templates_total", cause="fees") == 1


async def test_new_constraints_bring_a_new_template_and_the_same_ones_do_not(
    provider: Provider, node: Any, template: MakeTemplate, transaction: Make
) -> None:
    paying = [transaction(str(rank), fee=1_000, weight=1_000_000) for rank in range(3)]
    await provider.see(template(transactions=paying))
    client = await provider.client()
    whole, _ = await client.hear_template()
    client.say(CoinbaseOutputConstraints(500_000, 4))
    smaller, tip = await client.hear_template()
    assert smaller.coinbase_tx_value_remaining == whole.coinbase_tx_value_remaining - 2_000
    assert len(smaller.merkle_path) == 1
    assert provider.count("dropped_transactions_total") == 2
    client.say(CoinbaseOutputConstraints(500_000, 4))
    await client.hears_nothing_before(1)
    client.say(mine(smaller, tip))
    async with asyncio.timeout(PATIENCE):
        while not node.blocks:
            await asyncio.sleep(0.001)
    assert len(parse_block(node.blocks[0])[1]) == 2


async def test_several_clients_have_each_their_own_constraints(
    provider: Provider, node: Any, template: MakeTemplate, transaction: Make
) -> None:
    await provider.see(template(transactions=[transaction("a", fee=5, weight=1_000_000)]))
    modest, greedy = await provider.client(), await provider.client(CoinbaseOutputConstraints(900_000, 4))
    one, _ = await modest.hear_template()
    other, _ = await greedy.hear_template()
    assert one.coinbase_tx_value_remaining == other.coinbase_tx_value_remaining + 5
    assert one.template_id != other.template_id
    # What one client was sent is not another's to ask for.
    await greedy.hears_nothing_before(one.template_id)
    node.offer(template("next"))
    await modest.hear_template()
    await greedy.hear_template()


async def test_outputs_that_fit_no_block_end_the_connection(provider: Provider) -> None:
    client = await provider.client(CoinbaseOutputConstraints(4_000_001, 0))
    await client.hear_end()
    accepted = await provider.client(CoinbaseOutputConstraints(4_000_000, 65_535))
    await accepted.hear_template()


async def test_constraints_of_an_old_client_may_lack_the_sigops(provider: Provider) -> None:
    client = await provider.client(constraints=None)
    client.connection.send(Frame(0, channel=False, msg_type=0x70, payload=(100).to_bytes(4, "little")))
    await client.hear_template()


async def test_templates_of_the_tip_before_can_be_solved_and_asked_for_ten_seconds(
    provider: Provider, node: Any, template: MakeTemplate, transaction: Make, eventually: Eventually
) -> None:
    await provider.see(template(transactions=[transaction("a")]))
    client = await provider.client()
    old, tip = await client.hear_template()
    node.offer(template("next", height=121))
    await client.hear_template()
    provider.now += 9.9
    client.say(RequestTransactionData(old.template_id))
    answer = await client.hear(RequestTransactionDataSuccess)
    assert answer.transaction_list == (transaction("a").data,)
    client.say(mine(old, tip))
    await eventually(lambda: provider.count("solutions_total", verdict="accepted") == 1)
    provider.now += 0.2
    client.say(RequestTransactionData(old.template_id))
    refused = await client.hear(RequestTransactionDataError)
    assert refused == RequestTransactionDataError(old.template_id, "stale-template-id")
    client.say(mine(old, tip))
    await eventually(lambda: provider.count("solutions_total", verdict="stale-template-id") == 1)
    assert len(node.blocks) == 1
    client.say(RequestTransactionData(5))
    assert (await client.hear(RequestTransactionDataError)).error_code == "template-id-not-found"


async def test_a_solution_becomes_a_block_and_the_node_is_looked_at_at_once(
    provider: Provider, node: Any, template: MakeTemplate, eventually: Eventually
) -> None:
    client = await provider.client()
    announced, tip = await client.hear_template()
    rolled = announced.version ^ 0x1FFFFFE0
    node.offer(template("next", height=121), wake=False)
    client.say(mine(announced, tip, version=rolled))
    await eventually(lambda: len(node.blocks) == 1)
    header, (coinbase,) = parse_block(node.blocks[0])
    assert header.version == rolled
    assert coinbase.outputs[0].value == announced.coinbase_tx_value_remaining
    assert coinbase.witnesses == ((bytes(32),),)
    following, _ = await client.hear_template()
    assert following.coinbase_tx_locktime == 120


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"coinbase_tx": b"garbage"}, "bad-coinbase"),
        ({"template_id": 5}, None),
        ({"template_id": 5, "header_timestamp": 1, "coinbase_tx": b""}, "bad-coinbase"),
        ({"version": 1}, "bad-version"),
    ],
)
async def test_solutions_that_no_node_would_take_are_counted_and_end_nothing(
    provider: Provider, node: Any, eventually: Eventually, change: dict[str, Any], verdict: str | None
) -> None:
    client = await provider.client()
    announced, tip = await client.hear_template()
    client.say(replace(mine(announced, tip), **change))
    if verdict is None:
        # An id of before a restart: the solution solves what is announced now.
        await eventually(lambda: len(node.blocks) == 1)
    else:
        await eventually(lambda: provider.count("solutions_total", verdict=verdict) == 1)
        assert node.blocks == []
    client.say(mine(announced, tip))
    await eventually(lambda: provider.count("solutions_total", verdict="accepted") >= 1)


@pytest.mark.parametrize(("template_id", "verdict"), [(5, "template-id-not-found"), (None, "high-hash")])
async def test_a_solution_that_solves_nothing_is_counted_and_not_passed_on(
    provider: Provider, node: Any, eventually: Eventually, template_id: int | None, verdict: str
) -> None:
    client = await provider.client()
    announced, tip = await client.hear_template()
    solution = mine(announced, tip, solved=False)
    client.say(replace(solution, template_id=template_id or announced.template_id))
    await eventually(lambda: provider.count("solutions_total", verdict=verdict) == 1)
    assert node.blocks == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"protocol": 0}, SetupConnectionError(0, "unsupported-protocol")),
        ({"min_version": 3, "max_version": 4}, SetupConnectionError(0, "protocol-version-mismatch")),
        ({"flags": 0b101}, SetupConnectionError(0b101, "unsupported-feature-flags")),
    ],
)
async def test_a_setup_that_cannot_be_granted_is_answered_and_ended(
    provider: Provider, changes: dict[str, Any], error: SetupConnectionError
) -> None:
    client = await provider.dial()
    client.say(replace(SETUP, **changes))
    assert await client.hear(SetupConnectionError) == error
    await client.hear_end()


@pytest.mark.parametrize(
    "messages", [(CONSTRAINTS,), (SETUP, SETUP), (SETUP, CONSTRAINTS, RequestExtensions(1, (2,)))]
)
async def test_messages_out_of_place_end_the_connection(
    provider: Provider, messages: tuple[Message, ...]
) -> None:
    client = await provider.dial()
    client.say(*messages)
    await client.hear_end()
    await (await provider.client()).hear_template()


async def test_extensions_are_answered_with_none(provider: Provider) -> None:
    client = await provider.client(constraints=None)
    client.say(RequestExtensions(7, (2, 0x4548)))
    assert await client.hear(RequestExtensionsError) == RequestExtensionsError(7, (2, 0x4548), ())
    client.say(CONSTRAINTS)
    await client.hear_template()


async def test_messages_that_mean_nothing_here_are_passed_over(provider: Provider) -> None:
    client = await provider.client()
    await client.hear_template()
    client.say(SetupConnectionSuccess(2, 0))
    client.connection.send(Frame(0, channel=False, msg_type=0x7F, payload=b""))
    client.connection.send(Frame(0x4321, channel=False, msg_type=1, payload=b"x" * 100))
    await client.hears_nothing_before(1)
    assert provider.count("ignored_messages_total") == 3


async def test_malformed_and_oversized_frames_end_their_connection_only_and_the_log_says_why(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for frame in (
        Frame(0, channel=False, msg_type=0x76, payload=b"\0"),
        Frame(0, channel=False, msg_type=0x73, payload=bytes(100_000)),
        Frame(0, channel=False, msg_type=0x74, payload=bytes(100_000)),
    ):
        client = await provider.client()
        await client.hear_template()
        client.connection.send(frame)
        await client.hear_end()
    await (await provider.client()).hear_template()
    told = [record.__dict__["reason"] for record in caplog.records if record.msg == "a peer is gone"]
    assert len(told) == 3
    assert "SubmitSolution" in told[0]
    assert "100000 bytes" in told[1]
    assert "100000 bytes" in told[2]


async def test_a_client_that_says_nothing_is_let_go(provider: Provider) -> None:
    provider.terms = replace(provider.terms, setup_s=0.01)
    client = await provider.dial()
    await client.hear_end()


async def test_a_client_that_goes_is_forgotten(provider: Provider, eventually: Eventually) -> None:
    client = await provider.client()
    await client.hear_template()
    client.connection.close()
    await eventually(lambda: provider.server.connections == 0)
    await (await provider.client()).hear_template()


async def test_a_fault_in_announcing_ends_the_connection_and_is_told(
    provider: Provider, node: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await provider.client()
    await client.hear_template()

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(provider.source, "draft", broken)
    client.say(CoinbaseOutputConstraints(1, 1))
    await client.hear_end()
    monkeypatch.undo()
    await (await provider.client()).hear_template()
    assert "serving a peer failed" in caplog.text
