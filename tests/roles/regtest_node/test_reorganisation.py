"""The mempool and the unspent outputs when blocks come and go."""

from protocols.bitcoin.transaction import Transaction
from roles.regtest_node.mempool import Mempool
from tests.roles.regtest_node.forge import BlockPlan, Clock, Forge, output_of, spend


def ids(forge: Forge) -> list[bytes]:
    return [entry.txid for entry in forge.state.mempool]


def is_consistent(pool: Mempool) -> bool:
    """Whether links point both ways, sizes add up and parents come before children."""
    seen: set[bytes] = set()
    for entry in pool:
        if entry.parents != pool.parents(entry.transaction) or not entry.parents <= seen:
            return False
        children = [pool.get(child) for child in entry.children]
        if any(child is None or entry.txid not in child.parents for child in children):
            return False
        seen.add(entry.txid)
    return pool.size == sum(len(entry.raw) for entry in pool)


def send(forge: Forge, *transactions: Transaction) -> None:
    for each in transactions:
        forge.state.accept(each.serialize())


def test_what_a_block_holds_leaves_the_mempool_and_its_child_stays(forge: Forge) -> None:
    parent = spend(forge.mature()[0])
    child = spend(output_of(parent))
    send(forge, parent, child)
    forge.mine(plan=BlockPlan(transactions=(parent,), fees=1_000))
    assert ids(forge) == [child.txid]
    assert is_consistent(forge.state.mempool)


def test_what_a_block_makes_impossible_leaves_with_its_descendants(forge: Forge) -> None:
    coin, other = forge.mature(2)
    first, stranger = spend(coin), spend(other)
    child = spend(output_of(first))
    send(forge, first, child, stranger)
    forge.mine(plan=BlockPlan(transactions=(spend(coin, fee=5_000),), fees=5_000))
    assert ids(forge) == [stranger.txid]
    assert is_consistent(forge.state.mempool)


def test_a_reorganisation_gives_back_what_the_lost_blocks_held(forge: Forge) -> None:
    coin, other = forge.mature(2)
    parent = spend(coin)
    child, stranger = spend(output_of(parent)), spend(other)
    send(forge, parent, child, stranger)
    fork = forge.state.tip
    first = forge.mine(plan=BlockPlan(transactions=(parent,), fees=1_000))
    second = forge.mine(plan=BlockPlan(transactions=(child,), fees=1_000))
    assert ids(forge) == [stranger.txid]
    last = forge.mine(3, BlockPlan(tag=b"other"), fork)
    assert forge.state.tip == last
    assert ids(forge) == [parent.txid, child.txid, stranger.txid]
    assert is_consistent(forge.state.mempool)
    assert forge.state.chain.confirmations(first) == forge.state.chain.confirmations(second) == -1


def test_a_reorganisation_drops_what_the_new_chain_has_spent(forge: Forge) -> None:
    coin = forge.mature()[0]
    ours, theirs = spend(coin), spend(coin, fee=2_000)
    fork = forge.state.tip
    forge.mine(plan=BlockPlan(transactions=(ours,), fees=1_000))
    child = spend(output_of(ours))
    send(forge, child)
    entry = forge.mine(plan=BlockPlan(transactions=(theirs,), fees=2_000), parent=fork)
    forge.mine(parent=entry)
    assert ids(forge) == []


def test_a_reorganisation_drops_spends_of_rewards_that_are_gone(forge: Forge) -> None:
    fork = forge.mine()
    forge.mine(101)
    coin = forge.coin_of(forge.state.kernel.at(fork.height + 1))
    send(forge, spend(coin))
    assert len(ids(forge)) == 1
    forge.mine(102, BlockPlan(tag=b"other"), fork)
    assert ids(forge) == []


def test_a_reorganisation_drops_what_is_no_longer_final(forge: Forge, clock: Clock) -> None:
    coin = forge.mature()[0]
    fork = forge.state.tip
    clock.now += 1_000
    forge.mine(20)
    late = spend(coin, locktime=forge.state.position.median_time - 1)
    send(forge, late)
    clock.now -= 1_000
    forge.mine(21, BlockPlan(tag=b"other"), fork)
    assert forge.state.position.median_time < late.locktime
    assert ids(forge) == []


def test_unspent_outputs_after_a_reorganisation_are_those_of_a_fresh_start(forge: Forge) -> None:
    coins = forge.mature(2)
    fork = forge.state.tip
    parent = spend(coins[0])
    chain = (parent, spend(output_of(parent)))
    forge.mine(2, BlockPlan(transactions=chain, fees=2_000))
    forge.mine(4, BlockPlan(transactions=(spend(*coins),), fees=1_000, tag=b"other"), fork)
    followed = dict(forge.state.utxo.coins)
    forge.reopen()
    assert followed == forge.state.utxo.coins
    assert forge.state.tip.height == fork.height + 4


def test_the_mempool_is_there_again_after_a_clean_stop(forge: Forge, clock: Clock) -> None:
    parent = spend(forge.mature()[0])
    child = spend(output_of(parent))
    send(forge, parent, child)
    clock.now += 77
    forge.reopen()
    assert ids(forge) == [parent.txid, child.txid]
    assert {entry.time for entry in forge.state.mempool} == {int(clock.now) - 77}


def test_a_remembered_transaction_that_is_confirmed_is_forgotten(forge: Forge) -> None:
    transaction = spend(forge.mature()[0])
    send(forge, transaction)
    forge.reopen()
    forge.mine(plan=BlockPlan(transactions=(transaction,), fees=1_000))
    assert ids(forge) == []
    forge.reopen()
    assert ids(forge) == []


def test_a_damaged_mempool_file_costs_only_what_is_damaged(forge: Forge) -> None:
    first, second = (spend(coin) for coin in forge.mature(2))
    send(forge, first, second)
    forge.state.close()
    file = forge.path / "mempool.dat"
    file.write_bytes(file.read_bytes()[:-10])
    forge.state = forge._opened()
    assert ids(forge) == [first.txid]


def test_the_tip_is_told_once_a_reorganisation(forge: Forge) -> None:
    fork = forge.mine(3)
    forge.mine(2)
    told = len(forge.tips)
    forge.mine(2, BlockPlan(tag=b"other"), fork)
    assert len(forge.tips) == told
    forge.mine(3, BlockPlan(tag=b"third"), fork)
    assert forge.tips[told:] == [forge.state.tip.hash]
