import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key, schnorr_sign
from protocols.cashu import p2pk
from protocols.cashu.condition import Condition
from protocols.cashu.errors import SignatureError, TooManyInputsError
from protocols.cashu.models import BlindedMessage, Proof
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.witness import Witness

NUT11: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/cashu/nut11.json").read_text())
NOW = 1_760_000_000
KEYS = [number.to_bytes(32, "big") for number in range(1, 13)]
PUBLIC = [public_key(key).hex() for key in KEYS]
AUX = bytes(32)
PREIMAGE = b"\x07" * 32
OUTPUT = BlindedMessage(1, "00" * 8, bytes.fromhex(PUBLIC[0]))


def _secret(*tags: list[str], kind: str = "P2PK", data: str = PUBLIC[0]) -> str:
    return ConditionSecret(kind, "nonce", data, tuple(tuple(tag) for tag in tags)).to_text()


def _proof(secret: str, *signers: int, preimage: bytes | None = None, message: bytes | None = None) -> Proof:
    signed = message or p2pk.input_hash(secret)
    signatures = tuple(schnorr_sign(KEYS[signer], signed, AUX) for signer in signers)
    witness = Witness(signatures, preimage).to_text() if signers or preimage else None
    return Proof(1, "00" * 8, secret, bytes.fromhex(PUBLIC[0]), witness)


def _check(*proofs: Proof) -> None:
    p2pk.check_inputs(proofs, [OUTPUT], NOW)


def _verdict(request: dict[str, Any], expect: str) -> None:
    inputs = [Proof.from_json(item) for item in request["inputs"]]
    outputs = [BlindedMessage.from_json(item) for item in request["outputs"]]
    if expect == "valid":
        p2pk.check_inputs(inputs, outputs, NOW, request.get("quote", ""))
    else:
        with pytest.raises(SignatureError):
            p2pk.check_inputs(inputs, outputs, NOW, request.get("quote", ""))


@pytest.mark.parametrize(
    "case", [case for case in NUT11["proofs"] if case["expect"]], ids=lambda case: str(case["name"])
)
def test_the_proofs_of_the_specification_are_judged_as_it_says(case: dict[str, Any]) -> None:
    _verdict({"inputs": [case["proof"]], "outputs": []}, case["expect"])


def test_the_unsigned_template_of_the_specification_is_open_after_its_locktime_to_refund_keys_only() -> None:
    template = next(case for case in NUT11["proofs"] if case["expect"] is None)
    with pytest.raises(SignatureError, match="no witness for p2pk signature"):
        _check(Proof.from_json(template["proof"]))


@pytest.mark.parametrize("case", NUT11["swaps"] + NUT11["melts"], ids=lambda case: str(case["name"]))
def test_the_swaps_and_melts_of_the_specification_are_judged_as_it_says(case: dict[str, Any]) -> None:
    _verdict(case["request"], case["expect"])


@pytest.mark.parametrize("case", NUT11["sig_all_messages"], ids=lambda case: str(case["request"]))
def test_the_message_for_all_inputs_is_that_of_the_specification(case: dict[str, str]) -> None:
    request = next(
        item["request"] for item in NUT11["swaps"] + NUT11["melts"] if item["name"] == case["request"]
    )
    text = p2pk.all_message(
        [Proof.from_json(item) for item in request["inputs"]],
        [BlindedMessage.from_json(item) for item in request["outputs"]],
        request.get("quote", ""),
    )
    assert text == case["msg_to_sign"]
    assert sha256(text.encode()).hex() == case["sha256"]


def test_an_ordinary_secret_and_one_of_an_unknown_kind_need_no_witness() -> None:
    _check(_proof("plain"), _proof(_secret(kind="OTHER")))


def test_a_lock_needs_the_signature_of_its_key() -> None:
    secret = _secret()
    _check(_proof(secret, 0))
    assert p2pk.sign_input(KEYS[0], secret, AUX).hex() in (_proof(secret, 0).witness or "")
    with pytest.raises(SignatureError, match=r"witness.*p2pk.*signature"):
        _check(_proof(secret))
    with pytest.raises(SignatureError, match="too few"):
        _check(_proof(secret, 1))


def test_what_counts_is_distinct_keys_and_not_signatures() -> None:
    secret = _secret(["pubkeys", PUBLIC[1], PUBLIC[2]], ["n_sigs", "2"])
    _check(_proof(secret, 2, 1))
    with pytest.raises(SignatureError, match="too few"):
        _check(_proof(secret, 1, 1))


def test_the_paths_do_not_mix_and_the_refund_path_opens_after_the_locktime() -> None:
    for locktime, open_to_refund in ((NOW - 1, True), (NOW, False)):
        secret = _secret(
            ["pubkeys", PUBLIC[1]], ["n_sigs", "2"], ["locktime", str(locktime)], ["refund", PUBLIC[2]]
        )
        _check(_proof(secret, 0, 1))
        with pytest.raises(SignatureError):
            _check(_proof(secret, 1))
        if open_to_refund:
            _check(_proof(secret, 2))
        else:
            with pytest.raises(SignatureError):
                _check(_proof(secret, 2))


def test_two_refund_keys_can_be_demanded() -> None:
    secret = _secret(["locktime", "1"], ["refund", PUBLIC[1], PUBLIC[2]], ["n_sigs_refund", "2"])
    _check(_proof(secret, 1, 2))
    with pytest.raises(SignatureError):
        _check(_proof(secret, 0 + 1))


def test_after_the_locktime_without_refund_keys_anybody_spends() -> None:
    _check(_proof(_secret(["locktime", "5"])))


@pytest.mark.parametrize(
    "locktime",
    [["locktime", "0"], ["locktime", "soon"], ["locktime", "-1"], ["locktime", "1", "2"], ["locktime"]],
)
def test_a_locktime_that_is_no_number_never_comes(locktime: list[str]) -> None:
    with pytest.raises(SignatureError):
        _check(_proof(_secret(locktime)))


@pytest.mark.parametrize(
    ("tags", "data", "reason"),
    [
        ([["sigflag", "SIG_NONE"]], PUBLIC[0], "sigflag"),
        ([["sigflag", "SIG_ALL", "x"]], PUBLIC[0], "sigflag"),
        ([["n_sigs", "0"]], PUBLIC[0], "number of signatures"),
        ([["n_sigs", "2"]], PUBLIC[0], "number of signatures"),
        ([["n_sigs", "one"]], PUBLIC[0], "number of signatures"),
        ([["n_sigs_refund", "1"]], PUBLIC[0], "number of signatures"),
        ([["n_sigs", "1"], ["n_sigs", "1"]], PUBLIC[0], "twice"),
        ([["pubkeys", PUBLIC[0]]], PUBLIC[0], "key twice"),
        ([["pubkeys", "03" + PUBLIC[0][2:].upper()]], PUBLIC[0], "key twice"),
        ([["refund", PUBLIC[1], PUBLIC[1]]], PUBLIC[0], "key twice"),
        ([["pubkeys", *PUBLIC[1:8]], ["refund", *PUBLIC[8:12]]], PUBLIC[0], "more than 11"),
        ([["pubkeys", "key"]], PUBLIC[0], "hex digits"),
        ([], "zz", "hex digits"),
    ],
)
def test_a_malformed_condition_can_never_be_spent(tags: list[list[str]], data: str, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        _check(_proof(_secret(*tags, ["locktime", "1"], data=data), 0))


def test_unknown_tags_are_ignored() -> None:
    _check(_proof(_secret(["colour", "blue"], ["colour", "red"]), 0))


def test_a_hash_lock_needs_its_preimage_and_the_signatures_of_its_keys() -> None:
    digest = sha256(PREIMAGE).hex()
    _check(_proof(_secret(kind="HTLC", data=digest), preimage=PREIMAGE))
    locked = _secret(["pubkeys", PUBLIC[1]], kind="HTLC", data=digest)
    _check(_proof(locked, 1, preimage=PREIMAGE))
    with pytest.raises(SignatureError, match="too few"):
        _check(_proof(locked, preimage=PREIMAGE))
    with pytest.raises(SignatureError, match="preimage"):
        _check(_proof(locked, 1))
    with pytest.raises(SignatureError, match="not that of the hash"):
        _check(_proof(locked, 1, preimage=bytes(32)))


def test_with_sig_all_one_signature_covers_every_input_and_output() -> None:
    secrets = [
        ConditionSecret("P2PK", nonce, PUBLIC[0], (("sigflag", "SIG_ALL"),)).to_text() for nonce in ("a", "b")
    ]
    unsigned = [_proof(secret) for secret in secrets]
    message = sha256(p2pk.all_message(unsigned, [OUTPUT]).encode())
    signed = _proof(secrets[0], 0, message=message)
    p2pk.check_inputs([signed, unsigned[1]], [OUTPUT], NOW)
    with pytest.raises(SignatureError):
        p2pk.check_inputs([signed, unsigned[1]], [replace(OUTPUT, amount=2)], NOW)
    with pytest.raises(SignatureError, match="same condition"):
        p2pk.check_inputs([signed, _proof("plain")], [OUTPUT], NOW)


@pytest.mark.parametrize(
    ("witness", "reason"),
    [
        ("{", "not JSON"),
        ("[" * 2000, "not JSON"),
        ("[]", "malformed"),
        ('{"signatures":5}', "malformed"),
        ('{"signatures":["00"]}', "malformed"),
        (json.dumps({"signatures": ["00" * 64] * 12}), "more than 11"),
        ('{"preimage":"00"}', "malformed"),
        ("{}", "no witness for p2pk"),
    ],
)
def test_a_malformed_witness_opens_nothing(witness: str, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        _check(replace(_proof(_secret()), witness=witness))


def test_a_request_cannot_ask_for_endless_signature_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(p2pk, "VERIFICATION_LIMIT", 3)
    secret = _secret()
    _check(*[_proof(secret, 0)] * 3)
    with pytest.raises(TooManyInputsError):
        _check(*[_proof(secret, 0)] * 4)


@pytest.mark.parametrize(
    "secret",
    ["[", "[1]", '["P2PK"]', '["P2PK",{}]', '["P2PK",{"nonce":"n","data":5}]', "[" * 100_000, '{"P2PK":1}',
     '["P2PK",{"nonce":"n","data":"d","tags":5}]', '["P2PK",{"nonce":"n","data":"d","tags":[[]]}]',
     '["P2PK",{"nonce":"n","data":"d","tags":[["a",5]]}]', '["P2PK",{"nonce":"n","data":"d","tags":["ab"]}]',
     '["P2PK",{"nonce":"n","data":"d","tags":[["a",""]]}]', '["P2PK",{"nonce":"n","data":"d"},1]'],
)  # fmt: skip
def test_a_secret_that_is_no_condition_is_ordinary(secret: str) -> None:
    assert ConditionSecret.parse(secret) is None


def test_a_condition_without_tags_is_one() -> None:
    parsed = ConditionSecret.parse(' ["P2PK",{"nonce":"n","data":"d"}]')
    assert parsed == ConditionSecret("P2PK", "n", "d")


texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(
    texts, texts, texts, st.lists(st.lists(texts, min_size=1, max_size=3).map(tuple), max_size=4).map(tuple)
)
def test_a_condition_survives_its_text(
    kind: str, nonce: str, data: str, tags: tuple[tuple[str, ...], ...]
) -> None:
    secret = ConditionSecret(kind, nonce, data, tags)
    assert ConditionSecret.parse(secret.to_text()) == secret


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["P2PK", "HTLC"]),
    st.sampled_from([PUBLIC[0], "00" * 32, "x"]),
    st.lists(
        st.lists(
            st.sampled_from(
                ["sigflag", "SIG_ALL", "pubkeys", "n_sigs", "locktime", "refund", "1", "99", *PUBLIC[:3]]
            ),
            min_size=1,
            max_size=4,
        ).map(tuple),
        max_size=4,
    ).map(tuple),
    st.none() | st.text(max_size=30) | st.just('{"signatures":[]}'),
)
def test_no_condition_and_no_witness_raise_anything_but_a_signature_error(
    kind: str, data: str, tags: tuple[tuple[str, ...], ...], witness: str | None
) -> None:
    secret = ConditionSecret(kind, "n", data, tags)
    try:
        Condition.parse(secret)
        _check(replace(_proof(secret.to_text()), witness=witness))
    except SignatureError:
        pass
