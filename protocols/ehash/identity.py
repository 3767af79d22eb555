"""How an issuer proves itself to a mint: a signature that holds on one Noise session only."""

from protocols.bitcoin.hashing import tagged_hash
from protocols.bitcoin.secp256k1 import public_key, schnorr_sign, schnorr_verify
from protocols.ehash.errors import IdentityRefused

TAG = "hashpool/issuer/v1"


def hello_digest(handshake_hash: bytes, mint_authority: bytes, identity: bytes) -> bytes:
    """What an issuer signs: handshake hash 32, the mint's x-only authority key 32, identity key 33 bytes."""
    return tagged_hash(TAG, handshake_hash + mint_authority + identity)


def sign_hello(
    secret: bytes, handshake_hash: bytes, mint_authority: bytes, aux: bytes
) -> tuple[bytes, bytes]:
    """The identity key (33 bytes) and its 64-byte BIP340 signature for this session; raises SecretError.

    `aux` is 32 bytes of fresh entropy.
    """
    identity = public_key(secret)
    return identity, schnorr_sign(secret, hello_digest(handshake_hash, mint_authority, identity), aux)


def verify_hello(identity: bytes, signature: bytes, handshake_hash: bytes, mint_authority: bytes) -> None:
    """Raise IdentityRefused unless `signature` was made for this session by the holder of `identity`.

    The sign byte of the key is signed, too, so that two identities never share an x coordinate's proof.
    """
    digest = hello_digest(handshake_hash, mint_authority, identity)
    if identity[:1] not in (b"\x02", b"\x03") or not schnorr_verify(identity[1:], digest, signature):
        raise IdentityRefused("the hello does not prove the issuer's identity key on this session")
