"""Templates: what they hold, in which order, and that blocks made from them are good."""

from dataclasses import replace

import pytest

from protocols.bitcoin.hashing import display, from_display
from protocols.bitcoin.header import Header, serialize_block
from protocols.bitcoin.merkle import merkle_root
from protocols.bitcoin.networks import Network, subsidy
from protocols.bitcoin.transaction import Transaction, TxOut
from roles.regtest_node import template as template_module
from roles.regtest_node.chain import header_of
from roles.regtest_node.mining import Mining
from roles.regtest_node.template import select
from roles.regtest_node.template_view import template_json
from tests.roles.regtest_node.forge import SCRIPT, BlockPlan, Clock, Forge, output_of, spend


def send(forge: Forge, *transactions: Transaction) -> None:
    for each in transactions:
        forge.state.accept(each.serialize())


def test_better_rates_come_first(forge: Forge) -> None:
    low, high, middle = (
        spend(coin, fee=fee) for coin, fee in zip(forge.mature(3), (500, 3_000, 1_000), strict=True)
    )
    send(forge, low, high, middle)
    assert [entry.txid for entry in select(forge.state.mempool)] == [high.txid, middle.txid, low.txid]


def test_a_child_pays_for_its_parent_and_comes_after_it(forge: Forge) -> None:
    coin, other = forge.mature(2)
    parent, middle = spend(coin, fee=100), spend(other, fee=1_000)
    child = spend(output_of(parent), fee=10_000)
    send(forge, parent, middle, child)
    assert [entry.txid for entry in select(forge.state.mempool)] == [parent.txid, child.txid, middle.txid]


def test_a_parent_with_two_children_is_counted_once(forge: Forge) -> None:
    coin = forge.mature()[0]
    half = (coin.value - 200) // 2
    parent = spend(coin, outputs=(TxOut(half, SCRIPT), TxOut(half, SCRIPT)))
    rich, poor = spend(output_of(parent), fee=20_000), spend(output_of(parent, 1), fee=150)
    send(forge, parent, poor, rich)
    assert [entry.txid for entry in select(forge.state.mempool)] == [parent.txid, rich.txid, poor.txid]


def test_what_does_not_fit_is_left_out(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    coins = forge.mature(4)
    large = spend(*coins[:3], fee=50_000)
    small = spend(coins[3], fee=100)
    child = spend(output_of(large), fee=1_000)
    send(forge, large, small, child)
    room = template_module.RESERVED_WEIGHT + large.weight - 1
    monkeypatch.setattr(template_module, "MAX_BLOCK_WEIGHT", room)
    assert [entry.txid for entry in select(forge.state.mempool)] == [small.txid]


def test_sigops_are_bounded(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        spend(coin, fee=1_000, outputs=(TxOut(coin.value - 1_000, b"\xac" * 70),)) for coin in forge.mature(2)
    )
    send(forge, first, second)
    monkeypatch.setattr(template_module, "MAX_BLOCK_SIGOPS", template_module.RESERVED_SIGOPS + 300)
    assert len(select(forge.state.mempool)) == 1


def test_the_answer_has_bitcoinds_fields(forge: Forge, clock: Clock) -> None:
    coin = forge.mature()[0]
    parent = spend(coin, fee=1_000)
    child = spend(output_of(parent), fee=3_000)
    send(forge, parent, child)
    mining = Mining(forge.state)
    template = mining.template()
    told = template_json(template, mining.time_for(template))
    assert told["previousblockhash"] == display(forge.state.tip.hash)
    assert told["height"] == forge.state.tip.height + 1
    assert told["coinbasevalue"] == subsidy(told["height"], Network.REGTEST) + 4_000
    assert told["bits"] == "207fffff"
    assert told["target"] == "7fffff" + "00" * 29
    assert told["mintime"] == forge.state.position.median_time + 1
    assert told["curtime"] == max(int(clock.now), told["mintime"])
    assert told["rules"] == ["csv", "!segwit", "taproot"]
    assert told["mutable"] == ["time", "transactions", "prevblock"]
    assert (told["sigoplimit"], told["sizelimit"], told["weightlimit"]) == (80_000, 4_000_000, 4_000_000)
    assert [each["depends"] for each in told["transactions"]] == [[], [1]]
    assert [each["fee"] for each in told["transactions"]] == [1_000, 3_000]
    first = told["transactions"][0]
    assert first["data"] == parent.serialize().hex()
    assert (first["txid"], first["hash"]) == (display(parent.txid), display(parent.wtxid))
    assert (first["sigops"], first["weight"]) == (0, parent.weight)


def test_a_block_made_from_the_answer_alone_is_good(forge: Forge) -> None:
    coins = forge.mature(2)
    parent = spend(coins[0], fee=5_000)
    send(forge, parent, spend(output_of(parent)), spend(coins[1]))
    mining = Mining(forge.state)
    template = mining.template()
    told = template_json(template, mining.time_for(template))
    plan = BlockPlan(reward=told["coinbasevalue"], committed=False)
    coinbase = forge.coinbase(plan, forge.state.tip)
    commitment = TxOut(0, bytes.fromhex(told["default_witness_commitment"]))
    coinbase = Transaction(2, coinbase.inputs, (*coinbase.outputs, commitment))
    txids = [from_display(each["txid"]) for each in told["transactions"]]
    header = Header(
        told["version"],
        from_display(told["previousblockhash"]),
        merkle_root([coinbase.txid, *txids]),
        told["curtime"],
        int(told["bits"], 16),
        0,
    )
    while int.from_bytes(header.hash(), "little") > int(told["target"], 16):
        header = replace(header, nonce=header.nonce + 1)
    raw = serialize_block(
        header.pack(), coinbase.serialize(), [bytes.fromhex(each["data"]) for each in told["transactions"]]
    )
    assert forge.state.submit(raw) is None
    assert len(forge.state.mempool) == 0


def test_a_template_is_kept_for_five_seconds_while_the_mempool_changes(forge: Forge, clock: Clock) -> None:
    coins = forge.mature(2)
    mining = Mining(forge.state)
    kept = mining.template()
    send(forge, spend(coins[0]))
    assert mining.template() is kept
    clock.now += 6
    renewed = mining.template()
    assert len(renewed.entries) == 1
    assert mining.template() is renewed


def test_a_new_tip_makes_a_new_template_at_once(forge: Forge) -> None:
    mining = Mining(forge.state)
    kept = mining.template()
    forge.mine()
    assert mining.template().height == kept.height + 1


def test_time_never_falls_behind_the_median(forge: Forge, clock: Clock) -> None:
    mining = Mining(forge.state)
    forge.mine(12)
    clock.now -= 5_000
    template = mining.fresh()
    assert mining.time_for(template) == template.least_time == forge.state.position.median_time + 1
    solved = mining.solve(SCRIPT, tries=100_000)
    assert solved is not None
    assert forge.state.submit(solved[0]) is None


def test_the_first_block_of_an_interval_is_not_much_older_than_the_last(forge: Forge, clock: Clock) -> None:
    clock.now += 4_000
    forge.mine(142)
    clock.now += 3_000
    forge.mine(1)
    tip = forge.state.tip
    assert tip.height == 143
    assert forge.state.chain.least_time(tip) == header_of(tip).time - 600


def test_a_hundred_blocks_solved_in_a_row_are_all_taken(forge: Forge) -> None:
    mining = Mining(forge.state)
    for height in range(1, 101):
        solved = mining.solve(SCRIPT, tries=100_000)
        assert solved is not None
        raw, block_hash, _ = solved
        assert forge.state.submit(raw) is None
        assert (forge.state.tip.hash, forge.state.tip.height) == (block_hash, height)


def test_no_luck_in_the_hashes_allowed_is_told(forge: Forge) -> None:
    assert Mining(forge.state).solve(SCRIPT, tries=0) is None
