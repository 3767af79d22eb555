import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin import bech32
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import ecdsa_sign, public_key
from protocols.lightning import tagged_field
from protocols.lightning.amount import CURRENCIES, decode_prefix, encode_prefix
from protocols.lightning.errors import InvoiceError
from protocols.lightning.invoice import Invoice, decode, encode

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors/lightning/bolt11.json").read_text()
)
SECRET = bytes.fromhex(VECTORS["secret"])
PLAIN = Invoice("bcrt", 21_000, 1_700_000_000, b"\x07" * 32, description="")


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_invoices_of_the_specification_are_read(vector: dict[str, Any]) -> None:
    invoice = decode(vector["text"])
    hashed, secret = vector.get("hashed"), vector.get("payment_secret")
    assert invoice == Invoice(
        vector["currency"],
        vector["amount_msat"],
        vector["timestamp"],
        bytes.fromhex(vector.get("payment_hash", VECTORS["payment_hash"])),
        None if secret is None else bytes.fromhex(secret),
        vector.get("description"),
        None if hashed is None else sha256(hashed.encode()),
        vector.get("expiry_s", 3600),
        vector.get("final_delta", 18),
        sum(1 << bit for bit in vector.get("features", [])),
        bytes.fromhex(VECTORS["payee"]),
    )
    assert list(invoice.unknown_features) == vector.get("unknown_features", [])
    assert invoice.expires_at == vector["timestamp"] + vector.get("expiry_s", 3600)


@pytest.mark.parametrize("vector", VECTORS["valid"], ids=lambda vector: vector["name"])
def test_what_was_read_is_the_same_when_it_is_written_and_read_again(vector: dict[str, Any]) -> None:
    invoice = decode(vector["text"])
    assert decode(encode(invoice, SECRET)) == invoice


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda vector: vector["name"])
def test_invoices_that_the_specification_calls_invalid_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(InvoiceError, match=vector["reason"]) as refused:
        decode(vector["text"])
    assert vector["text"][40:80] not in str(refused.value)


def test_an_invoice_may_stand_behind_its_uri_scheme() -> None:
    text = encode(PLAIN, SECRET)
    assert decode("lightning:" + text) == decode("LIGHTNING:" + text.upper()) == decode(text)


def test_an_invoice_tells_neither_its_secret_nor_more_than_one_key() -> None:
    invoice = replace(PLAIN, payment_secret=b"\x5a" * 32)
    assert "5a5a" not in repr(invoice)
    assert "ZZ" not in repr(invoice)
    assert decode(encode(invoice, SECRET)).payee == public_key(SECRET)


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        Invoice,
        st.sampled_from(CURRENCIES),
        st.none() | st.integers(1, (1 << 63) - 1),
        st.integers(0, (1 << 35) - 1),
        st.binary(min_size=32, max_size=32),
        st.none() | st.binary(min_size=32, max_size=32),
        st.none() | st.text(st.characters(codec="utf-8"), max_size=150),
        st.none() | st.binary(min_size=32, max_size=32),
        st.integers(0, 1 << 40),
        st.integers(0, 1 << 20),
        st.integers(0, 1 << 120),
    )
)
def test_any_invoice_is_read_as_it_was_written(invoice: Invoice) -> None:
    assert decode(encode(invoice, SECRET)) == replace(invoice, payee=public_key(SECRET))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(CURRENCIES), st.none() | st.integers(1, (1 << 63) - 1))
def test_amounts_come_back_and_are_as_short_as_they_can_be(currency: str, amount: int | None) -> None:
    prefix = encode_prefix(currency, amount)
    assert decode_prefix(prefix) == (currency, amount)
    assert amount is None or not prefix.endswith(("000m", "000u", "000n", "000p"))


def test_amounts_are_told_in_the_largest_unit_that_is_exact() -> None:
    told = [encode_prefix("bc", amount) for amount in (10**11, 1_337_000, 250_000_000, 10, 1, 2_000_000_000)]
    assert told == ["lnbc1", "lnbc13370n", "lnbc2500u", "lnbc100p", "lnbc10p", "lnbc20m"]


@pytest.mark.parametrize("amount", [0, -1, 1 << 63])
def test_an_amount_out_of_range_is_not_written(amount: int) -> None:
    with pytest.raises(InvoiceError, match="2\\^63"):
        encode_prefix("bc", amount)


@pytest.mark.parametrize(
    "prefix",
    ["bc", "ln", "lnxx1", "lnbc0", "lnbc01u", "lnbc1uu", "lnbcm", "lnbc99999999999", "lnbc" + "9" * 20],
)
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(InvoiceError):
        decode_prefix(prefix)


def test_what_cannot_become_an_invoice_is_refused() -> None:
    for wrong in (
        replace(PLAIN, currency="xx"),
        replace(PLAIN, timestamp=1 << 35),
        replace(PLAIN, timestamp=-1),
        replace(PLAIN, payment_hash=b"\x07" * 31),
        replace(PLAIN, payment_secret=b""),
        replace(PLAIN, description_hash=bytes(33)),
        replace(PLAIN, description="x" * 640),
    ):
        with pytest.raises(InvoiceError):
            encode(wrong, SECRET)
    assert decode(encode(replace(PLAIN, description="x" * 639), SECRET)).description == "x" * 639


def text_of(*fields: list[int], signature: bytes | None = None) -> str:
    """An invoice with these fields, signed by the specification's key or as told."""
    groups = tagged_field.number_groups(1_700_000_000, 7) + [group for each in fields for group in each]
    digest = sha256(b"lnbc" + bytes(bech32.regroup(groups, 5, 8, pad=True)))
    if signature is None:
        made, recovery = ecdsa_sign(SECRET, digest)
        signature = made + bytes((recovery,))
    groups += bech32.regroup(signature, 8, 5, pad=True)
    return bech32.encode("lnbc", groups, bech32.BECH32)


HASH = tagged_field.write_bytes("p", b"\x07" * 32)


def test_the_key_that_an_invoice_names_must_have_signed_it() -> None:
    own = tagged_field.write_bytes("n", public_key(SECRET))
    assert decode(text_of(HASH, own)).payee == public_key(SECRET)
    with pytest.raises(InvoiceError, match="key that it names"):
        decode(text_of(HASH, tagged_field.write_bytes("n", public_key(b"\x01" * 32))))


def test_of_two_fields_of_one_kind_the_first_counts() -> None:
    second = tagged_field.write_bytes("p", b"\x08" * 32)
    assert decode(text_of(HASH, second)).payment_hash == b"\x07" * 32


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "no payment hash"),
        ([HASH, [13, 0]], "behind"),
        ([HASH, [13, 0, 2, 1]], "behind"),
        ([tagged_field.write_groups("p", [31] * 52)], "whole bytes"),
        ([HASH, tagged_field.write_bytes("d", b"\xff")], "UTF-8"),
    ],
)
def test_fields_that_cannot_be_are_refused(fields: list[list[int]], reason: str) -> None:
    with pytest.raises(InvoiceError, match=reason):
        decode(text_of(*fields))


@pytest.mark.parametrize("signature", [b"\xff" * 64 + b"\0", bytes(65), b"\x01" * 64 + b"\x04"])
def test_a_signature_that_signs_nothing_is_refused(signature: bytes) -> None:
    with pytest.raises(InvoiceError, match="signature"):
        decode(text_of(HASH, signature=signature))


def test_the_other_checksum_of_bech32_is_refused() -> None:
    _, groups, _ = bech32.decode(encode(PLAIN, SECRET), 1000)
    with pytest.raises(InvoiceError, match="checksum"):
        decode(bech32.encode("lnbcrt210n", groups, bech32.BECH32M))


def test_an_invoice_longer_than_any_is_refused_unread() -> None:
    with pytest.raises(InvoiceError, match="longer"):
        decode("lnbc1" + "q" * 8_000)
