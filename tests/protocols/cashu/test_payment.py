from dataclasses import replace
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.errors import MalformedError
from protocols.cashu.models import Proof
from protocols.cashu.payment import LockRequest, Payload, PaymentRequest

POINT = public_key(b"\x01" * 32)
PROOFS = (Proof(2, "00" * 8, "secret", POINT), Proof(8, "00" * 8, "other", POINT))
PAYLOAD = Payload("https://mint.example", "sat", PROOFS, "id", "thanks")


def test_a_payload_survives_its_text() -> None:
    assert PAYLOAD.amount == 10
    assert Payload.from_json(PAYLOAD.to_json()) == PAYLOAD
    bare = replace(PAYLOAD, payment_id=None, memo=None)
    assert set(bare.to_json()) == {"mint", "unit", "proofs"}
    assert Payload.from_json(bare.to_json()) == bare
    assert Payload.from_json(PAYLOAD.to_json() | {"mint": "https://mint.example/", "unit": "SAT"}) == PAYLOAD


@pytest.mark.parametrize("change", [{"proofs": []}, {"mint": 5}, {"unit": None}, {"id": 5}, {"proofs": [{}]}])
def test_a_payload_with_a_wrong_field_is_malformed(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        Payload.from_json(PAYLOAD.to_json() | change)


LOCK = LockRequest("P2PK", POINT.hex(), (("locktime", "1900000000"), ("refund", POINT.hex())))


def test_a_payment_is_what_was_asked_for_or_the_text_says_what_it_is_not() -> None:
    PaymentRequest().check(PAYLOAD)
    request = PaymentRequest("id", 10, "SAT", mints=("https://other", "https://mint.example/"))
    request.check(PAYLOAD)
    wrong = {
        "another request": replace(request, payment_id="other"),
        "not asked for": replace(request, mints=("https://other",)),
        "another unit": replace(request, unit="usd"),
        "10 instead of 11": replace(request, amount=11),
        "condition": replace(request, lock=LOCK),
    }
    for reason, refusing in wrong.items():
        with pytest.raises(MalformedError, match=reason):
            refusing.check(PAYLOAD)


def test_the_condition_of_a_request_becomes_the_secret_of_each_proof() -> None:
    proof = replace(PROOFS[0], secret=LOCK.secret(bytes(32)))
    reordered = replace(LOCK, tags=LOCK.tags[::-1])
    PaymentRequest(lock=reordered).check(replace(PAYLOAD, proofs=(proof,)))
    with pytest.raises(MalformedError):
        PaymentRequest(lock=LOCK).check(replace(PAYLOAD, proofs=(proof, PROOFS[1])))
    assert not replace(LOCK, kind="HTLC").is_met_by(proof)


def test_a_condition_that_nobody_could_meet_is_not_made() -> None:
    with pytest.raises(MalformedError):
        LockRequest("P2PK", "no key").secret(bytes(32))
    assert "OTHER" in LockRequest("OTHER", "no key").secret(bytes(32))
