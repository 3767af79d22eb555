"""What the mempool takes, what it refuses, and bitcoind's words for it."""

from dataclasses import replace

import pytest

from protocols.bitcoin.script import pay_to_public_key_hash, pay_to_script_hash, witness_program
from protocols.bitcoin.transaction import NULL_INDEX, Transaction, TxIn, TxOut
from roles.regtest_node.admission import MAX_CLUSTER, decode
from roles.regtest_node.errors import TransactionRefused, UndecodableTransaction
from roles.regtest_node.transaction_check import MAX_MONEY, dust_threshold
from tests.roles.regtest_node.forge import COIN, SCRIPT, BlockPlan, Clock, Forge, Held, output_of, spend


def refusal(forge: Forge, transaction: Transaction) -> str:
    """The reason for which a transaction is refused; the mempool stays as it was."""
    before = len(forge.state.mempool), forge.state.mempool.updates
    with pytest.raises(TransactionRefused) as caught:
        forge.state.accept(transaction.serialize())
    assert (len(forge.state.mempool), forge.state.mempool.updates) == before
    return caught.value.reason


def test_a_signed_transaction_is_taken_with_its_fee_and_cost(forge: Forge) -> None:
    transaction = spend(forge.mature()[0], fee=1_234)
    entry = forge.state.accept(transaction.serialize())
    assert (entry.fee, entry.sigops, entry.weight) == (1_234, 0, transaction.weight)
    assert transaction.txid in forge.state.mempool


def test_a_reward_can_be_spent_after_100_blocks_and_not_before(forge: Forge) -> None:
    coin = forge.coin_of(forge.mine())
    forge.mine(98)
    assert refusal(forge, spend(coin)) == "bad-txns-premature-spend-of-coinbase"
    forge.mine()
    forge.state.accept(spend(coin).serialize())


def test_a_false_signature_is_refused(forge: Forge) -> None:
    reason = refusal(forge, spend(forge.mature()[0], spoil=True))
    assert reason.startswith("mempool-script-verify-flag-failed")


def test_an_unknown_input_is_missing(forge: Forge) -> None:
    coin = forge.mature()[0]
    unknown = Held(replace(coin.outpoint, txid=bytes(range(32))), coin.value)
    with pytest.raises(TransactionRefused) as caught:
        forge.state.accept(spend(unknown).serialize())
    assert caught.value.missing
    assert caught.value.reason == "bad-txns-inputs-missingorspent"
    beyond = Held(replace(coin.outpoint, index=7), coin.value)
    assert refusal(forge, spend(beyond)) == "bad-txns-inputs-missingorspent"


def test_a_confirmed_transaction_is_known(forge: Forge) -> None:
    transaction = spend(forge.mature()[0])
    forge.mine(plan=BlockPlan(transactions=(transaction,), fees=1_000))
    assert refusal(forge, transaction) == "txn-already-known"


def test_the_same_transaction_twice_is_already_there(forge: Forge) -> None:
    transaction = spend(forge.mature()[0])
    forge.state.accept(transaction.serialize())
    assert refusal(forge, transaction) == "txn-already-in-mempool"
    other = replace(transaction, witnesses=((bytes(64),),))
    assert refusal(forge, other) == "txn-same-nonwitness-data-in-mempool"


def test_an_output_of_the_mempool_can_be_spent(forge: Forge) -> None:
    parent = spend(forge.mature()[0])
    child = spend(output_of(parent))
    forge.state.accept(parent.serialize())
    entry = forge.state.accept(child.serialize())
    assert entry.parents == {parent.txid}


def test_a_fee_below_the_floor_is_refused(forge: Forge) -> None:
    coin = forge.mature()[0]
    size = -(-spend(coin).weight // 4)
    floor = -(-size * 100 // 1_000)
    assert refusal(forge, spend(coin, fee=floor - 1)) == "min relay fee not met"
    forge.state.accept(spend(coin, fee=floor).serialize())


def test_more_paid_than_held_is_refused(forge: Forge) -> None:
    coin = forge.mature()[0]
    assert refusal(forge, spend(coin, fee=-1)) == "bad-txns-in-belowout"


def test_a_locktime_is_kept_until_it_has_passed(forge: Forge) -> None:
    coin = forge.mature()[0]
    height = forge.state.position.height
    assert refusal(forge, spend(coin, locktime=height)) == "non-final"
    forge.state.accept(spend(coin, locktime=height - 1).serialize())


def test_a_locktime_in_time_is_measured_by_the_median(forge: Forge) -> None:
    coin = forge.mature()[0]
    median = forge.state.position.median_time
    assert refusal(forge, spend(coin, locktime=median)) == "non-final"
    forge.state.accept(spend(coin, locktime=median - 1).serialize())


def test_a_final_sequence_overrules_the_locktime(forge: Forge) -> None:
    coin = forge.mature()[0]
    forge.state.accept(spend(coin, locktime=0x70000000, sequence=0xFFFFFFFF).serialize())


def test_a_relative_lock_in_blocks_waits_for_the_coin_to_age(forge: Forge) -> None:
    parent = spend(forge.mature()[0])
    forge.mine(plan=BlockPlan(transactions=(parent,), fees=1_000))
    child = spend(output_of(parent), sequence=3)
    assert refusal(forge, child) == "non-BIP68-final"
    forge.mine()
    assert refusal(forge, child) == "non-BIP68-final"
    forge.mine()
    forge.state.accept(child.serialize())


def test_a_relative_lock_in_time_is_measured_by_medians(forge: Forge, clock: Clock) -> None:
    parent = spend(forge.mature()[0])
    forge.mine(plan=BlockPlan(transactions=(parent,), fees=1_000))
    child = spend(output_of(parent), sequence=1 << 22 | 4)
    assert refusal(forge, child) == "non-BIP68-final"
    clock.now += 2_500
    forge.mine(11)
    forge.state.accept(child.serialize())


def test_version_1_knows_no_relative_lock(forge: Forge) -> None:
    parent = spend(forge.mature()[0])
    forge.state.accept(parent.serialize())
    forge.state.accept(spend(output_of(parent), sequence=100, version=1).serialize())


def test_a_relative_lock_on_an_unconfirmed_coin_waits(forge: Forge) -> None:
    parent = spend(forge.mature()[0])
    forge.state.accept(parent.serialize())
    assert refusal(forge, spend(output_of(parent), sequence=1)) == "non-BIP68-final"


def test_a_better_fee_replaces_what_conflicts_and_its_children(forge: Forge) -> None:
    coin = forge.mature()[0]
    first = spend(coin, fee=1_000)
    child = spend(output_of(first), fee=500)
    for each in (first, child):
        forge.state.accept(each.serialize())
    assert refusal(forge, spend(coin, fee=1_500)) == "insufficient fee"
    better = spend(coin, fee=2_000)
    forge.state.accept(better.serialize())
    assert [entry.txid for entry in forge.state.mempool] == [better.txid]


def test_a_replacement_must_beat_the_rate_too(forge: Forge) -> None:
    coins = forge.mature(9)
    first = spend(coins[0], fee=10_000)
    forge.state.accept(first.serialize())
    large = spend(*coins, fee=10_200)
    assert refusal(forge, large) == "insufficient fee"


def test_a_replacement_cannot_spend_what_it_replaces(forge: Forge) -> None:
    coin = forge.mature()[0]
    first = spend(coin)
    forge.state.accept(first.serialize())
    assert refusal(forge, spend(coin, output_of(first), fee=50_000)) == "bad-txns-spends-conflicting-tx"


def test_a_chain_of_transactions_ends_at_the_cluster_limit(forge: Forge) -> None:
    coin = forge.mature()[0]
    for _ in range(MAX_CLUSTER):
        transaction = spend(coin)
        forge.state.accept(transaction.serialize())
        coin = output_of(transaction)
    assert refusal(forge, spend(coin)) == "too-large-cluster"


def test_a_coinbase_is_refused(forge: Forge) -> None:
    coinbase = forge.coinbase(BlockPlan(), forge.state.tip)
    assert refusal(forge, coinbase) == "coinbase"


def unsigned(*outputs: TxOut, inputs: tuple[TxIn, ...] = (TxIn(bytes(range(32)), 0),)) -> Transaction:
    return Transaction(2, inputs, outputs)


@pytest.mark.parametrize(
    ("transaction", "reason"),
    [
        (unsigned(), "bad-txns-vout-empty"),
        (unsigned(TxOut(1 << 63, SCRIPT)), "bad-txns-vout-negative"),
        (unsigned(TxOut(MAX_MONEY + 1, SCRIPT)), "bad-txns-vout-toolarge"),
        (unsigned(TxOut(MAX_MONEY, SCRIPT), TxOut(1, SCRIPT)), "bad-txns-txouttotal-toolarge"),
        (unsigned(TxOut(COIN, SCRIPT), inputs=(TxIn(bytes(range(32)), 0),) * 2), "bad-txns-inputs-duplicate"),
        (
            unsigned(TxOut(COIN, SCRIPT), inputs=(TxIn(bytes(range(32)), 0), TxIn(bytes(32), NULL_INDEX))),
            "bad-txns-prevout-null",
        ),
        (unsigned(TxOut(COIN, SCRIPT), inputs=(TxIn(bytes(32), NULL_INDEX, b"x"),)), "bad-cb-length"),
        (unsigned(TxOut(COIN, bytes(1_000_000))), "bad-txns-oversize"),
        (replace(unsigned(TxOut(COIN, SCRIPT)), version=4), "version"),
        (unsigned(TxOut(COIN, bytes(100_000))), "tx-size"),
        (unsigned(TxOut(COIN, SCRIPT), inputs=(TxIn(bytes(32), 0, bytes(1_651)),)), "scriptsig-size"),
        (unsigned(TxOut(COIN, SCRIPT), inputs=(TxIn(bytes(32), 0, b"\xac"),)), "scriptsig-not-pushonly"),
        (unsigned(TxOut(329, SCRIPT)), "dust"),
        (unsigned(TxOut(COIN, b"")), "tx-size-small"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fault_of_form_has_its_word(forge: Forge, transaction: Transaction, reason: str) -> None:
    assert refusal(forge, transaction) == reason


def test_dust_is_what_costs_a_third_of_itself_to_spend() -> None:
    assert dust_threshold(witness_program(0, bytes(20))) == 294
    assert dust_threshold(SCRIPT) == 330
    assert dust_threshold(pay_to_public_key_hash(bytes(20))) == 546
    assert dust_threshold(pay_to_script_hash(bytes(20))) == 540
    assert dust_threshold(b"\x6a") == 0


def test_a_full_mempool_takes_nothing_more(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forge.state._admission, "_limit", 1)
    coins = forge.mature(2)
    forge.state.accept(spend(coins[0]).serialize())
    assert refusal(forge, spend(coins[1])) == "mempool full"
    forge.state.accept(spend(coins[0], fee=5_000).serialize())


@pytest.mark.parametrize("raw", [b"", b"\x02", bytes(60), b"\xff" * 100])
def test_garbage_is_no_transaction(raw: bytes) -> None:
    with pytest.raises(UndecodableTransaction):
        decode(raw)


def test_bytes_after_a_transaction_are_refused(forge: Forge) -> None:
    raw = spend(forge.mature()[0]).serialize()
    with pytest.raises(UndecodableTransaction):
        forge.state.accept(raw + b"x")
