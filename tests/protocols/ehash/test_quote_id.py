import uuid

from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.bitcoin.hashing import hmac_sha256, sha256
from protocols.bitcoin.secp256k1 import multiply_secret, public_key
from protocols.ehash.quote_id import quote_id, shared_secret

secrets = st.integers(1, 2**200).map(lambda n: n.to_bytes(32, "big"))
hashes = st.binary(min_size=32, max_size=32)


@given(secrets, secrets, hashes)
@example(bytes(31) + b"\x01", bytes(31) + b"\x02", bytes(32))
@settings(max_examples=30, deadline=None)
def test_holder_and_mint_compute_the_same_id(mint: bytes, holder: bytes, share_hash: bytes) -> None:
    at_mint = quote_id(shared_secret(mint, public_key(holder)), share_hash)
    at_wallet = quote_id(shared_secret(holder, public_key(mint)), share_hash)
    assert at_mint == at_wallet


@given(secrets, secrets, hashes)
@settings(max_examples=30, deadline=None)
def test_the_id_is_a_version_8_uuid_of_the_hmac(mint: bytes, holder: bytes, share_hash: bytes) -> None:
    key = sha256(multiply_secret(public_key(holder), mint))
    digest = hmac_sha256(key, share_hash)[:16]
    made = uuid.UUID(quote_id(shared_secret(mint, public_key(holder)), share_hash))
    assert made.version == 8
    assert made.variant == uuid.RFC_4122
    free = ~(0xF << 76 | 0x3 << 62)
    assert made.int & free == int.from_bytes(digest, "big") & free


def test_an_id_is_written_in_lower_case_with_dashes() -> None:
    text = quote_id(bytes(32), bytes(32))
    assert text == str(uuid.UUID(text))


def test_another_share_or_another_key_has_another_id() -> None:
    ids = {quote_id(bytes((key,)) * 32, bytes((share,)) * 32) for key in range(4) for share in range(4)}
    assert len(ids) == 16
