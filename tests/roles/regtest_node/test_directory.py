"""Who may use a state directory, and what a crash leaves in it."""

import shutil
from pathlib import Path

import pytest

from protocols.bitcoin.header import parse_block
from roles.regtest_node import coins_file
from roles.regtest_node.directory import ChainDirectory
from roles.regtest_node.errors import StateInUse
from tests.roles.regtest_node.forge import BlockPlan, Forge, output_of, spend


def crashed(forge: Forge, to: Path) -> Forge:
    """The node that starts on what a kill would have left at this moment."""
    shutil.copytree(forge.path, to)
    return Forge(to, forge.clock)


def test_a_second_node_is_refused_and_touches_nothing(forge: Forge) -> None:
    with pytest.raises(StateInUse, match="another regtest node runs on"):
        ChainDirectory(forge.path)
    assert forge.state.submit(forge.block()) is None


def test_a_directory_can_be_had_again_after_its_release(tmp_path: Path) -> None:
    first = ChainDirectory(tmp_path)
    first.close()
    first.close()
    ChainDirectory(tmp_path).close()


def test_a_clean_stop_leaves_nothing_to_give_again(forge: Forge) -> None:
    forge.mine(3)
    assert (forge.path / "recent-blocks.dat").stat().st_size > 0
    forge.reopen()
    assert (forge.path / "recent-blocks.dat").stat().st_size == 0


def test_every_block_survives_a_crash(forge: Forge, tmp_path: Path) -> None:
    coins = forge.mature(3)
    fork = forge.state.tip
    parent = spend(coins[0])
    chain = (parent, spend(output_of(parent)))
    forge.mine(2, BlockPlan(transactions=chain, fees=2_000))
    side = forge.mine(3, BlockPlan(tag=b"side", transactions=(spend(coins[1]),), fees=1_000), fork)
    forge.state.submit(forge.block(BlockPlan(reward=1 << 40)))
    after = crashed(forge, tmp_path / "after")
    assert after.state.tip == forge.state.tip == side
    assert after.state.utxo.coins == forge.state.utxo.coins
    assert after.state.submit(after.block()) is None
    after.state.close()


def test_a_crash_after_a_crash_loses_nothing(forge: Forge, tmp_path: Path) -> None:
    tip = forge.mine(30)
    once = crashed(forge, tmp_path / "once")
    twice = crashed(once, tmp_path / "twice")
    more = twice.mine(5)
    third = crashed(twice, tmp_path / "third")
    assert third.state.tip == more
    assert third.state.kernel.find(tip.hash) is not None
    for each in (once, twice, third):
        each.state.close()


def test_a_checkpoint_empties_the_journal_and_loses_nothing(forge: Forge, tmp_path: Path) -> None:
    coins = forge.mature(2)
    forge.state.accept(spend(coins[0]).serialize())
    before = forge.state.tip
    forge.state.checkpoint()
    assert forge.state.directory.journal.stat().st_size == 0
    assert forge.state.tip == before
    assert len(forge.state.mempool) == 1
    fork = forge.mine(2)
    forge.mine(2, BlockPlan(transactions=(spend(coins[1]),), fees=1_000))
    tip = forge.mine(4, BlockPlan(tag=b"other"), fork)
    after = crashed(forge, tmp_path / "after")
    assert after.state.tip == tip
    assert after.state.utxo.coins == forge.state.utxo.coins
    after.state.close()


def test_a_checkpoint_is_due_after_so_many_blocks(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forge.state, "_checkpoint_blocks", 3)
    due = []
    for _ in range(3):
        forge.mine()
        due.append(forge.state.is_checkpoint_due)
    forge.state.checkpoint()
    assert [*due, forge.state.is_checkpoint_due] == [False, False, True, False]


def test_a_block_that_was_half_written_when_it_crashed_is_not_missed(forge: Forge, tmp_path: Path) -> None:
    forge.mine(3)
    tip = forge.state.tip
    shutil.copytree(forge.path, tmp_path / "after")
    with (tmp_path / "after" / "recent-blocks.dat").open("ab") as journal:
        journal.write(b"\xff\x00\x00\x00half a block")
    after = Forge(tmp_path / "after", forge.clock)
    assert after.state.tip == tip
    more = after.mine(2)
    third = crashed(after, tmp_path / "third")
    assert third.state.tip == more
    after.state.close()
    third.state.close()


@pytest.mark.parametrize("fault", ["removed", "cut", "changed", "foreign"])
def test_a_snapshot_of_coins_that_is_no_good_is_passed_over(forge: Forge, fault: str) -> None:
    forge.mine(5)
    coins = dict(forge.state.utxo.coins)
    forge.state.close()
    file = forge.path / "unspent.dat"
    content = file.read_bytes()
    if fault == "removed":
        file.unlink()
    elif fault == "cut":
        file.write_bytes(content[:-40])
    elif fault == "changed":
        file.write_bytes(content[:60] + b"\xff" + content[61:])
    else:
        coins_file.write(file, bytes(32), {})
    forge.state = forge._opened()
    assert forge.state.utxo.coins == coins


def test_a_snapshot_of_a_stale_block_is_followed_to_the_tip(forge: Forge) -> None:
    coin, other = forge.mature(2)
    fork = forge.state.tip
    forge.mine(plan=BlockPlan(transactions=(spend(coin),), fees=1_000))
    coins_file.write(forge.path / "kept.dat", forge.state.tip.hash, forge.state.utxo.coins)
    forge.mine(2, BlockPlan(tag=b"other", transactions=(spend(other),), fees=1_000), fork)
    coins = dict(forge.state.utxo.coins)
    forge.state.close()
    (forge.path / "kept.dat").replace(forge.path / "unspent.dat")
    forge.state = forge._opened()
    assert forge.state.utxo.coins == coins


def test_damaged_indexes_are_made_anew(forge: Forge, tmp_path: Path) -> None:
    tip = forge.mine(5)
    forge.state.close()
    for file in (forge.path / "chain" / "blocks" / "index").iterdir():
        file.write_bytes(b"damaged")
    forge.state = forge._opened()
    assert forge.state.tip == tip
    assert not (forge.path / "rebuilding").exists()
    forge.reopen()
    assert forge.state.tip == tip


def test_a_crash_while_indexes_are_made_anew_begins_again(forge: Forge) -> None:
    tip = forge.mine(5)
    forge.state.close()
    # What a crash leaves just after the indexes were wiped.
    shutil.rmtree(forge.path / "chain" / "blocks" / "index")
    shutil.rmtree(forge.path / "chain" / "chainstate")
    (forge.path / "rebuilding").touch()
    forge.state = forge._opened()
    assert forge.state.tip == tip


def test_a_crash_after_a_clean_stop_keeps_what_came_since(forge: Forge, tmp_path: Path) -> None:
    forge.mine(10)
    forge.reopen()
    tip = forge.mine(10)
    after = crashed(forge, tmp_path / "after")
    assert after.state.tip == tip
    after.reopen()
    assert after.state.tip == tip
    after.state.close()


def test_a_block_is_safe_when_it_is_answered(forge: Forge, tmp_path: Path) -> None:
    for _ in range(5):
        raw = forge.block()
        assert forge.state.submit(raw) is None
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        after = crashed(forge, tmp_path / "copy")
        stored = after.state.kernel.block(after.state.tip)
        assert stored is not None
        assert parse_block(stored) == parse_block(raw)
        after.state.close()
