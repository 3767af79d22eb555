"""Who may use a state directory, and what a crash leaves in it."""

import shutil
from pathlib import Path

import pytest

from protocols.bitcoin.header import parse_block
from roles.regtest_node.directory import ChainDirectory
from roles.regtest_node.errors import StateInUse
from tests.roles.regtest_node.forge import BlockPlan, Clock, Forge, output_of, spend


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


def test_a_clean_stop_leaves_no_mark(forge: Forge) -> None:
    assert (forge.path / "indexes-behind").exists()
    forge.reopen()
    assert not forge.state.directory.rebuild


def test_every_block_survives_a_crash(forge: Forge, tmp_path: Path) -> None:
    coins = forge.mature(3)
    fork = forge.state.tip
    parent = spend(coins[0])
    chain = (parent, spend(output_of(parent)))
    forge.mine(2, BlockPlan(transactions=chain, fees=2_000))
    side = forge.mine(3, BlockPlan(tag=b"side", transactions=(spend(coins[1]),), fees=1_000), fork)
    forge.state.submit(forge.block(BlockPlan(reward=1 << 40)))
    after = crashed(forge, tmp_path / "after")
    assert after.state.directory.rebuild
    assert after.state.tip == forge.state.tip == side
    assert after.state.utxo._coins == forge.state.utxo._coins
    assert after.state.submit(after.block()) is None
    after.state.close()


def test_a_crash_while_indexes_are_made_anew_loses_nothing(forge: Forge, tmp_path: Path) -> None:
    tip = forge.mine(30)
    once = crashed(forge, tmp_path / "once")
    twice = crashed(once, tmp_path / "twice")
    more = twice.mine(5)
    third = crashed(twice, tmp_path / "third")
    assert third.state.tip == more
    assert third.state.kernel.find(tip.hash) is not None
    for each in (once, twice, third):
        each.state.close()


def test_a_crash_after_a_clean_stop_keeps_what_came_since(forge: Forge, tmp_path: Path) -> None:
    forge.mine(10)
    forge.reopen()
    tip = forge.mine(10)
    after = crashed(forge, tmp_path / "after")
    assert after.state.tip == tip
    after.reopen()
    assert not after.state.directory.rebuild
    assert after.state.tip == tip
    after.state.close()


def test_a_crash_before_the_first_block_starts_at_genesis(tmp_path: Path, clock: Clock) -> None:
    directory = ChainDirectory(tmp_path)
    directory.mark_behind()
    directory.close()
    started = Forge(tmp_path, clock)
    assert started.state.tip.height == 0
    assert started.state.submit(started.block()) is None
    started.state.close()


def test_a_block_is_in_its_file_when_it_is_answered(forge: Forge, tmp_path: Path) -> None:
    for _ in range(5):
        raw = forge.block()
        assert forge.state.submit(raw) is None
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        after = crashed(forge, tmp_path / "copy")
        stored = after.state.kernel.block(after.state.tip)
        assert stored is not None
        assert parse_block(stored) == parse_block(raw)
        after.state.close()
