import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.bech32 import BECH32M, encode_bytes
from protocols.cashu import payment_request, payment_tlv
from protocols.cashu.errors import MalformedError
from protocols.cashu.nostr_name import NostrName
from protocols.cashu.payment import LockRequest, PaymentRequest, Transport

VECTORS = Path(__file__).parents[2] / "vectors/cashu"
NUT18: dict[str, Any] = json.loads((VECTORS / "nut18.json").read_text())
NUT26: dict[str, Any] = json.loads((VECTORS / "nut26.json").read_text())
KEY = b"\x07" * 32

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
tags = st.lists(st.lists(texts, min_size=1, max_size=3).map(tuple), max_size=3).map(tuple)
transports = st.builds(Transport, st.just("post"), texts, tags) | st.builds(
    Transport,
    st.just("nostr"),
    st.builds(NostrName, st.just(KEY), st.lists(texts, max_size=2).map(tuple)).map(NostrName.to_text),
    st.just((("n", "17"),)),
)
some_requests = st.builds(
    PaymentRequest,
    st.none() | texts,
    st.none() | st.integers(0, 2**64 - 1),
    st.sampled_from(["sat", "usd", "hash_02ab_0"]),
    st.none() | st.booleans(),
    st.lists(texts, max_size=2).map(tuple),
    st.none() | texts,
    st.lists(transports, max_size=2).map(tuple),
    st.none() | st.builds(LockRequest, st.sampled_from(["P2PK", "HTLC"]), texts, tags),
)


def _tags(value: list[list[str]] | None) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(tag) for tag in value or [])


def _request(value: dict[str, Any]) -> PaymentRequest:
    lock = value.get("nut10")
    return PaymentRequest(
        value.get("i"),
        value.get("a"),
        value.get("u"),
        value.get("s"),
        tuple(value.get("m", ())),
        value.get("d"),
        tuple(Transport(t["t"], t["a"], _tags(t.get("g"))) for t in value.get("t", ())),
        None if lock is None else LockRequest(lock["k"], lock["d"], _tags(lock.get("t"))),
    )


def _bare(request: PaymentRequest) -> PaymentRequest:
    """With Nostr names as their keys and relays: one key has two names where there are no relays."""
    return replace(
        request,
        transports=tuple(
            replace(t, target=repr(NostrName.parse(t.target))) if t.kind == "nostr" else t
            for t in request.transports
        ),
    )


@pytest.mark.parametrize("case", NUT18["requests"], ids=lambda case: str(case["name"]))
def test_a_request_in_cbor_is_read_as_in_the_specification(case: dict[str, Any]) -> None:
    wanted = _request(case.get("encoded_decodes_to", case["request"]))
    assert payment_request.decode(case["encoded"]) == wanted
    assert payment_request.decode(payment_request.encode_cbor(wanted)) == wanted
    url_safe = case["encoded"].replace("+", "-").replace("/", "_").rstrip("=")
    assert payment_request.decode(f" {url_safe}\n") == wanted


@pytest.mark.parametrize("case", NUT26["requests"], ids=lambda case: str(case["name"]))
def test_a_request_in_tlv_is_written_and_read_as_in_the_specification(case: dict[str, Any]) -> None:
    wanted = _request(case["request"])
    assert payment_request.encode_tlv(wanted) == case["encoded"]
    assert _bare(payment_request.decode(case["encoded"])) == _bare(wanted)
    assert payment_request.decode(case["encoded"].lower()) == payment_request.decode(case["encoded"])


@settings(max_examples=100, deadline=None)
@given(some_requests)
def test_a_request_survives_both_forms(request: PaymentRequest) -> None:
    assert payment_request.decode(payment_request.encode_cbor(request)) == request
    assert payment_request.decode(payment_request.encode_tlv(request)) == request


def test_a_request_is_found_in_a_bitcoin_address() -> None:
    case = NUT26["requests"][0]
    text = f"BITCOIN:?lightning=lnbc1&CREQ={case['encoded']}"
    assert payment_request.decode(text) == payment_request.decode(case["encoded"])


def _creq_a(body: object) -> str:
    return "creqA" + base64.urlsafe_b64encode(cbor2.dumps(body)).decode()


def _creq_b(*fields: tuple[int, bytes], prefix: str = "creqb") -> str:
    data = b"".join(bytes((kind,)) + len(value).to_bytes(2, "big") + value for kind, value in fields)
    return encode_bytes(prefix, data, BECH32M)


def test_fields_that_a_wallet_writes_though_they_are_not_there_are_not_there() -> None:
    nothing = [cbor2.undefined, None]
    for absent in nothing:
        body = {"i": absent, "a": absent, "s": absent, "m": absent, "t": absent, "nut10": absent, "x": 5}
        assert payment_request.decode(_creq_a(body)) == PaymentRequest()
        lock = {"nut10": {"k": "P2PK", "d": "k", "t": absent}}
        assert payment_request.decode(_creq_a(lock)).lock == LockRequest("P2PK", "k")


def test_unknown_fields_are_passed_over_and_of_a_field_twice_the_last_counts() -> None:
    text = _creq_b((9, b"https://preferred"), (200, b""), (1, b"a"), (1, b"b"))
    assert payment_request.decode(text) == PaymentRequest("b")


def test_an_amount_needs_a_unit() -> None:
    with pytest.raises(MalformedError, match="unit"):
        PaymentRequest(amount=5)


POST = (1, b"\1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("creqC", "neither"),
        ("bitcoin:bc1?x=1", "neither"),
        ("creqA" + "A" * (1 << 16), "too long"),
        ("creqA!", "base64"),
        ("creqA/w", "not CBOR"),
        (_creq_a([]), "not an object"),
        (_creq_a({"i": 5}), "id"),
        (_creq_a({"a": -1, "u": "sat"}), "amount"),
        (_creq_a({"s": 1}), "boolean"),
        (_creq_a({"m": "mint"}), "mints"),
        (_creq_a({"m": [5]}), "mint"),
        (_creq_a({"t": [{"t": "post"}]}), "transport"),
        (_creq_a({"t": [{"t": "post", "a": "x", "g": [[]]}]}), "empty"),
        (_creq_a({"t": [{"t": "post", "a": "x", "g": [[5]]}]}), "tag"),
        (_creq_a({"nut10": {"k": "P2PK"}}), "nut10"),
        ("creqb1qqqqqq", "checksum"),
        (_creq_b((1, b"x"), prefix="creqb1x"), "does not begin"),
        (_creq_b((1, b"\xff")), "UTF-8"),
        (_creq_b((2, bytes(7)), (3, b"sat")), "8 bytes"),
        (_creq_b((7, b"")), "unknown kind"),
        (_creq_b((7, b"\1\0\1\2")), "unknown kind"),
        (_creq_b((7, b"\1\0\1\0")), "another size"),
        (_creq_b((7, b"\1\0\1\1\3\0\0")), "empty"),
        (_creq_b((7, b"\1\0\1\1\3\0\1\5")), "within a word"),
        (_creq_b((8, b"\1\0\1\0\2\0")), "within a field"),
        (_creq_b((8, b"\1\0\1\0\2\0\5a")), "within a field"),
    ],
    ids=range(26),
)
def test_a_request_that_cannot_be_read_is_malformed(text: str, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        payment_request.decode(text)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (PaymentRequest(amount=1 << 64, unit="sat"), "out of range"),
        (PaymentRequest(description="d" * (1 << 16)), "too long"),
        (PaymentRequest(transports=(Transport("post", "u", (("t" * 256,),)),)), "too long"),
        (PaymentRequest(transports=(Transport("pigeon", "u"),)), "no number"),
        (PaymentRequest(transports=(Transport("nostr", "u"),)), "Nostr"),
        (PaymentRequest(lock=LockRequest("OTHER", "d")), "no number"),
    ],
)
def test_what_the_short_form_cannot_say_is_not_written(request_: PaymentRequest, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        payment_request.encode_tlv(request_)


def test_a_hash_lock_without_tags_has_its_place_in_both_forms() -> None:
    request = PaymentRequest(lock=LockRequest("HTLC", "ab" * 32))
    assert payment_request.decode(payment_request.encode_cbor(request)) == request
    assert payment_tlv.decode(payment_request.encode_tlv(request), 1000) == request
