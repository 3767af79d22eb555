from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin.hashing import display
from roles.node_client.answers import (
    BlockInfo,
    ChainInfo,
    NodeTemplate,
    parse_data,
    parse_hash,
    parse_verdict,
)
from roles.node_client.errors import NodeMalformed

HASH = bytes(range(32))
CHAIN = {
    "chain": "regtest",
    "blocks": 5,
    "headers": 6,
    "bestblockhash": display(HASH),
    "initialblockdownload": False,
}
BLOCK = {
    "hash": display(HASH),
    "confirmations": -1,
    "height": 3,
    "time": 1_700_000_000,
    "mediantime": 1_600_000_000,
    "bits": "207fffff",
    "previousblockhash": display(HASH[::-1]),
}


def test_the_chain_is_read() -> None:
    assert ChainInfo.parse(CHAIN) == ChainInfo("regtest", 5, 6, HASH, initial_download=False)


def test_a_block_is_read_and_the_first_has_no_previous_one() -> None:
    info = BlockInfo.parse(BLOCK)
    assert (info.hash, info.previous, info.bits) == (HASH, HASH[::-1], 0x207FFFFF)
    assert not info.in_active_chain
    first = {key: value for key, value in BLOCK.items() if key != "previousblockhash"}
    assert BlockInfo.parse({**first, "confirmations": 4}).previous is None
    assert BlockInfo.parse({**first, "confirmations": 4}).in_active_chain


def test_a_template_is_read(template_answer: dict[str, Any]) -> None:
    template = NodeTemplate.parse(template_answer)
    assert template.version == 0x20000000
    assert template.bits == 0x207FFFFF
    assert template.fees == 350
    assert [each.depends for each in template.transactions] == [(), (0,)]
    assert template.transactions[0].data == b"\x01\x02"
    assert NodeTemplate.parse({**template_answer, "version": -1}).version == 0xFFFFFFFF


@pytest.mark.parametrize("field", ["chain", "blocks", "headers", "bestblockhash", "initialblockdownload"])
@pytest.mark.parametrize("value", [None, (), True, -1, "zz", "00"])
def test_a_chain_with_a_wrong_field_is_refused_by_its_name(field: str, value: object) -> None:
    if (field, value) in {("chain", "zz"), ("chain", "00"), ("initialblockdownload", True)}:
        return
    with pytest.raises(NodeMalformed, match=field):
        ChainInfo.parse({**CHAIN, field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("previousblockhash", None),
        ("height", 0),
        ("version", 1 << 32),
        ("bits", "ff"),
        ("bits", "xx"),
        ("bits", "00000000"),
        ("coinbasevalue", 349),
        ("coinbasevalue", -1),
        ("curtime", 1.5),
        ("mintime", True),
        ("transactions", {}),
        ("transactions", [1]),
        ("transactions", [None] * 100_001),
        ("weightlimit", "4000000"),
        ("sigoplimit", None),
        ("longpollid", 7),
    ],
)
def test_a_template_with_a_wrong_field_is_refused(
    template_answer: dict[str, Any], field: str, value: object
) -> None:
    with pytest.raises(NodeMalformed):
        NodeTemplate.parse({**template_answer, field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [("data", "0"), ("txid", "00"), ("hash", 1), ("fee", None), ("sigops", -1), ("weight", 0),
     ("depends", [2]), ("depends", [0]), ("depends", ["1"]), ("depends", None)],
)  # fmt: skip
def test_a_template_with_a_wrong_transaction_is_refused(
    template_answer: dict[str, Any], field: str, value: object
) -> None:
    transactions = [template_answer["transactions"][0], {**template_answer["transactions"][1], field: value}]
    with pytest.raises(NodeMalformed, match="transaction 1"):
        NodeTemplate.parse({**template_answer, "transactions": transactions})


def test_single_values_are_read_or_refused() -> None:
    assert parse_hash("getblockhash", display(HASH)) == HASH
    assert parse_data("getblock", "00ff") == b"\x00\xff"
    assert parse_verdict(None) is None
    assert parse_verdict("high-hash") == "high-hash"
    for attempt in (
        lambda: parse_hash("x", None),
        lambda: parse_hash("x", "00"),
        lambda: parse_data("x", 1),
        lambda: parse_verdict(0),
    ):
        with pytest.raises(NodeMalformed):
            attempt()


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(CHAIN)), inner),
    max_leaves=6,
)


@given(json)
def test_any_answer_is_read_or_refused(answer: Any) -> None:
    for parse in (ChainInfo.parse, BlockInfo.parse, NodeTemplate.parse):
        try:
            parse(answer)
        except NodeMalformed:
            pass
