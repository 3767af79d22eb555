import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.cashu import token as tokens
from protocols.cashu.errors import CashuError, KeysetUnknownError, MalformedError
from protocols.cashu.models import Dleq, Proof
from protocols.cashu.token import Token

NUT00: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/cashu/nut00.json").read_text())
POINT = b"\x02" + b"\x11" * 32
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
scalars = st.binary(min_size=32, max_size=32)
proofs = st.builds(
    Proof,
    st.integers(0, 2**64 - 1),
    st.binary(min_size=8, max_size=8).map(bytes.hex),
    texts,
    st.just(POINT),
    st.none() | texts,
    st.none() | st.builds(Dleq, scalars, scalars, scalars),
    st.none() | st.just(POINT),
)
some_tokens = st.builds(
    Token,
    st.just("https://mint.example"),
    st.lists(proofs, min_size=1, max_size=4).map(tuple),
    st.just("sat"),
    st.none() | texts,
)


def _from_v3(value: dict[str, Any]) -> Token:
    entry = value["token"][0]
    return Token(
        entry["mint"],
        tuple(Proof.from_json(p) for p in entry["proofs"]),
        value.get("unit"),
        value.get("memo"),
    )


def _from_v4(value: dict[str, Any]) -> Token:
    found = tuple(
        Proof(p["a"], group["i"], p["s"], bytes.fromhex(p["c"])) for group in value["t"] for p in group["p"]
    )
    return Token(value["m"], found, value["u"], value.get("d"))


@pytest.mark.parametrize("case", NUT00["token_v3"]["serialize"])
def test_a_version_3_token_is_written_and_read_as_in_the_specification(case: dict[str, Any]) -> None:
    token = _from_v3(case["token"])
    assert tokens.encode_v3(token).rstrip("=") == case["encoded"].rstrip("=")
    assert tokens.decode(case["encoded"]) == token


@pytest.mark.parametrize("case", NUT00["token_v3"]["deserialize_valid"])
def test_a_version_3_token_is_read_with_or_without_padding(case: dict[str, str]) -> None:
    assert tokens.decode(case["encoded"]).amount == 10


@pytest.mark.parametrize("case", NUT00["token_v3"]["deserialize_invalid"])
def test_a_token_with_a_wrong_prefix_is_malformed(case: dict[str, str]) -> None:
    with pytest.raises(MalformedError, match="cashuA or cashuB"):
        tokens.decode(case["encoded"])


@pytest.mark.parametrize("case", NUT00["token_v4"], ids=lambda case: str(case["name"]))
def test_a_version_4_token_is_written_and_read_as_in_the_specification(case: dict[str, Any]) -> None:
    token = _from_v4(case["token"])
    assert tokens.decode(case["encoded"]) == token
    assert tokens.encode_v4(token).rstrip("=") == case["encoded"].rstrip("=")


@pytest.mark.parametrize("case", NUT00["token_v4_raw"])
def test_a_raw_token_is_written_and_read_as_in_the_specification(case: dict[str, Any]) -> None:
    token = _from_v4(case["token"])
    assert tokens.decode_raw(bytes.fromhex(case["encoded_hex"])) == token
    assert tokens.encode_raw(token).hex() == case["encoded_hex"]


@settings(max_examples=100, deadline=None)
@given(some_tokens)
@example(
    Token(
        "https://mint.example",
        (
            Proof(1, "00" * 8, "bare", POINT),
            Proof(2, "00" * 8, "full", POINT, "witness", Dleq(bytes(32), bytes(32), bytes(32)), POINT),
        ),
        "sat",
        "memo",
    )
)
def test_a_token_survives_every_form(token: Token) -> None:
    assert tokens.decode(tokens.encode_v3(token)) == token
    assert tokens.decode("cashu:" + tokens.encode_v4(token)) == token
    assert tokens.decode_raw(tokens.encode_raw(token)) == token


def test_a_version_4_token_carries_short_ids_which_resolve_to_the_keyset_that_is_known() -> None:
    full, other = "01" + "ab" * 32, "01" + "cd" * 32
    token = Token("http://m", (Proof(1, full, "s", POINT),), "sat")
    read = tokens.decode(tokens.encode_v4(token))
    assert read.proofs[0].keyset_id == full[:16]
    assert read.with_full_ids([other, full]) == token
    with pytest.raises(KeysetUnknownError):
        read.with_full_ids([other])
    with pytest.raises(MalformedError, match="could be"):
        read.with_full_ids([full, full[:-1] + "0"])


def test_a_version_4_token_needs_a_unit() -> None:
    token = Token("http://m", (Proof(1, "00" * 8, "s", POINT),))
    assert tokens.decode(tokens.encode_v3(token)) == token
    with pytest.raises(MalformedError, match="unit"):
        tokens.encode_v4(token)


def test_a_dleq_without_its_blinding_factor_does_not_travel() -> None:
    proof = Proof(1, "00" * 8, "s", POINT, dleq=Dleq(bytes(32), bytes(32)))
    token = Token("http://m", (proof,), "sat")
    assert tokens.decode(tokens.encode_v4(token)).proofs == (replace(proof, dleq=None),)


@pytest.mark.parametrize("blinding", [{}, {"r": None}, {"r": b"\0"}])
def test_a_dleq_whose_blinding_factor_its_writer_did_not_know_is_read_without(
    blinding: dict[str, object],
) -> None:
    dleq = {"e": bytes(32), "s": bytes(32), **blinding}
    text = _v4({"t": [{"i": bytes(8), "p": [V4_PROOF | {"d": dleq}]}], "m": "m", "u": "sat"})
    assert tokens.decode(text).proofs[0].dleq == Dleq(bytes(32), bytes(32))


def _v3(body: object) -> str:
    return "cashuA" + base64.urlsafe_b64encode(json.dumps(body).encode()).decode()


def _v4(body: object) -> str:
    return "cashuB" + base64.urlsafe_b64encode(cbor2.dumps(body)).decode()


V3_PROOF = {"amount": 1, "id": "00" * 8, "secret": "s", "C": POINT.hex()}
V4_PROOF = {"a": 1, "s": "s", "c": POINT}
V4_ENTRY = {"i": bytes(8), "p": [V4_PROOF]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cashuA!", "base64"),
        ("cashuA\u00e9", "base64"),
        ("cashuAAAAA", "not JSON"),
        ("cashuA" + base64.urlsafe_b64encode(b"[" * 100_000).decode(), "not JSON"),
        (_v3([]), "not an object"),
        (_v3({"token": {}}), "not an array"),
        (_v3({"token": []}), "exactly one mint"),
        (_v3({"token": [{"mint": m, "proofs": [V3_PROOF]} for m in "ab"]}), "exactly one mint"),
        (_v3({"token": [{"mint": "m", "proofs": []}]}), "no proofs"),
        (_v3({"token": [{"mint": "m", "proofs": [V3_PROOF]}], "unit": 1}), "unit"),
        (_v3({"token": [{"mint": "m", "proofs": [V3_PROOF]}], "memo": 1}), "memo"),
        ("cashuB" + base64.urlsafe_b64encode(b"\xff").decode(), "not CBOR"),
        ("cashuB" + base64.urlsafe_b64encode(b"\x81" * 20).decode(), "not CBOR"),
        (_v4({"t": [V4_ENTRY], "m": "m"}), "no unit"),
        (_v4({"t": [], "m": "m", "u": "sat"}), "no proofs"),
        (_v4({"t": [{"i": "00", "p": []}], "m": "m", "u": "sat"}), "not bytes"),
        (_v4({"t": [{"i": b"0", "p": []}], "m": "m", "u": "sat"}), "16 or 66"),
        (_v4({"t": [{"i": bytes(8), "p": [V4_PROOF | {"c": POINT[1:]}]}], "m": "m", "u": "sat"}), "33 bytes"),
        (
            _v4({"t": [{"i": bytes(8), "p": [V4_PROOF | {"c": bytes(33)}]}], "m": "m", "u": "sat"}),
            "compressed",
        ),
        (_v4({"t": [{"i": bytes(8), "p": [V4_PROOF | {"d": {"e": 1}}]}], "m": "m", "u": "sat"}), "dleq e"),
        (
            _v4(
                {
                    "t": [
                        {"i": bytes(8), "p": [V4_PROOF | {"d": {"e": bytes(32), "s": bytes(32), "r": []}}]}
                    ],
                    "m": "m",
                    "u": "sat",
                }
            ),
            "dleq r",
        ),
        (_v4({"t": [{"i": bytes(8), "p": [V4_PROOF | {"pe": POINT[1:]}]}], "m": "m", "u": "sat"}), "pe"),
        (_v4({"t": [{"i": bytes(8), "p": [V4_PROOF | {"a": 1.5}]}], "m": "m", "u": "sat"}), "integer"),
        ("cashuA" + "A" * (4 << 20), "too long"),
    ],
    ids=range(24),
)
def test_a_token_that_cannot_be_read_is_malformed(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        tokens.decode(text)


def test_raw_bytes_without_their_prefix_are_malformed() -> None:
    with pytest.raises(MalformedError, match="crawB"):
        tokens.decode_raw(b"crawA")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
def test_no_bytes_make_a_token_parser_raise_anything_but_its_own_error(
    data: bytes, at: int, byte: int
) -> None:
    good = bytearray(tokens.encode_raw(Token("http://m", (Proof(1, "00" * 8, "s", POINT, "w"),), "sat")))
    good[at % len(good)] = byte
    for raw in (b"crawB" + data, bytes(good)):
        try:
            tokens.decode_raw(raw)
        except CashuError:
            pass
    for text in ("cashuA" + data.decode("latin1"), "cashuA" + base64.urlsafe_b64encode(data).decode()):
        try:
            tokens.decode(text)
        except CashuError:
            pass
