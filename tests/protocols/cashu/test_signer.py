"""The curve work of a request, by the native kernel and by Python alike."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.secp256k1 import ORDER, multiply_secret, public_key, public_key_whole
from protocols.cashu import bdhke, dleq
from protocols.cashu.curve import secret_point
from protocols.cashu.models import Dleq
from protocols.cashu.signer import PythonSigner, Signer
from tests.native_kernel import native_signer

NUT12: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/cashu/nut12.json").read_text())
KEY = (7).to_bytes(32, "big")
OFF_THE_CURVE = b"\x02" + b"\xff" * 32
scalars = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


@pytest.fixture(params=["native", "python"])
def signer(request: pytest.FixtureRequest) -> Signer:
    return native_signer() if request.param == "native" else PythonSigner()


@pytest.mark.parametrize("case", NUT12["deterministic_nonce"])
def test_signature_and_proof_are_those_of_the_specification(signer: Signer, case: dict[str, str]) -> None:
    private, blinded = bytes.fromhex(case["a"]), bytes.fromhex(case["B_"])
    (signed,) = signer.sign([(private, public_key_whole(private), blinded)])
    assert signed is not None
    assert [part.hex() for part in signed] == [case["C_"], case["e"], case["s"]]


def test_each_job_has_its_own_answer_in_its_place(signer: Signer) -> None:
    blinded = [bdhke.blind(text, KEY) for text in "abc"]
    jobs = [(KEY, public_key_whole(KEY), each) for each in (blinded[0], OFF_THE_CURVE, *blinded[1:])]
    answers = signer.sign(jobs)
    assert answers[1] is None
    for answer, each in zip([answers[0], *answers[2:]], blinded, strict=True):
        assert answer is not None
        assert dleq.verify(public_key(KEY), each, answer[0], Dleq(*answer[1:]))
    assert signer.sign([]) == []


def test_a_signature_of_the_mint_gives_its_y_and_any_other_none(signer: Signer) -> None:
    good = multiply_secret(secret_point("text"), KEY)
    jobs = [(KEY, b"text", good), (KEY, b"other", good), (KEY, b"text", OFF_THE_CURVE), (KEY, b"text", good)]
    assert signer.verify(jobs) == [secret_point("text"), None, None, secret_point("text")]
    assert signer.verify([]) == []


@settings(max_examples=60, deadline=None)
@given(scalars, scalars, st.text(max_size=200), st.booleans())
def test_the_kernel_gives_what_python_gives(private: bytes, blinding: bytes, text: str, damage: bool) -> None:
    native, python = native_signer(), PythonSigner()
    signing = [(private, public_key_whole(private), bdhke.blind(text, blinding))]
    assert native.sign(signing) == python.sign(signing)
    signature = multiply_secret(secret_point(text), blinding if damage else private)
    checking = [(private, text.encode(), signature)]
    assert native.verify(checking) == python.verify(checking)
