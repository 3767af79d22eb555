import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.bitcoin import secp256k1 as curve
from protocols.bitcoin.errors import EncodingError, PointError, SecretError

GENERATOR = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
ONE = (1).to_bytes(32, "big")
TWO = (2).to_bytes(32, "big")
NOT_SECRETS = [bytes(32), curve.ORDER.to_bytes(32, "big"), b"\xff" * 32, bytes(31), ONE + b"\0", b""]
NOT_POINTS = [
    b"",
    bytes(33),
    b"\x02" + b"\xff" * 32,
    b"\x04" + GENERATOR[1:],
    GENERATOR[1:],
    GENERATOR + b"\0",
]

secrets = st.integers(1, curve.ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
few = settings(max_examples=25, deadline=None)


def test_the_public_key_of_one_is_the_generator() -> None:
    assert curve.public_key(ONE) == GENERATOR
    assert curve.xonly(GENERATOR) == GENERATOR[1:]
    assert curve.parse_point(GENERATOR) == GENERATOR
    assert curve.is_point(GENERATOR)
    assert curve.is_secret(ONE)


def test_the_uncompressed_form_carries_both_coordinates() -> None:
    whole = curve.uncompressed(GENERATOR)
    assert whole[:33] == b"\x04" + GENERATOR[1:]
    assert whole[33:].hex() == "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    assert curve.public_key_whole(ONE) == whole


@few
@given(secrets, secrets)
def test_whole_forms_give_the_same_points_as_compressed_ones(secret: bytes, scalar: bytes) -> None:
    whole, point = curve.public_key_whole(secret), curve.public_key(secret)
    assert (curve.uncompressed(point), curve.compressed(whole)) == (whole, point)
    product = curve.multiply_secret_whole(whole, scalar)
    assert curve.compressed(product) == curve.multiply_secret(point, scalar)
    assert product == curve.uncompressed(curve.multiply_secret(point, scalar))


@pytest.mark.parametrize("whole", [GENERATOR, b"\x04" + GENERATOR[1:] * 2, b"", b"\x05" + bytes(64)])
def test_what_is_no_whole_point_of_the_curve_is_refused(whole: bytes) -> None:
    with pytest.raises(PointError):
        curve.multiply_secret_whole(whole, ONE)


@pytest.mark.parametrize("secret", NOT_SECRETS)
def test_a_scalar_out_of_range_is_refused_without_being_told(secret: bytes) -> None:
    assert not curve.is_secret(secret)
    attempts: list[Callable[[], bytes]] = [
        lambda: curve.public_key(secret),
        lambda: curve.multiply(GENERATOR, secret),
        lambda: curve.multiply_secret(GENERATOR, secret),
        lambda: curve.ecdh(secret, GENERATOR),
        lambda: curve.secret_add(secret, ONE),
        lambda: curve.secret_add(ONE, secret),
        lambda: curve.secret_multiply(ONE, secret),
        lambda: curve.secret_negate(secret),
        lambda: curve.schnorr_sign(secret, bytes(32), bytes(32)),
        lambda: curve.ellswift_create(secret, bytes(32)),
        lambda: curve.ellswift_xdh(secret, bytes(64), bytes(64), initiator=True),
    ]
    for attempt in attempts:
        with pytest.raises(SecretError) as caught:
            attempt()
        assert "ff" not in str(caught.value)


@pytest.mark.parametrize("point", NOT_POINTS)
def test_bytes_that_are_no_compressed_point_are_refused(point: bytes) -> None:
    assert not curve.is_point(point)
    attempts: list[Callable[[], bytes]] = [
        lambda: curve.parse_point(point),
        lambda: curve.xonly(point),
        lambda: curve.uncompressed(point),
        lambda: curve.multiply(point, ONE),
        lambda: curve.multiply_secret(point, ONE),
        lambda: curve.add(GENERATOR, point),
        lambda: curve.negate(point),
        lambda: curve.ecdh(ONE, point),
    ]
    for attempt in attempts:
        with pytest.raises(PointError):
            attempt()


def test_points_that_cancel_out_have_no_sum() -> None:
    with pytest.raises(PointError):
        curve.add(GENERATOR, curve.negate(GENERATOR))
    with pytest.raises(PointError):
        curve.add()
    with pytest.raises(SecretError):
        curve.secret_add(ONE, curve.secret_negate(ONE))


@few
@given(secrets, secrets)
@example(ONE, bytes(31) + b"\x02")
def test_scalars_and_points_agree(a: bytes, b: bytes) -> None:
    point_a, point_b = curve.public_key(a), curve.public_key(b)
    assert curve.multiply(point_a, b) == curve.multiply_secret(point_b, a)
    assert curve.public_key(curve.secret_multiply(a, b)) == curve.multiply(point_a, b)
    assert curve.public_key(curve.secret_negate(a)) == curve.negate(point_a)
    assert curve.ecdh(a, point_b) == hashlib.sha256(curve.multiply(point_b, a)).digest()
    total = (int.from_bytes(a, "big") + int.from_bytes(b, "big")) % curve.ORDER
    if total:
        assert curve.secret_add(a, b) == total.to_bytes(32, "big")
        assert curve.add(point_a, point_b) == curve.public_key(curve.secret_add(a, b))


@pytest.mark.parametrize(
    ("secret", "public", "aux", "message", "signature"),
    [
        (
            f"{3:064x}",
            "f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
            bytes(32).hex(),
            bytes(32).hex(),
            (
                "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca8215"
                "25f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0"
            ),
        ),
        (
            "b7e151628aed2a6abf7158809cf4f3c762e7160f38b4da56a784d9045190cfef",
            "dff1d77f2a671c5f36183726db2341be58feae1da2deced843240f7b502ba659",
            f"{1:064x}",
            "243f6a8885a308d313198a2e03707344a4093822299f31d0082efa98ec4e6c89",
            (
                "6896bd60eeae296db48a229ff71dfe071bde413e6d43f917dc8dcf8c78de3341"
                "8906d11ac976abccb20b091292bff4ea897efcb639ea871cfa95f6de339e4b0a"
            ),
        ),
    ],
)
def test_signatures_are_those_of_bip340(
    secret: str, public: str, aux: str, message: str, signature: str
) -> None:
    made = curve.schnorr_sign(bytes.fromhex(secret), bytes.fromhex(message), bytes.fromhex(aux))
    assert made.hex() == signature
    assert curve.xonly(curve.public_key(bytes.fromhex(secret))).hex() == public
    assert curve.schnorr_verify(bytes.fromhex(public), bytes.fromhex(message), made)


def test_a_signature_that_does_not_fit_verifies_nothing() -> None:
    signature = curve.schnorr_sign(ONE, bytes(32), bytes(32))
    public = GENERATOR[1:]
    assert curve.schnorr_verify(public, bytes(32), signature)
    assert not curve.schnorr_verify(public, ONE, signature)
    assert not curve.schnorr_verify(curve.public_key(TWO)[1:], bytes(32), signature)
    assert not curve.schnorr_verify(b"\xff" * 32, bytes(32), signature)
    assert not curve.schnorr_verify(public, bytes(32), signature[:-1])
    assert not curve.schnorr_verify(GENERATOR, bytes(32), signature)
    assert not curve.schnorr_verify(public, bytes(32), b"\xff" * 64)


def test_messages_and_entropy_of_the_wrong_size_are_refused() -> None:
    attempts: list[Callable[[], object]] = [
        lambda: curve.schnorr_sign(ONE, b"short", bytes(32)),
        lambda: curve.schnorr_sign(ONE, bytes(32), b"short"),
        lambda: curve.schnorr_verify(GENERATOR[1:], b"short", bytes(64)),
        lambda: curve.ellswift_create(ONE, b"short"),
        lambda: curve.ellswift_decode(bytes(63)),
        lambda: curve.ellswift_xdh(ONE, bytes(63), bytes(64), initiator=True),
        lambda: curve.ellswift_xdh(ONE, bytes(64), bytes(65), initiator=False),
    ]
    for attempt in attempts:
        with pytest.raises(EncodingError):
            attempt()


def test_elligator_swift_exchanges_are_those_of_bip324(vectors: Callable[[str], Any]) -> None:
    cases = vectors("ellswift_bip324.json")["vectors"]
    assert len(cases) == 7
    for case in cases:
        ours, theirs = bytes.fromhex(case["ellswift_ours"]), bytes.fromhex(case["ellswift_theirs"])
        initiator = bool(case["initiating"])
        pair = (ours, theirs) if initiator else (theirs, ours)
        shared = curve.ellswift_xdh(bytes.fromhex(case["sk"]), *pair, initiator=initiator)
        assert shared.hex() == case["shared_secret"]


@few
@given(secrets, secrets, st.binary(min_size=32, max_size=32))
def test_both_ends_of_an_exchange_find_the_same_secret(a: bytes, b: bytes, entropy: bytes) -> None:
    first, second = curve.ellswift_create(a, entropy), curve.ellswift_create(b, entropy)
    assert curve.ellswift_decode(first) == curve.public_key(a)
    shared = curve.ellswift_xdh(a, first, second, initiator=True)
    assert shared == curve.ellswift_xdh(b, first, second, initiator=False)


def test_a_library_without_the_modules_is_refused_by_name() -> None:
    with pytest.raises(ImportError, match="secp256k1_ellswift_create"):
        curve._require(object(), ("secp256k1_ellswift_create",))


@few
@given(secrets, st.binary(min_size=32, max_size=32))
def test_the_key_of_an_ecdsa_signature_is_recovered_from_it(secret: bytes, message: bytes) -> None:
    signature, recovery = curve.ecdsa_sign(secret, message)
    assert curve.ecdsa_recover(message, signature, recovery) == curve.public_key(secret)
    assert curve.ecdsa_sign(secret, message) == (signature, recovery)


def test_nothing_is_recovered_from_what_is_no_signature() -> None:
    message = b"\x05" * 32
    signature, _ = curve.ecdsa_sign(ONE, message)
    for wrong, recovery in ((signature, 4), (signature, -1), (b"\xff" * 64, 0), (bytes(64), 0)):
        with pytest.raises(PointError):
            curve.ecdsa_recover(message, wrong, recovery)
    with pytest.raises(EncodingError):
        curve.ecdsa_recover(message, signature[:-1], 0)
    with pytest.raises(EncodingError):
        curve.ecdsa_recover(message[:-1], signature, 0)
    for secret in NOT_SECRETS:
        with pytest.raises(SecretError):
            curve.ecdsa_sign(secret, message)
