import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.secp256k1 import ORDER, public_key, public_key_whole
from protocols.cashu import bdhke, dleq
from protocols.cashu.errors import MalformedError
from protocols.cashu.models import BlindSignature, Dleq, Proof

NUT12: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/cashu/nut12.json").read_text())
KEY = (7).to_bytes(32, "big")
BLINDING = (9).to_bytes(32, "big")
scalars = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


def _proof() -> Proof:
    blinded = bdhke.blind("secret", BLINDING)
    signature = bdhke.sign(KEY, blinded)
    proof = dleq.prove(KEY, public_key(KEY), blinded, signature)
    unblinded = bdhke.unblind(signature, BLINDING, public_key(KEY))
    return Proof(1, "00" * 8, "secret", unblinded, dleq=replace(proof, blinding=BLINDING))


@pytest.mark.parametrize("case", NUT12["hash_e"])
def test_the_challenge_is_that_of_the_specification(case: dict[str, str]) -> None:
    points = (bytes.fromhex(case[name]) for name in ("R1", "R2", "K", "C_"))
    assert dleq.challenge(*points).hex() == case["e"]


@pytest.mark.parametrize("case", NUT12["deterministic_nonce"])
def test_the_proof_with_the_deterministic_nonce_is_that_of_the_specification(case: dict[str, str]) -> None:
    made = dleq.prove(*(bytes.fromhex(case[name]) for name in ("a", "A", "B_", "C_")))
    assert (made.e.hex(), made.s.hex()) == (case["e"], case["s"])


@pytest.mark.parametrize("case", NUT12["blind_signature"])
def test_the_blind_signature_of_the_specification_verifies(case: dict[str, Any]) -> None:
    signature = BlindSignature.from_json(case["signature"])
    assert signature.dleq is not None
    key, blinded = bytes.fromhex(case["A"]), bytes.fromhex(case["B_"])
    assert dleq.verify(key, blinded, signature.signature, signature.dleq)


@pytest.mark.parametrize("case", NUT12["proof"])
def test_the_proof_of_the_specification_verifies_for_a_third_party(case: dict[str, Any]) -> None:
    assert dleq.verify_proof(bytes.fromhex(case["A"]), Proof.from_json(case["proof"]))


@settings(max_examples=30, deadline=None)
@given(scalars, scalars)
def test_every_signature_proves_its_key_and_no_other(private: bytes, blinding: bytes) -> None:
    blinded = bdhke.blind("text", blinding)
    signature = bdhke.sign(private, blinded)
    made = dleq.prove(private, public_key(private), blinded, signature)
    assert dleq.sign(private, public_key_whole(private), blinded) == (signature, made)
    assert dleq.verify(public_key(private), blinded, signature, made)
    assert not dleq.verify(public_key(KEY), blinded, signature, made) or private == KEY
    assert not dleq.verify(public_key(private), signature, blinded, made) or signature == blinded


def test_a_proof_without_its_blinding_factor_proves_nothing_to_others() -> None:
    proof = _proof()
    assert dleq.verify_proof(public_key(KEY), proof)
    assert not dleq.verify_proof(public_key(KEY), replace(proof, dleq=None))
    assert proof.dleq is not None
    assert not dleq.verify_proof(public_key(KEY), replace(proof, dleq=replace(proof.dleq, blinding=None)))


def test_scalars_and_points_out_of_range_verify_nothing() -> None:
    proof = _proof()
    off_curve = b"\x02" + b"\xff" * 32
    assert not dleq.verify_proof(public_key(KEY), replace(proof, signature=off_curve))
    assert not dleq.verify(public_key(KEY), off_curve, off_curve, Dleq(b"\x01" * 32, b"\x01" * 32))
    assert not dleq.verify(public_key(KEY), public_key(KEY), public_key(KEY), Dleq(bytes(32), b"\x01" * 32))
    assert not dleq.verify(
        public_key(KEY), public_key(KEY), public_key(KEY), Dleq(b"\x01" * 32, b"\xff" * 32)
    )


def test_a_nonce_that_is_no_scalar_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter((False, True))
    second = dleq.nonce(KEY, public_key(KEY), public_key(KEY), public_key(KEY), counter=1)
    monkeypatch.setattr(dleq, "is_secret", lambda _: next(answers))
    assert dleq.nonce(KEY, public_key(KEY), public_key(KEY), public_key(KEY)) == second


def test_a_blinded_message_off_the_curve_is_not_signed() -> None:
    with pytest.raises(MalformedError):
        dleq.sign(KEY, public_key_whole(KEY), b"\x02" + b"\xff" * 32)
