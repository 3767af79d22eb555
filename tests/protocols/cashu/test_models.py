import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.cashu.errors import CashuError, MalformedError
from protocols.cashu.models import BlindedMessage, BlindSignature, Dleq, Proof
from protocols.cashu.witness import Witness

POINT = "02" + "11" * 32
ID = "01" + "ab" * 32
amounts = st.integers(0, 2**64 - 1)
points = st.builds(
    lambda sign, x: bytes((2 + sign,)) + x, st.integers(0, 1), st.binary(min_size=32, max_size=32)
)
scalars = st.binary(min_size=32, max_size=32)
ids = st.one_of(st.binary(min_size=8, max_size=8), st.binary(min_size=33, max_size=33)).map(bytes.hex)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
dleqs = st.builds(Dleq, scalars, scalars, st.none() | scalars)
proofs = st.builds(Proof, amounts, ids, texts, points, st.none() | texts, st.none() | dleqs)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.builds(BlindedMessage, amounts, ids, points))
@example(BlindedMessage(1, ID, bytes.fromhex(POINT)))
def test_an_output_survives_the_wire(output: BlindedMessage) -> None:
    assert BlindedMessage.from_json(json.loads(json.dumps(output.to_json()))) == output


@settings(max_examples=100, deadline=None)
@given(st.builds(BlindSignature, amounts, ids, points, st.none() | dleqs))
@example(BlindSignature(1, ID, bytes.fromhex(POINT)))
@example(BlindSignature(1, ID, bytes.fromhex(POINT), Dleq(bytes(32), bytes(32))))
def test_a_signature_survives_the_wire(signature: BlindSignature) -> None:
    assert BlindSignature.from_json(json.loads(json.dumps(signature.to_json()))) == signature


@settings(max_examples=100, deadline=None)
@given(proofs)
@example(Proof(1, ID, "secret", bytes.fromhex(POINT)))
@example(Proof(1, ID, "secret", bytes.fromhex(POINT), "witness", Dleq(bytes(32), bytes(32), bytes(32))))
def test_a_proof_survives_the_wire(proof: Proof) -> None:
    assert Proof.from_json(json.loads(json.dumps(proof.to_json()))) == proof


@settings(max_examples=200, deadline=None)
@given(
    junk
    | st.fixed_dictionaries(
        {}, optional=dict.fromkeys(["amount", "id", "B_", "C_", "C", "secret", "dleq"], junk)
    )
)
def test_no_json_makes_a_model_raise_anything_but_its_own_error(value: object) -> None:
    for model in (BlindedMessage, BlindSignature, Proof, Dleq):
        try:
            model.from_json(value)
        except CashuError:
            pass


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"amount": -1}, "out of range"),
        ({"amount": 2**64}, "out of range"),
        ({"amount": 1.0}, "not an integer"),
        ({"amount": True}, "not an integer"),
        ({"amount": "1"}, "not an integer"),
        ({"id": "01"}, "16 or 66 hex"),
        ({"id": "x" * 66}, "16 or 66 hex"),
        ({"id": 1}, "16 or 66 hex"),
        ({"B_": POINT[:-2]}, "hex digits"),
        ({"B_": "04" + "11" * 32}, "compressed"),
        ({"B_": " " * 66}, "hex digits"),
        ({"B_": None}, "hex digits"),
    ],
)
def test_an_output_with_a_wrong_field_is_malformed(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        BlindedMessage.from_json({"amount": 1, "id": ID, "B_": POINT} | change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"secret": ""}, "empty"),
        ({"secret": "s" * 1025}, "longer"),
        ({"secret": "\ud800"}, "Unicode"),
        ({"secret": 5}, "not a string"),
        ({"witness": []}, "not a string"),
        ({"witness": {"signatures": ["00" * 64] * 20}}, "longer"),
        ({"dleq": []}, "not an object"),
        ({"dleq": {"e": "00" * 32, "s": "zz" * 32}}, "dleq s"),
    ],
)
def test_a_proof_with_a_wrong_field_is_malformed(change: dict[str, Any], reason: str) -> None:
    good = {"amount": 1, "id": ID, "secret": "s", "C": POINT}
    assert Proof.from_json(good).signature.hex() == POINT
    with pytest.raises(MalformedError, match=reason):
        Proof.from_json(good | change)


def test_a_mint_does_not_look_at_the_dleq_of_an_input_and_an_empty_witness_is_none() -> None:
    value = {"amount": 1, "id": ID, "secret": "s", "C": POINT, "dleq": "nonsense", "witness": ""}
    proof = Proof.from_json(value, with_dleq=False)
    assert proof.dleq is None
    assert proof.witness is None


def test_hex_is_read_in_either_case_and_kept_in_lower_case() -> None:
    output = BlindedMessage.from_json({"amount": 1, "id": ID.upper(), "B_": POINT.upper()})
    assert output == BlindedMessage(1, ID, bytes.fromhex(POINT))


def test_secrets_do_not_show_in_a_representation() -> None:
    witness = Witness((), b"\x42" * 32)
    dleq = Dleq(bytes(32), bytes(32), b"\x42" * 32)
    proof = Proof(1, ID, "hunter2", bytes.fromhex(POINT), witness.to_text(), dleq)
    assert "hunter2" not in repr(proof)
    for shown in (repr(proof), repr(witness)):
        assert "B" * 3 not in shown
        assert "4242" not in shown


def test_a_witness_that_a_wallet_sent_as_an_object_becomes_its_text() -> None:
    good = {"amount": 1, "id": ID, "secret": "s", "C": POINT}
    assert Proof.from_json(good | {"witness": {"signatures": ["ab"]}}).witness == '{"signatures":["ab"]}'
    assert Proof.from_json(good | {"witness": ""}).witness is None
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    with pytest.raises(MalformedError, match="nested"):
        Proof.from_json(good | {"witness": deep})
