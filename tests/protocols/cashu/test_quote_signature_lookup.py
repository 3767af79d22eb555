import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import lookup, quote_signature
from protocols.cashu.errors import BatchTooLargeError, CashuError, MalformedError, SignatureError
from protocols.cashu.lookup import LookupRequest
from protocols.cashu.models import BlindedMessage

VECTORS = Path(__file__).parents[2] / "vectors/cashu"
NUT20: dict[str, Any] = json.loads((VECTORS / "nut20.json").read_text())
LEGACY: dict[str, Any] = json.loads((VECTORS / "nut20_legacy.json").read_text())
NUT29: dict[str, Any] = json.loads((VECTORS / "nut29.json").read_text())
SECRET = (1).to_bytes(32, "big")
MINT_KEY = public_key((2).to_bytes(32, "big"))
NOW = 1_700_000_000


def _outputs(items: list[Any]) -> list[BlindedMessage]:
    return [BlindedMessage.from_json(item) for item in items]


def test_the_amended_message_and_its_signature_are_those_of_the_specification() -> None:
    request = NUT20["valid"]["request"]
    outputs = _outputs(request["outputs"])
    assert (
        quote_signature.amended_message(request["quote"], outputs).hex() == NUT20["valid"]["msg_to_sign_hex"]
    )
    assert quote_signature.message_hash(request["quote"], outputs).hex() == NUT20["valid"]["sha256"]
    signature = bytes.fromhex(request["signature"])
    assert quote_signature.verify(
        bytes.fromhex(NUT20["valid"]["pubkey"]), request["quote"], outputs, signature
    )


@pytest.mark.parametrize(("case", "valid"), [("valid", True), ("invalid", False)])
def test_the_legacy_signatures_of_the_specification_are_judged_as_it_says(case: str, valid: bool) -> None:
    request = LEGACY[case]
    outputs = _outputs(request["outputs"])
    key, signature = bytes.fromhex(LEGACY["pubkey"]), bytes.fromhex(request["signature"])
    assert quote_signature.legacy_message(request["quote"], outputs).hex() == LEGACY["msg_to_sign_hex"]
    assert quote_signature.verify(key, request["quote"], outputs, signature) is valid


@pytest.mark.parametrize("case", NUT29["nut20_ordering"], ids=lambda case: str(case["name"]))
def test_the_batch_signatures_of_the_specification_are_judged_as_its_corrections_say(
    case: dict[str, Any],
) -> None:
    request = case["request"]
    outputs = _outputs(request["outputs"])
    key, signature = bytes.fromhex(case["pubkey"]), bytes.fromhex(request["signatures"][0])
    valid = case["expect"] == "valid"
    assert quote_signature.verify(key, request["quotes"][0], outputs, signature) is valid
    hashes = {
        "amended": quote_signature.message_hash(request["quotes"][0], outputs).hex(),
        "legacy": quote_signature.legacy_message_hash(request["quotes"][0], outputs).hex(),
    }
    assert hashes.get(case["message"], case["msg_hash"]) == case["msg_hash"]


@settings(max_examples=30, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
    st.lists(st.integers(0, 2**64 - 1), max_size=3),
)
@example("quote", [1, 2])
def test_both_forms_verify_and_neither_covers_another_quote(quote: str, amounts: list[int]) -> None:
    outputs = [BlindedMessage(amount, "00" * 8, MINT_KEY) for amount in amounts]
    for sign in (quote_signature.sign, quote_signature.sign_legacy):
        signature = sign(SECRET, quote, outputs, bytes(32))
        assert quote_signature.verify(public_key(SECRET), quote, outputs, signature)
        assert not quote_signature.verify(public_key(SECRET), quote + "x", outputs, signature)


def _request(**changes: Any) -> dict[str, Any]:
    keys = [public_key(SECRET), MINT_KEY]
    secrets = [SECRET, (2).to_bytes(32, "big")]
    signatures = [
        lookup.sign(secret, MINT_KEY, key, NOW, bytes(32)).hex()
        for secret, key in zip(secrets, keys, strict=True)
    ]
    return {
        "pubkeys": [key.hex() for key in keys],
        "pubkey_signatures": signatures,
        "timestamp": NOW,
    } | changes


def test_the_look_up_text_is_mint_key_asked_key_and_decimal_time() -> None:
    text = "Cashu_MintQuoteLookup_v1" + MINT_KEY.hex() + public_key(SECRET).hex() + "1700000000"
    assert lookup.lookup_hash(MINT_KEY, public_key(SECRET), NOW) == sha256(text.encode())


def test_a_look_up_signed_by_every_key_passes() -> None:
    request = LookupRequest.from_json(
        _request(limit=5, cursor="abc", only_mintable=True), now=NOW + 300, max_keys=2
    )
    request.verify(MINT_KEY)
    assert (request.limit, request.cursor, request.only_mintable) == (5, "abc", True)


def test_a_look_up_needs_the_signature_of_every_key() -> None:
    body = _request()
    body["pubkey_signatures"][1] = body["pubkey_signatures"][0]
    with pytest.raises(SignatureError, match="does not verify"):
        LookupRequest.from_json(body, now=NOW, max_keys=2).verify(MINT_KEY)


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        ({"timestamp": None}, SignatureError, "no timestamp"),
        ({"timestamp": True}, SignatureError, "integer"),
        ({"timestamp": -1}, SignatureError, "integer"),
        ({"timestamp": 1.5}, SignatureError, "integer"),
        ({"timestamp": NOW - 301}, SignatureError, "300 s"),
        ({"timestamp": NOW + 301}, SignatureError, "300 s"),
        ({"pubkeys": []}, MalformedError, "at least one"),
        ({"pubkey_signatures": []}, MalformedError, "one signature a key"),
        ({"pubkey_signatures": ["00"] * 2}, MalformedError, "hex digits"),
        ({"pubkeys": [MINT_KEY.hex()] * 2}, BatchTooLargeError, "twice"),
        ({"pubkeys": [MINT_KEY.hex()] * 3, "pubkey_signatures": [""] * 3}, BatchTooLargeError, "at most 2"),
        ({"limit": 0}, MalformedError, "limit"),
        ({"limit": True}, MalformedError, "limit"),
        ({"limit": "5"}, MalformedError, "limit"),
        ({"cursor": 5}, MalformedError, "cursor"),
        ({"only_mintable": 1}, MalformedError, "only_mintable"),
    ],
)
def test_a_wrong_look_up_says_what_is_wrong(
    change: dict[str, Any], error: type[CashuError], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        LookupRequest.from_json(_request(**change), now=NOW, max_keys=2)
