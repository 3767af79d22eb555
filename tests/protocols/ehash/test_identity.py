import pytest

from protocols.bitcoin.errors import SecretError
from protocols.bitcoin.hashing import tagged_hash
from protocols.bitcoin.secp256k1 import negate, public_key, schnorr_verify
from protocols.ehash.errors import IdentityRefused
from protocols.ehash.identity import sign_hello, verify_hello

SESSION = bytes(range(32))
MINT = bytes(range(32, 64))


@pytest.mark.parametrize("secret", [bytes(31) + bytes((n,)) for n in range(1, 9)])
def test_a_hello_proves_its_identity_on_its_session(secret: bytes) -> None:
    identity, signature = sign_hello(secret, SESSION, MINT, bytes(32))
    assert identity == public_key(secret)
    verify_hello(identity, signature, SESSION, MINT)
    digest = tagged_hash("hashpool/issuer/v1", SESSION + MINT + identity)
    assert schnorr_verify(identity[1:], digest, signature)


def test_a_hello_holds_on_no_other_session_mint_or_key() -> None:
    identity, signature = sign_hello(bytes(31) + b"\x05", SESSION, MINT, bytes(32))
    for arguments in (
        (identity, signature, MINT, MINT),
        (identity, signature, SESSION, SESSION),
        (negate(identity), signature, SESSION, MINT),
        (b"\x04" + identity[1:], signature, SESSION, MINT),
        (public_key(bytes(31) + b"\x06"), signature, SESSION, MINT),
        (identity, signature[:-1] + bytes((signature[-1] ^ 1,)), SESSION, MINT),
        (b"\x02" + b"\xff" * 32, signature, SESSION, MINT),
    ):
        with pytest.raises(IdentityRefused):
            verify_hello(*arguments)


def test_what_is_no_secret_signs_nothing() -> None:
    with pytest.raises(SecretError):
        sign_hello(bytes(32), SESSION, MINT, bytes(32))
