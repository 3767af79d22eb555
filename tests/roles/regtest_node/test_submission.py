"""Blocks as submitblock takes them: what is good, and BIP22's word for what is not."""

from dataclasses import replace

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header, parse_block, serialize_block
from protocols.bitcoin.merkle import merkle_root
from protocols.bitcoin.transaction import TxOut
from roles.regtest_node.errors import UndecodableBlock
from tests.roles.regtest_node.forge import COIN, SCRIPT, BlockPlan, Forge, spend


def test_a_good_block_is_answered_with_nothing_and_becomes_the_tip(forge: Forge) -> None:
    raw = forge.block()
    assert forge.state.submit(raw) is None
    assert forge.state.tip.hash == sha256d(raw[:80])
    assert forge.tips == [forge.state.tip.hash]


def test_a_block_given_twice_is_a_duplicate(forge: Forge) -> None:
    raw = forge.block()
    assert forge.state.submit(raw) is None
    assert forge.state.submit(raw) == "duplicate"


def test_a_bad_block_given_twice_is_a_duplicate_and_invalid(forge: Forge) -> None:
    raw = forge.block(BlockPlan(reward=51 * COIN))
    assert forge.state.submit(raw) == "bad-cb-amount"
    assert forge.state.submit(raw) == "duplicate-invalid"


def test_a_block_beside_the_best_chain_is_inconclusive(forge: Forge) -> None:
    parent = forge.state.tip
    forge.mine(2)
    tip = forge.state.tip
    assert forge.state.submit(forge.block(BlockPlan(tag=b"side"), parent)) == "inconclusive"
    assert forge.state.tip == tip


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (BlockPlan(worked=False), "high-hash"),
        (BlockPlan(height=7), "bad-cb-height"),
        (BlockPlan(time=1_300_000_000), "time-too-old"),
        (BlockPlan(time=0xFFFFFFFF), "time-too-new"),
        (BlockPlan(bits=0x207FFFFE), "bad-diffbits"),
        (BlockPlan(version=1), "bad-version(0x00000001)"),
        (BlockPlan(root=bytes(32)), "bad-txnmrklroot"),
        (BlockPlan(commitment=bytes(range(32))), "bad-witness-merkle-match"),
        (BlockPlan(reward=50 * COIN + 1), "bad-cb-amount"),
        (BlockPlan(tag=bytes(100)), "bad-cb-length"),
        (BlockPlan(extra_outputs=(TxOut(0, b"\xac" * 30_000),)), "bad-blk-sigops"),
        (BlockPlan(locktime=0x7FFFFFFF), None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_of_a_block_has_its_word(forge: Forge, plan: BlockPlan, reason: str | None) -> None:
    forge.mine(12)
    tip = forge.state.tip
    assert forge.state.submit(forge.block(plan)) == reason
    assert (forge.state.tip == tip) is (reason is not None)


def test_a_block_on_an_unknown_one_is_refused(forge: Forge) -> None:
    header, transactions = parse_block(forge.block())
    header = replace(header, previous=bytes(range(32)))
    while int.from_bytes(header.hash(), "little") >> 255:
        header = replace(header, nonce=header.nonce + 1)
    raw = serialize_block(header.pack(), transactions[0].serialize(), [])
    assert forge.state.submit(raw) == "prev-blk-not-found"


def test_a_block_on_an_invalid_one_is_refused(forge: Forge) -> None:
    bad = forge.block(BlockPlan(reward=51 * COIN))
    assert forge.state.submit(bad) == "bad-cb-amount"
    parent = forge.state.kernel.find(sha256d(bad[:80]))
    assert parent is not None
    assert forge.state.submit(forge.block(parent=parent)) == "bad-prevblk"


def test_a_block_without_transactions_is_refused(forge: Forge) -> None:
    header, _ = parse_block(forge.block())
    header = replace(header, merkle_root=bytes(32), nonce=0)
    while int.from_bytes(header.hash(), "little") >> 255:
        header = replace(header, nonce=header.nonce + 1)
    assert forge.state.submit(header.pack() + b"\x00") == "bad-blk-length"


def test_a_block_that_spends_what_is_not_there_is_refused(forge: Forge) -> None:
    coin = forge.mature()[0]
    forge.mine(plan=BlockPlan(transactions=(spend(coin),), fees=1_000))
    again = spend(coin, fee=2_000)
    raw = forge.block(BlockPlan(transactions=(again,), fees=2_000))
    assert forge.state.submit(raw) == "bad-txns-inputs-missingorspent"


def test_a_block_with_a_false_signature_is_refused(forge: Forge) -> None:
    coin = forge.mature()[0]
    raw = forge.block(BlockPlan(transactions=(spend(coin, spoil=True),)))
    answer = forge.state.submit(raw)
    assert answer is not None
    assert answer.startswith("block-script-verify-flag-failed")


def test_a_block_that_spends_a_young_reward_is_refused(forge: Forge) -> None:
    coin = forge.coin_of(forge.mine())
    raw = forge.block(BlockPlan(transactions=(spend(coin),)))
    assert forge.state.submit(raw) == "bad-txns-premature-spend-of-coinbase"


def test_a_transaction_twice_in_a_block_is_refused(forge: Forge) -> None:
    # The hash of three transactions is that of four when the last one comes twice (CVE-2012-2459).
    once, twice = (spend(coin) for coin in forge.mature(2))
    raw = forge.block(BlockPlan(transactions=(once, twice, twice)))
    assert forge.state.submit(raw) == "bad-txns-duplicate"


def test_a_missing_coinbase_witness_is_added(forge: Forge) -> None:
    raw = forge.block(BlockPlan(witness=False))
    assert not parse_block(raw)[1][0].witnesses
    assert forge.state.submit(raw) is None
    stored = forge.state.kernel.block(forge.state.tip)
    assert stored is not None
    assert parse_block(stored)[1][0].witnesses == ((bytes(32),),)


def test_a_witness_without_commitment_is_refused(forge: Forge) -> None:
    coin = forge.mature()[0]
    raw = forge.block(BlockPlan(transactions=(spend(coin),), committed=False))
    assert forge.state.submit(raw) == "unexpected-witness"


@pytest.mark.parametrize("raw", [b"", b"\x00", bytes(79), bytes(80), b"\xff" * 200])
def test_garbage_is_no_block(forge: Forge, raw: bytes) -> None:
    with pytest.raises(UndecodableBlock):
        forge.state.submit(raw)


def test_bytes_after_a_block_are_ignored(forge: Forge) -> None:
    assert forge.state.submit(forge.block() + b"more") is None


def test_the_next_block_pays_half_after_150(forge: Forge) -> None:
    forge.mine(149)
    assert forge.state.submit(forge.block(BlockPlan(reward=50 * COIN, tag=b"x"))) == "bad-cb-amount"
    assert forge.state.submit(forge.block(BlockPlan(reward=25 * COIN))) is None


def test_blocks_survive_a_clean_stop(forge: Forge) -> None:
    tip = forge.mine(5)
    forge.reopen()
    assert forge.state.tip == tip
    assert len(forge.state.utxo) == 5


def test_the_header_commits_to_all_transactions(forge: Forge) -> None:
    coin = forge.mature()[0]
    entry = forge.mine(plan=BlockPlan(transactions=(spend(coin),), fees=1_000))
    transactions = forge.state.transactions(entry)
    assert Header.parse(entry.header).merkle_root == merkle_root([each.txid for each in transactions])
    assert transactions[1].outputs[0].script == SCRIPT
