import json
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import ORDER, negate, public_key, secret_negate
from protocols.cashu import p2bk
from protocols.cashu.errors import MalformedError
from protocols.cashu.models import Proof
from protocols.cashu.token import Token, decode, encode_v3, encode_v4

NUT28: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/cashu/nut28.json").read_text())
SLOTS: list[dict[str, Any]] = NUT28["slots"]
EPHEMERAL = bytes.fromhex(NUT28["sender"]["e"])
EPHEMERAL_KEY = bytes.fromhex(NUT28["sender"]["E"])
SECRET = bytes.fromhex(NUT28["receiver"]["p"])
KEY = bytes.fromhex(NUT28["receiver"]["P"])
BLINDED = [bytes.fromhex(slot["blinded_pubkey"]) for slot in SLOTS]
OFF_CURVE = b"\x02" + b"\xff" * 32


def test_blinding_factors_are_those_of_the_specification() -> None:
    shared_x = bytes.fromhex(NUT28["Zx"])
    assert [p2bk.blinding(shared_x, slot["i"]).hex() for slot in SLOTS] == [slot["r"] for slot in SLOTS]


def test_a_sender_blinds_the_keys_of_all_slots_as_in_the_specification() -> None:
    assert public_key(EPHEMERAL) == EPHEMERAL_KEY
    assert list(p2bk.blind(EPHEMERAL, [KEY] * len(SLOTS))) == BLINDED
    assert list(p2bk.blind(EPHEMERAL, [KEY] * 2, 3)) == BLINDED[3:5]


def test_a_receiver_finds_the_secrets_that_the_specification_says_to_use() -> None:
    assert NUT28["derivation_to_use"] == "negated"
    assert public_key(SECRET) == bytes.fromhex(NUT28["natural_pubkey"]) == negate(KEY)
    found = p2bk.unblind_secrets(SECRET, EPHEMERAL_KEY, BLINDED)
    assert [key.hex() for key in found] == [slot["sk_neg"] for slot in SLOTS]
    assert [public_key(key)[1:] for key in found] == [key[1:] for key in BLINDED]


def test_a_receiver_whose_key_has_the_natural_parity_adds_the_factor_as_in_the_specification() -> None:
    blinded = p2bk.blind(EPHEMERAL, [KEY])
    assert blinded == p2bk.blind(EPHEMERAL, [KEY])
    (found,) = p2bk.unblind_secrets(secret_negate(SECRET), EPHEMERAL_KEY, blinded)
    assert public_key(found) == blinded[0]
    natural = p2bk.blind(EPHEMERAL, [negate(KEY)])
    (standard,) = p2bk.unblind_secrets(SECRET, EPHEMERAL_KEY, natural)
    assert standard.hex() == SLOTS[0]["sk_std"]


def test_keys_of_others_and_of_other_slots_are_passed_over() -> None:
    assert p2bk.unblind_secrets(b"\x05" * 32, EPHEMERAL_KEY, BLINDED) == []
    assert p2bk.unblind_secrets(SECRET, EPHEMERAL_KEY, BLINDED[1:]) == []
    mixed = [BLINDED[1], BLINDED[1], KEY]
    assert [key.hex() for key in p2bk.unblind_secrets(SECRET, EPHEMERAL_KEY, mixed)] == [SLOTS[1]["sk_neg"]]


def test_points_off_the_curve_are_malformed() -> None:
    with pytest.raises(MalformedError):
        p2bk.blind(EPHEMERAL, [OFF_CURVE])
    with pytest.raises(MalformedError):
        p2bk.unblind_secrets(SECRET, OFF_CURVE, BLINDED)
    with pytest.raises(MalformedError):
        p2bk.unblind_secrets(SECRET, EPHEMERAL_KEY, [OFF_CURVE])


def test_a_hash_that_is_no_scalar_is_made_again_once(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = []
    digests = [ORDER.to_bytes(32, "big"), b"\x01" * 32]

    def some_hash(message: bytes) -> bytes:
        messages.append(message)
        return digests.pop(0)

    monkeypatch.setattr(p2bk, "sha256", some_hash)
    assert p2bk.blinding(bytes(32), 10) == b"\x01" * 32
    assert messages == [b"Cashu_P2BK_v1" + bytes(32) + b"\x0a", b"Cashu_P2BK_v1" + bytes(32) + b"\x0a\xff"]
    digests += [bytes(32)] * 2
    with pytest.raises(MalformedError, match="another ephemeral key"):
        p2bk.blinding(bytes(32), 0)


def test_the_proof_of_the_specification_carries_its_ephemeral_key_in_every_form() -> None:
    proof = Proof.from_json(NUT28["proof"])
    assert proof.ephemeral_key == EPHEMERAL_KEY
    assert proof.to_json() == NUT28["proof"]
    token = Token("https://mint.example", (proof,), "sat")
    assert decode(encode_v4(token)) == token
    assert decode(encode_v3(token)) == token


def test_a_mint_is_not_told_of_the_ephemeral_key_and_does_not_read_it() -> None:
    proof = Proof.from_json(NUT28["proof"])
    assert set(proof.as_input().to_json()) == {"amount", "id", "secret", "C"}
    read = Proof.from_json(NUT28["proof"] | {"p2pk_e": 5, "dleq": 6}, with_dleq=False)
    assert read == proof.as_input()
