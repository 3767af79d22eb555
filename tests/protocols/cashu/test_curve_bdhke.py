import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.bitcoin.secp256k1 import ORDER, public_key
from protocols.cashu import bdhke
from protocols.cashu.curve import hash_to_curve, secret_point
from protocols.cashu.errors import MalformedError

NUT00: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/cashu/nut00.json").read_text())
NOT_ON_THE_CURVE = b"\x02" + b"\xff" * 32
scalars = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))


@pytest.mark.parametrize("case", NUT00["hash_to_curve"])
def test_a_message_maps_to_the_point_of_the_specification(case: dict[str, str]) -> None:
    assert hash_to_curve(bytes.fromhex(case["message_hex"])).hex() == case["point"]


@pytest.mark.parametrize("case", NUT00["blinded_messages"])
def test_a_secret_is_blinded_as_in_the_specification(case: dict[str, str]) -> None:
    point = hash_to_curve(bytes.fromhex(case["x_hex"]))
    assert bdhke.blind_point(point, bytes.fromhex(case["r"])).hex() == case["B_"]


@pytest.mark.parametrize("case", NUT00["blind_signatures"])
def test_a_blinded_message_is_signed_as_in_the_specification(case: dict[str, str]) -> None:
    assert bdhke.sign(bytes.fromhex(case["k"]), bytes.fromhex(case["B_"])).hex() == case["C_"]


@settings(max_examples=40, deadline=None)
@given(st.text(min_size=1, max_size=80), scalars, scalars)
@example("secret", bytes(31) + b"\x02", bytes(31) + b"\x03")
def test_what_is_blinded_signed_and_unblinded_verifies_with_the_mint_key(
    secret: str, r: bytes, k: bytes
) -> None:
    signature = bdhke.unblind(bdhke.sign(k, bdhke.blind(secret, r)), r, public_key(k))
    assert bdhke.verify(k, secret, signature)
    assert not bdhke.verify(k, secret + "x", signature)


def test_a_secret_is_hashed_as_text_and_never_decoded() -> None:
    assert secret_point("00" * 32) != hash_to_curve(bytes(32))
    assert secret_point("00" * 32) == hash_to_curve(b"00" * 32)


def test_points_off_the_curve_are_refused_before_anything_is_signed() -> None:
    one = (1).to_bytes(32, "big")
    with pytest.raises(MalformedError, match="B_"):
        bdhke.sign(one, NOT_ON_THE_CURVE)
    with pytest.raises(MalformedError, match="Y"):
        bdhke.blind_point(NOT_ON_THE_CURVE, one)
    with pytest.raises(MalformedError, match="C_ or K"):
        bdhke.unblind(NOT_ON_THE_CURVE, one, public_key(one))
