from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.cashu.errors import AmountOutOfLimitsError, CashuError
from roles.mint.keysets import KeysetBook, derive
from roles.mint.request import MintRequest, Sizes, SwapRequest, read_outputs, read_points, read_quote_ids
from roles.mint.rules import check_swap

KEYSET = derive(b"\x01" * 32, "sat", 0, 8)
POINT = "02" + "11" * 32
OUTPUT = {"amount": 1, "id": KEYSET.keyset_id, "B_": POINT}
PROOF = {"amount": 1, "id": KEYSET.keyset_id, "secret": "s", "C": POINT}
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(POINT),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _object(*fields: str, **good: Any) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional={name: junk | st.just(good.get(name)) for name in fields})


outputs = _object("amount", "id", "B_", **OUTPUT)
inputs = _object("amount", "id", "secret", "C", "witness", "dleq", **PROOF)
bodies = junk | _object(
    "quote", "quotes", "quote_amounts", "signature", "signatures", "Ys", quote="q", quotes=["q"]
).flatmap(
    lambda body: st.fixed_dictionaries(
        {"inputs": junk | st.lists(inputs, max_size=2), "outputs": junk | st.lists(outputs, max_size=2)}
    ).map(lambda rest: body | rest)
)


@settings(max_examples=300, deadline=None)
@given(bodies)
def test_no_body_makes_a_reader_raise_anything_but_a_cashu_error(body: object) -> None:
    sizes = Sizes(array=2, batch=2, keys=2)
    for read in (
        SwapRequest.from_json,
        MintRequest.from_json,
        MintRequest.batch_from_json,
        read_outputs,
        read_quote_ids,
        read_points,
    ):
        try:
            request = read(body, sizes)
        except CashuError:
            continue
        if isinstance(request, SwapRequest | MintRequest):
            assert len(request.digest) == 32


@settings(max_examples=200, deadline=None)
@given(st.lists(inputs, min_size=1, max_size=3), st.lists(outputs, min_size=1, max_size=3))
def test_no_swap_makes_the_rules_raise_anything_but_a_cashu_error(
    some_inputs: list[Any], some_outputs: list[Any]
) -> None:
    book = KeysetBook([KEYSET])
    try:
        request = SwapRequest.from_json({"inputs": some_inputs, "outputs": some_outputs}, Sizes())
        check_swap(request, book, 0)
    except CashuError:
        return
    assert sum(p.amount for p in request.inputs) == sum(o.amount for o in request.outputs)


def test_a_swap_is_named_by_its_inputs_and_outputs_and_not_by_its_witness() -> None:
    body = {"inputs": [PROOF], "outputs": [OUTPUT]}
    plain = SwapRequest.from_json(body, Sizes()).digest
    assert SwapRequest.from_json({**body, "inputs": [PROOF | {"witness": "{}"}]}, Sizes()).digest == plain
    for change in ({"amount": 2}, {"secret": "t"}, {"C": "03" + "11" * 32}, {"id": "00" * 8}):
        other = {**body, "inputs": [PROOF | change]}
        assert SwapRequest.from_json(other, Sizes()).digest != plain


def test_outputs_that_sum_to_more_than_an_amount_can_be_are_refused() -> None:
    most = OUTPUT | {"amount": (1 << 64) - 1}
    MintRequest.from_json({"quote": "q", "outputs": [most]}, Sizes())
    with pytest.raises(AmountOutOfLimitsError):
        MintRequest.from_json({"quote": "q", "outputs": [most, OUTPUT]}, Sizes())


@pytest.mark.parametrize("body", [None, 5, [], "x", {}])
def test_a_body_that_is_no_request_is_malformed(body: object) -> None:
    with pytest.raises(CashuError):
        SwapRequest.from_json(body, Sizes())
