import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.bitcoin import hashing
from protocols.bitcoin.ripemd160 import ripemd160


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("", "9c1185a5c5e9fc54612808977ee8f548b2258d31"),
        ("abc", "8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),
        ("message digest", "5d0689ef49d2fae572b881b123a85ffa21595f36"),
        (
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
            "b0e20b6e3116640286ed3a87a5713079b21f5189",
        ),
        ("1234567890" * 8, "9b752e45573d4b39f4dbd3323cab82bf63326bfb"),
    ],
)
def test_ripemd160_digests_are_those_of_its_paper(text: str, digest: str) -> None:
    assert ripemd160(text.encode()).hex() == digest


def test_the_hashes_are_the_standard_ones() -> None:
    assert hashing.sha256(b"abc") == hashlib.sha256(b"abc").digest()
    assert (
        hashing.sha256d(b"hello").hex() == "9595c9df90075148eb06860365df33584b75bff782a510c6cd4883a419833d50"
    )
    assert hashing.hash160(b"").hex() == "b472a266d0bd89c13706a4132ccfb16f7c3b9fcb"
    tag = hashlib.sha256(b"BIP0340/nonce").digest()
    assert hashing.tagged_hash("BIP0340/nonce", b"x") == hashlib.sha256(tag + tag + b"x").digest()


def test_a_keyed_hash_runs_over_all_its_parts() -> None:
    # RFC 4231, test case 2.
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert hashing.hmac_sha256(b"Jefe", b"what do ya want ", b"for nothing?").hex() == digest
    assert hashing.hmac_sha512(b"Jefe", b"what do ya want for nothing?").hex().startswith("164b7a7bfcf819e2")


@given(st.binary(min_size=32, max_size=32))
def test_display_order_is_the_reverse_and_comes_back(digest: bytes) -> None:
    assert hashing.display(digest) == digest[::-1].hex()
    assert hashing.from_display(hashing.display(digest)) == digest
