from collections.abc import Callable

import pytest

from protocols.bitcoin.coinbase import add_witness, coinbase_parts
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.merkle import merkle_root, root_from_path
from protocols.bitcoin.transaction import Transaction, TxOut
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION
from protocols.sv2.frame import frame_from
from protocols.sv2.template_distribution import (
    NewTemplate,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
)
from roles.node_client.answers import NodeTemplate, TemplateTransaction
from roles.templates.draft import Draft
from roles.templates.selection import Constraints

Make = Callable[..., TemplateTransaction]
MakeTemplate = Callable[..., NodeTemplate]

CONSTRAINTS = Constraints(100, 4)


def read(frame: bytes) -> object:
    return TEMPLATE_DISTRIBUTION.decode(frame_from(frame[:6], frame[6:]))[0]


def node_template(announced: NewTemplate, tip: SetNewPrevHash, data: tuple[bytes, ...]) -> NodeTemplate:
    """What getblocktemplate says where another provider announced this."""
    parsed = [Transaction.parse(raw) for raw in data]
    return NodeTemplate(
        previous=tip.prev_hash,
        height=announced.coinbase_tx_locktime + 1,
        version=announced.version,
        bits=tip.nbits,
        value=announced.coinbase_tx_value_remaining,
        time=tip.header_timestamp,
        min_time=0,
        transactions=tuple(
            TemplateTransaction(raw, each.txid, each.wtxid, 0, each.legacy_sigops, each.weight)
            for raw, each in zip(data, parsed, strict=True)
        ),
        weight_limit=4_000_000,
        sigop_limit=80_000,
        long_poll_id="",
    )


def test_it_says_what_a_real_template_provider_said_of_the_same_block(recorded: list[bytes]) -> None:
    announced, tip, answer = read(recorded[1]), read(recorded[2]), read(recorded[3])
    assert isinstance(announced, NewTemplate)
    assert isinstance(tip, SetNewPrevHash)
    assert isinstance(answer, RequestTransactionDataSuccess)
    template = node_template(announced, tip, answer.transaction_list)
    draft = Draft.make(template, CONSTRAINTS)
    number = announced.template_id
    assert draft.new_template(number, future=True) == announced
    assert draft.new_prev_hash(number) == tip
    assert draft.transaction_data(number) == answer


def test_it_says_the_same_of_an_empty_block(recorded: list[bytes]) -> None:
    announced, tip = read(recorded[5]), read(recorded[6])
    assert isinstance(announced, NewTemplate)
    assert isinstance(tip, SetNewPrevHash)
    draft = Draft.make(node_template(announced, tip, ()), CONSTRAINTS)
    assert draft.new_template(announced.template_id, future=True) == announced
    assert draft.new_prev_hash(announced.template_id) == tip


def test_what_is_dropped_leaves_value_path_and_commitment(transaction: Make, template: MakeTemplate) -> None:
    paying = [transaction(str(rank), fee=1000 - rank, weight=1_000) for rank in range(4)]
    short = template(transactions=paying, weight_limit=CONSTRAINTS.weight + 2_500)
    draft = Draft.make(short, CONSTRAINTS)
    alone = Draft.make(template(transactions=paying[:2]), CONSTRAINTS)
    assert draft.dropped == 2
    assert alone.dropped == 0
    assert draft.value == 5_000_000_000 + 1000 + 999
    assert draft.merkle_path == alone.merkle_path
    assert draft.coinbase == alone.coinbase


@pytest.mark.parametrize(("height", "prefix"), [(1, "51"), (16, "60"), (17, "0111"), (840_000, "0340d10c")])
def test_the_coinbase_is_ready_for_bip34_and_bip54(template: MakeTemplate, height: int, prefix: str) -> None:
    fields = Draft.make(template(height=height), CONSTRAINTS).coinbase
    assert fields.script_prefix.hex() == prefix
    assert (fields.version, fields.sequence, fields.locktime) == (2, 0xFFFFFFFE, height - 1)


def test_a_time_below_the_least_one_is_raised_to_it(template: MakeTemplate) -> None:
    assert Draft.make(template(time=5, min_time=9), CONSTRAINTS).time == 9
    assert Draft.make(template(time=9, min_time=5), CONSTRAINTS).time == 9


def test_the_announced_path_leads_to_the_root_over_all_ids(transaction: Make, template: MakeTemplate) -> None:
    draft = Draft.make(template(transactions=[transaction(str(n)) for n in range(7)]), CONSTRAINTS)
    reward = TxOut(draft.value, b"\x51")
    parts = coinbase_parts(draft.coinbase, [reward], tag=b"x", extranonce_size=4)
    coinbase = Transaction.parse(b"abcd".join(add_witness(*parts)))
    assert coinbase.txid == sha256d(b"abcd".join(parts))
    leaves = [coinbase.txid, *(each.txid for each in draft.transactions)]
    assert root_from_path(coinbase.txid, draft.merkle_path) == merkle_root(leaves)
