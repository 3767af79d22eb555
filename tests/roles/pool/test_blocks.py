"""A block is sent at once, kept, and followed until the chain has decided."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.address import script_from_address
from protocols.bitcoin.hashing import display, sha256d
from protocols.bitcoin.header import Header, parse_block
from protocols.bitcoin.merkle import WITNESS_RESERVED, root_from_path
from protocols.bitcoin.networks import Network
from protocols.bitcoin.transaction import Transaction
from protocols.ehash.key_text import encode_key
from protocols.sv2.connection import SetupConnection
from protocols.sv2.frame import Frame, frame_from
from protocols.sv2.mining import SetNewPrevHash, SubmitSharesSuccess
from protocols.sv2.template_distribution import (
    CoinbaseOutputConstraints,
    RequestTransactionData,
    RequestTransactionDataSuccess,
    SubmitSolution,
)
from roles.runtime.storage import open_readonly
from roles.runtime.sv2_connection import Sv2Connection
from tests.roles.pool.house import Channel, House
from tests.roles.pool.neighbours import KEY, REWARD, soon

VECTOR = json.loads((Path(__file__).parents[2] / "vectors/sv2/tdp_conversation_sv2tp.json").read_text())
SCRIPT = script_from_address(REWARD, Network.REGTEST)


@pytest.fixture
async def mining(house: House) -> tuple[House, Channel]:
    """A house where every share is a block, and a channel with a key."""
    house.block_hashes = 64
    await house.start()
    return house, await (await house.miner()).open(user=encode_key(KEY))


def statuses(house: House) -> dict[str, str]:
    with open_readonly(house.state / "ledger.sqlite") as store:
        return {display(row[0]): row[1] for row in store.execute("SELECT hash, status FROM audit_block")}


async def test_a_block_goes_to_the_template_provider_with_its_coinbase_and_witness(
    mining: tuple[House, Channel],
) -> None:
    house, channel = mining
    share = channel.mine()
    channel.submit(share)
    solution = await house.provider.hear(SubmitSolution)
    assert solution.template_id == 1
    assert (solution.version, solution.header_timestamp, solution.header_nonce) == (
        share.version,
        share.ntime,
        share.nonce,
    )
    coinbase = Transaction.parse(solution.coinbase_tx)
    assert coinbase.witnesses == ((WITNESS_RESERVED,),)
    assert [output.script for output in coinbase.outputs] == [SCRIPT]
    assert coinbase.outputs[0].value == 5_000_000_000
    job = channel.jobs[share.job_id]
    assert channel.tip
    root = root_from_path(coinbase.txid, job.merkle_path)
    header = Header(share.version, channel.tip.prev_hash, root, share.ntime, channel.tip.nbits, share.nonce)
    assert header.hash() == channel.hash_of(share)


async def test_a_block_is_also_a_share_and_flagged_in_the_ledger(mining: tuple[House, Channel]) -> None:
    house, channel = mining
    channel.submit(channel.mine())
    assert await channel.miner.hear(SubmitSharesSuccess)
    await soon(lambda: 1 in house.mint.book.rows)
    assert house.mint.book.rows[1].block
    assert house.metric("hashpool_pool_blocks_found_total") == 1


async def test_a_repeated_block_is_sent_once(mining: tuple[House, Channel]) -> None:
    house, channel = mining
    share = channel.mine()
    channel.submit(share, share)
    await channel.miner.hear(SubmitSharesSuccess)
    await house.provider.hear(SubmitSolution)
    house.provider.fees()
    await house.provider.hear(RequestTransactionData)
    assert house.metric("hashpool_pool_blocks_found_total") == 1


async def test_the_fate_of_a_block_is_followed_on_the_chain(mining: tuple[House, Channel]) -> None:
    house, channel = mining
    share = channel.mine()
    name = display(channel.hash_of(share))
    channel.submit(share)
    await soon(lambda: statuses(house) == {name: "submitted"})
    house.node.chain[name] = 1
    await soon(lambda: statuses(house) == {name: "in_chain"})
    house.node.chain[name] = -1
    house.provider.new_tip(bytes((9,)) * 32)
    await soon(lambda: statuses(house) == {name: "orphaned"})
    house.node.chain[name] = 3
    house.provider.new_tip(bytes((8,)) * 32)
    await soon(lambda: house.metric("hashpool_pool_blocks", status="in_chain") == 1)


async def test_a_block_of_an_earlier_run_is_followed_on(mining: tuple[House, Channel]) -> None:
    house, channel = mining
    share = channel.mine()
    name = display(channel.hash_of(share))
    channel.submit(share)
    await soon(lambda: statuses(house))
    await house.stop_pool()
    house.node.chain[name] = 120
    await house.start_pool()
    await soon(lambda: statuses(house) == {name: "in_chain"})


async def test_a_block_found_while_the_provider_is_away_goes_to_the_node_and_again_to_the_provider(
    mining: tuple[House, Channel],
) -> None:
    house, channel = mining
    request = await house.provider.hear(RequestTransactionData)
    house.provider.say(RequestTransactionDataSuccess(request.template_id, b"", ()))
    # An answered template shows that the transactions have arrived.
    house.provider.fees(value=5_000_000_001)
    await house.provider.hear(RequestTransactionData)
    share = channel.mine(job=channel.jobs[1])
    house.node.verdict = "inconclusive"
    house.provider.greeting = False
    house.provider.drop()
    await soon(lambda: "templates" in house.reasons)
    channel.submit(share)
    assert await channel.miner.hear(SubmitSharesSuccess)
    await soon(lambda: house.node.submitted)
    header, transactions = parse_block(house.node.submitted[0])
    assert header.hash() == channel.hash_of(share)
    assert transactions[0].witnesses == ((WITNESS_RESERVED,),)
    await soon(lambda: house.provider.links == 2)
    house.provider.new_tip(house.provider.tip)
    assert (await house.provider.hear(SubmitSolution)).template_id == 1
    await soon(lambda: not house.reasons)


async def test_a_block_that_the_provider_loses_is_handed_to_the_node(
    mining: tuple[House, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.pool.blocks.GRACE_S", 0.1)
    house, channel = mining
    request = await house.provider.hear(RequestTransactionData)
    house.provider.say(RequestTransactionDataSuccess(request.template_id, b"", ()))
    house.provider.fees(value=5_000_000_001)
    await house.provider.hear(RequestTransactionData)
    share = channel.mine(job=channel.jobs[1])
    channel.submit(share)
    await soon(lambda: statuses(house) == {display(channel.hash_of(share)): "in_chain"})
    assert len(house.node.submitted) == 1


async def test_a_block_that_the_node_rejects_is_marked_so_and_let_go(
    mining: tuple[House, Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.pool.blocks.GRACE_S", 0.0)
    house, channel = mining
    house.node.verdict = "bad-cb-amount"
    request = await house.provider.hear(RequestTransactionData)
    house.provider.say(RequestTransactionDataSuccess(request.template_id, b"", ()))
    house.provider.fees(value=5_000_000_001)
    await house.provider.hear(RequestTransactionData)
    share = channel.mine(job=channel.jobs[1])
    channel.submit(share)
    await soon(lambda: statuses(house) == {display(channel.hash_of(share)): "rejected"})


async def test_a_node_that_is_away_delays_the_verdict_and_nothing_else(mining: tuple[House, Channel]) -> None:
    house, channel = mining
    await house.node.stop()
    share = channel.mine()
    channel.submit(share)
    assert await channel.miner.hear(SubmitSharesSuccess)
    assert await house.provider.hear(SubmitSolution)
    name = display(channel.hash_of(share))
    await soon(lambda: statuses(house) == {name: "submitted"})
    house.node.chain[name] = 1
    await house.node.start()
    await soon(lambda: statuses(house) == {name: "in_chain"})


class Recorded:
    """Speaks the recorded frames of another implementation, each at its cue."""

    def __init__(self, house: House) -> None:
        self.heard: list[Any] = []
        self.connection: Sv2Connection | None = None
        self._house = house
        self._frames: list[tuple[str, Frame]] = []
        for entry in VECTOR["frames"]:
            plain = bytes.fromhex(entry["plain"])
            self._frames.append((entry["after"], frame_from(plain[:6], plain[6:])))

    async def serve(self, connection: Sv2Connection) -> None:
        from protocols.sv2.codec import TEMPLATE_DISTRIBUTION

        self.connection = connection
        while True:
            message, _ = TEMPLATE_DISTRIBUTION.decode(await connection.receive())
            self.heard.append(message)
            match message:
                case SetupConnection():
                    self.cue("SetupConnection")
                case CoinbaseOutputConstraints():
                    self.cue("CoinbaseOutputConstraints")
                case RequestTransactionData(template_id=2):
                    self.cue("RequestTransactionData of the first template")
                case RequestTransactionData():
                    self.cue("RequestTransactionData of an unknown template")
                case SubmitSolution():
                    self._house.provider.heard.put_nowait(message)

    def cue(self, what: str) -> None:
        assert self.connection
        frames = [frame for after, frame in self._frames if after == what]
        assert frames
        self.connection.send(*frames)


async def test_the_pool_works_with_what_another_template_provider_says(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded(house)
    house.provider.handle = recorded.serve
    house.block_hashes = 64
    await house.start()
    setup, constraints = recorded.heard[:2]
    assert (setup.protocol, setup.min_version, setup.max_version, setup.flags) == (2, 2, 2, 0)
    assert constraints == CoinbaseOutputConstraints(31, 0)
    channel = await (await house.miner()).open()
    assert len(channel.active.merkle_path) == 3
    assert channel.tip
    assert channel.tip.nbits == 0x207FFFFF
    # Its transactions and the first block from its template.
    share = channel.mine()
    channel.submit(share)
    solution = await house.provider.hear(SubmitSolution)
    assert solution.template_id == 2
    coinbase = Transaction.parse(solution.coinbase_tx)
    assert coinbase.inputs[0].script.startswith(b"\x01\x79")
    assert [output.value for output in coinbase.outputs] == [5_000_007_050, 0] or len(coinbase.outputs) == 2
    assert (
        root_from_path(coinbase.txid, channel.active.merkle_path)
        == channel.header(channel.active, share.nonce, share.ntime, share.extranonce)[36:68]
    )
    await soon(lambda: house.node.submitted)
    header, transactions = parse_block(house.node.submitted[0])
    assert header.hash() == channel.hash_of(share)
    assert len(transactions) == 6
    assert sha256d(transactions[0].serialize()) != transactions[0].txid
    # A new block, then a fee update.
    recorded.cue("a new block")
    tip = await channel.miner.hear(SetNewPrevHash)
    assert tip.prev_hash != share
    assert channel.active.merkle_path == ()
    recorded.cue("a fee-paying transaction")
    job = await channel.work()
    assert len(job.merkle_path) == 1
    channel.submit(channel.mine())
    assert (await house.provider.hear(SubmitSolution)).template_id == 4
    await asyncio.sleep(0)
