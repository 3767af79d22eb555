"""The wrapped engine: what it refuses to be asked, because the engine would end the process."""

import re
from pathlib import Path

import pytest

from protocols.bitcoin.networks import Network
from roles.regtest_node.errors import KernelFault, UndecodableTransaction
from roles.regtest_node.kernel import Kernel, Verdict
from tests.roles.regtest_node.forge import SCRIPT, BlockPlan, Forge, spend


@pytest.fixture
def kernel(forge: Forge) -> Kernel:
    forge.mine(3)
    return forge.state.kernel


def test_a_fresh_chain_is_the_genesis_block(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.open()
    assert (kernel.tip().height, kernel.tip().hash) == (0, Network.REGTEST.genesis)
    assert kernel.spent(kernel.tip()) == []
    kernel.close()


def test_indexes_made_anew_from_nothing_are_the_genesis_block(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.open(rebuild=True)
    assert kernel.tip().hash == Network.REGTEST.genesis
    kernel.close()


@pytest.mark.parametrize("height", [-1, 4, 1 << 40])
def test_a_height_beyond_the_chain_is_an_index_error(kernel: Kernel, height: int) -> None:
    with pytest.raises(IndexError):
        kernel.at(height)
    with pytest.raises(IndexError):
        kernel.ancestor(kernel.tip(), height)


def test_the_genesis_block_has_no_parent(kernel: Kernel) -> None:
    assert kernel.parent(kernel.at(1)) == kernel.at(0)
    with pytest.raises(IndexError):
        kernel.parent(kernel.at(0))


def test_an_unknown_hash_is_not_found(kernel: Kernel) -> None:
    assert kernel.find(bytes(32)) is None
    assert kernel.find(kernel.tip().hash) == kernel.tip()


def test_spent_outputs_must_be_as_many_as_inputs(forge: Forge) -> None:
    coin, other = forge.mature(2)
    transaction = spend(coin, other)
    raw = transaction.serialize()
    both = [(coin.value, SCRIPT), (other.value, SCRIPT)]
    assert forge.state.kernel.failing_input(raw, both) is None
    assert forge.state.kernel.failing_input(raw, [both[0], (other.value + 1, SCRIPT)]) == 0
    with pytest.raises(ValueError, match="2 inputs, 1 outputs"):
        forge.state.kernel.failing_input(raw, both[:1])
    with pytest.raises(UndecodableTransaction):
        forge.state.kernel.failing_input(raw + b"x", both)
    with pytest.raises(UndecodableTransaction):
        forge.state.kernel.failing_input(b"", both)


def test_an_empty_script_is_no_misuse(forge: Forge) -> None:
    coin = forge.mature()[0]
    assert forge.state.kernel.failing_input(spend(coin).serialize(), [(coin.value, b"")]) in {0, None}


def test_after_the_end_every_call_is_refused_and_closing_again_is_nothing(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.open()
    tip = kernel.tip()
    assert kernel.close()
    assert not kernel.close()
    for call in (
        kernel.tip,
        kernel.best_header,
        lambda: kernel.at(0),
        lambda: kernel.find(tip.hash),
        lambda: kernel.ancestor(tip, 0),
        lambda: kernel.is_active(tip),
        lambda: kernel.block(tip),
        lambda: kernel.submit(bytes(81)),
        lambda: kernel.is_well_formed(bytes(81)),
        lambda: kernel.failing_input(b"", []),
    ):
        with pytest.raises(KernelFault):
            call()


def test_a_directory_that_is_held_is_told_with_the_engines_reason(forge: Forge) -> None:
    second = Kernel(forge.state.directory.chain)
    with pytest.raises(KernelFault, match=re.escape(str(forge.state.directory.chain))) as caught:
        second.open()
    assert "LOCK" in caught.value.text
    second.close()


def test_an_interrupted_start_is_told(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.interrupt()
    with pytest.raises(KernelFault):
        kernel.open(rebuild=True)
    kernel.close()


def test_blocks_found_before_the_kernel_was_reopened_are_found_again(forge: Forge) -> None:
    forge.mine(5)
    kernel, tip = forge.state.kernel, forge.state.tip
    assert kernel.reopen()
    assert kernel.tip() == tip
    assert kernel.is_active(tip)
    assert kernel.block(tip) is not None
    assert kernel.ancestor(tip, 2) == kernel.at(2)
    assert kernel.spent(tip) == []


def test_two_engines_keep_their_verdicts_apart(forge: Forge, tmp_path: Path) -> None:
    other = Kernel(tmp_path / "other")
    other.open()
    bad = forge.block(BlockPlan(height=9))
    assert forge.state.kernel.submit(bad).reason == "bad-cb-height"
    assert other.submit(forge.block(BlockPlan(tag=b"fine"))).reason is None
    other.close()


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (Verdict(stored=True, refused=False, checked=True, reason=None), None),
        (Verdict(stored=True, refused=False, checked=False, reason=None), "inconclusive"),
        (Verdict(stored=False, refused=False, checked=False, reason=None), "duplicate"),
        (Verdict(stored=False, refused=True, checked=True, reason="rejected"), "rejected"),
    ],
)
def test_verdicts_have_bip22s_words(verdict: Verdict, word: str | None) -> None:
    assert verdict.bip22() == word
