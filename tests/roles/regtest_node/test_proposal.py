"""Verdicts on proposed blocks: the same words as for submitted ones, and nothing is kept."""

from dataclasses import replace

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.header import HEADER_SIZE, Header
from protocols.bitcoin.script import OP_CHECKSIG, witness_program
from protocols.bitcoin.transaction import TxOut
from roles.regtest_node.errors import UndecodableBlock
from roles.regtest_node.proposal import judge
from tests.roles.regtest_node.forge import COIN, BlockPlan, Forge, output_of, spend


def verdicts(forge: Forge, plan: BlockPlan) -> tuple[str | None, str | None]:
    """What is said of a block when it is proposed and when it is submitted."""
    raw = forge.block(plan)
    tip = forge.state.tip
    proposed = judge(forge.state, raw)
    assert forge.state.kernel.find(Header.parse(raw[:HEADER_SIZE]).hash()) is None
    assert forge.state.tip == tip
    return proposed, forge.state.submit(raw)


def test_a_good_block_without_work_is_good(forge: Forge) -> None:
    assert judge(forge.state, forge.block(BlockPlan(worked=False))) is None
    assert verdicts(forge, BlockPlan()) == (None, None)


@pytest.mark.parametrize(
    "plan",
    [
        BlockPlan(height=7),
        BlockPlan(time=1_300_000_000),
        BlockPlan(time=0xFFFFFFFF),
        BlockPlan(bits=0x207FFFFE),
        BlockPlan(bits=0x1D00FFFF),
        BlockPlan(version=1),
        BlockPlan(version=0xFFFFFFFF),
        BlockPlan(root=bytes(32)),
        BlockPlan(commitment=bytes(range(32))),
        BlockPlan(witness=True, tag=b"w", reward=50 * COIN + 1),
        BlockPlan(reward=50 * COIN + 1),
        BlockPlan(tag=bytes(100)),
        BlockPlan(extra_outputs=(TxOut(0, b"\xac" * 30_000),)),
        BlockPlan(extra_outputs=(TxOut(0, bytes(1_000_000)),)),
    ],
)
def test_a_fault_is_named_as_on_submission(forge: Forge, plan: BlockPlan) -> None:
    forge.mine(12)
    proposed, submitted = verdicts(forge, plan)
    assert proposed == submitted or submitted == "high-hash"
    assert proposed is not None


def test_faults_of_spending_are_named_as_on_submission(forge: Forge) -> None:
    old, *coins = forge.mature(6)
    forge.mine(plan=BlockPlan(transactions=(spend(old),), fees=1_000))
    young = forge.coin_of(forge.state.tip)
    parent = spend(coins[0])
    checks = bytes((OP_CHECKSIG,)) * 500
    to_checks = spend(coins[3], outputs=(TxOut(COIN, witness_program(0, sha256(checks))),))
    forge.mine(plan=BlockPlan(transactions=(to_checks,)))
    # 79,600 of 80,000 in its outputs, 500 in the script that it spends.
    crowded = replace(
        spend(output_of(to_checks), outputs=(TxOut(1, bytes((OP_CHECKSIG,)) * 19_900),)),
        witnesses=((checks,),),
    )
    plans = [
        BlockPlan(transactions=(spend(old, fee=2_000),)),
        BlockPlan(transactions=(spend(young),)),
        BlockPlan(transactions=(spend(coins[1], fee=-1),)),
        BlockPlan(transactions=(spend(output_of(parent)), parent)),
        BlockPlan(transactions=(spend(coins[1]), spend(coins[1], fee=2_000))),
        BlockPlan(transactions=(parent, spend(output_of(parent), sequence=1))),
        BlockPlan(transactions=(spend(coins[1], locktime=0x70000000),)),
        BlockPlan(transactions=(spend(coins[1]),), fees=1_001),
        BlockPlan(transactions=(spend(coins[1]),), committed=False),
        BlockPlan(transactions=(crowded,)),
    ]
    for plan in plans:
        proposed, submitted = verdicts(forge, plan)
        assert proposed == submitted is not None
    proposed, submitted = verdicts(forge, BlockPlan(transactions=(spend(coins[2], spoil=True),)))
    assert proposed is not None
    assert submitted is not None
    assert proposed.split(" ")[0] == submitted.split(" ")[0]
    chained = BlockPlan(transactions=(parent, spend(output_of(parent))), fees=2_000)
    assert verdicts(forge, chained) == (None, None)


def test_a_known_block_is_a_duplicate(forge: Forge) -> None:
    parent = forge.state.tip
    raw = forge.block()
    forge.state.submit(raw)
    assert judge(forge.state, raw) == "duplicate"
    side = forge.block(BlockPlan(tag=b"side"), parent)
    forge.state.submit(side)
    assert judge(forge.state, side) == "duplicate-inconclusive"


def test_a_block_that_is_not_on_the_tip_is_inconclusive(forge: Forge) -> None:
    parent = forge.state.tip
    forge.mine()
    assert judge(forge.state, forge.block(BlockPlan(tag=b"late"), parent)) == "inconclusive-not-best-prevblk"


def test_garbage_is_no_proposal(forge: Forge) -> None:
    with pytest.raises(UndecodableBlock):
        judge(forge.state, b"garbage")
