from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin.coinbase import add_witness, coinbase_parts
from protocols.bitcoin.header import parse_block
from protocols.bitcoin.merkle import commitment_script, merkle_root, witness_commitment
from protocols.bitcoin.target import meets
from protocols.bitcoin.transaction import Transaction, TxOut
from protocols.sv2.template_distribution import SubmitSolution
from roles.node_client.answers import NodeTemplate, TemplateTransaction
from roles.template_provider.errors import SolutionRefused
from roles.template_provider.solution import assemble, belongs, header_of, read_coinbase
from roles.templates.draft import Draft
from roles.templates.selection import Constraints

Make = Callable[..., TemplateTransaction]
MakeTemplate = Callable[..., NodeTemplate]


@pytest.fixture
def draft(transaction: Make, template: MakeTemplate) -> Draft:
    transactions = [transaction("a", fee=10), transaction("b", fee=20)]
    return Draft.make(template(transactions=transactions), Constraints(100, 4))


def solve(draft: Draft, version: int | None = None) -> SubmitSolution:
    """A solution of the easiest target there is, by trying nonces."""
    parts = coinbase_parts(draft.coinbase, [TxOut(draft.value, b"\x51")], tag=b"t", extranonce_size=4)
    chosen = draft.version if version is None else version
    made = SubmitSolution(7, chosen, draft.time, 0, b"\0\0\0\0".join(add_witness(*parts)))
    return until(draft, made, solved=True)


def until(draft: Draft, solution: SubmitSolution, *, solved: bool) -> SubmitSolution:
    coinbase = read_coinbase(solution)
    while meets(header_of(draft, solution, coinbase).hash(), draft.target) != solved:
        solution = replace(solution, header_nonce=solution.header_nonce + 1)
    return solution


def test_a_solution_becomes_the_block_that_it_solves(draft: Draft) -> None:
    solution = solve(draft)
    block = assemble(draft, solution, read_coinbase(solution))
    header, (coinbase, *others) = parse_block(block.data)
    assert header.hash() == block.hash
    assert header.merkle_root == merkle_root([coinbase.txid, *(each.txid for each in others)])
    assert [each.serialize() for each in others] == [each.data for each in draft.transactions]
    assert coinbase.serialize() == solution.coinbase_tx
    commitment = commitment_script(witness_commitment([each.wtxid for each in others]))
    assert coinbase.outputs[-1].script == commitment
    assert (block.height, block.value) == (120, 5_000_000_030)


def test_a_coinbase_that_came_without_its_witness_gets_it(draft: Draft) -> None:
    solution = solve(draft)
    bare = replace(solution, coinbase_tx=Transaction.parse(solution.coinbase_tx).stripped)
    whole = assemble(draft, solution, read_coinbase(solution))
    assert assemble(draft, bare, read_coinbase(bare)).data == whole.data


def test_version_bits_that_are_free_may_change_and_others_may_not(draft: Draft) -> None:
    rolled = solve(draft, version=draft.version ^ 0x1FFFFFE0)
    assert assemble(draft, rolled, read_coinbase(rolled))
    for bit in (0, 4, 29, 30, 31):
        changed = solve(draft, version=draft.version ^ 1 << bit)
        with pytest.raises(SolutionRefused) as caught:
            assemble(draft, changed, read_coinbase(changed))
        assert caught.value.verdict == "bad-version"


def test_a_hash_above_the_target_is_not_passed_on(draft: Draft) -> None:
    solution = until(draft, solve(draft), solved=False)
    with pytest.raises(SolutionRefused) as caught:
        assemble(draft, solution, read_coinbase(solution))
    assert caught.value.verdict == "high-hash"


def test_a_coinbase_belongs_to_the_template_that_it_was_made_for(
    draft: Draft, transaction: Make, template: MakeTemplate
) -> None:
    solution = solve(draft)
    coinbase = read_coinbase(solution)
    assert belongs(draft, solution, coinbase)
    unsolved = until(draft, solution, solved=False)
    assert not belongs(draft, unsolved, coinbase)
    constraints = Constraints(100, 4)
    for other in (
        template(transactions=[transaction("a", fee=10)]),
        template(transactions=[transaction("a", fee=10), transaction("b", fee=20)], height=121),
    ):
        made = Draft.make(other, constraints)
        for nonce in range(20):
            assert not belongs(made, replace(solution, header_nonce=nonce), coinbase)
    assert not belongs(draft, solution, replace(coinbase, outputs=()))


def test_bytes_that_are_no_coinbase_are_refused(draft: Draft) -> None:
    for raw in (b"", b"\0" * 60, draft.transactions[0].data):
        with pytest.raises(SolutionRefused) as caught:
            read_coinbase(SubmitSolution(7, 0, 0, 0, raw))
        assert caught.value.verdict == "bad-coinbase"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_coinbase_or_refused(raw: bytes) -> None:
    try:
        read_coinbase(SubmitSolution(7, 0, 0, 0, raw))
    except SolutionRefused:
        pass
