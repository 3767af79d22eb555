"""The curve: keys, ECDH, BIP340 and recoverable ECDSA signatures and ElligatorSwift, bytes in and bytes out.

The only module that touches coincurve, and it uses the private bindings of its libsecp256k1: the public
ones offer no ElligatorSwift and no constant-time multiplication of a point. Secrets, scalars and x-only keys
are 32 bytes big-endian, points 33 bytes compressed. The "whole" form of a point is the uncompressed one, 65
bytes: it saves a square root each time that a point is used again. Raises SecretError for a scalar that is
zero or not below the order, PointError for what is no point or sums to infinity, and EncodingError for a
message, entropy or ElligatorSwift key of the wrong size; none tells the value.
"""

from typing import Any

from coincurve._libsecp256k1 import ffi, lib
from coincurve.context import GLOBAL_CONTEXT

from protocols.bitcoin.errors import EncodingError, PointError, SecretError

SECRET_SIZE = 32
POINT_SIZE = 33
WHOLE_SIZE = 65
XONLY_SIZE = 32
SIGNATURE_SIZE = 64
ELLSWIFT_SIZE = 64
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

_REQUIRED = (
    "secp256k1_ec_pubkey_combine",
    "secp256k1_ecdh",
    "secp256k1_ecdh_hash_function_sha256",
    "secp256k1_ecdsa_recover",
    "secp256k1_ecdsa_sign_recoverable",
    "secp256k1_ellswift_create",
    "secp256k1_ellswift_decode",
    "secp256k1_ellswift_xdh",
    "secp256k1_ellswift_xdh_hash_function_bip324",
    "secp256k1_schnorrsig_sign32",
    "secp256k1_schnorrsig_verify",
)

_ADDRESSED = (
    "secp256k1_ec_pubkey_parse",
    "secp256k1_ec_pubkey_serialize",
    "secp256k1_ec_pubkey_create",
    "secp256k1_ecdh",
    "secp256k1_ec_seckey_verify",
    "secp256k1_ec_seckey_tweak_mul",
    "secp256k1_ec_seckey_tweak_add",
)


def _require(library: object, names: tuple[str, ...]) -> None:
    missing = [name for name in names if not hasattr(library, name)]
    if missing:
        raise ImportError(
            f"this coincurve is built without {', '.join(missing)}; install a wheel of coincurve 21"
        )


_require(lib, _REQUIRED)
_context = GLOBAL_CONTEXT.ctx


def _write_whole_point(output: Any, x: Any, y: Any, _data: Any) -> int:
    output[0] = 4
    ffi.memmove(output + 1, x, 32)
    ffi.memmove(output + 33, y, 32)
    return 1


_whole_point = ffi.callback(
    "int(unsigned char *, unsigned char *, unsigned char *, void *)", _write_whole_point
)


def _secret(secret: bytes) -> bytes:
    _check_scalar(is_secret(secret))
    return secret


def _check_scalar(is_valid: object) -> None:
    if not is_valid:
        raise SecretError("not a secret scalar: 32 bytes, not zero and below the order of the curve")


def _bounded(scalar: bytes) -> bytes:
    """For calls that tell by their result whether a scalar is in range: it must be 32 bytes, nothing else."""
    _check_scalar(len(scalar) == SECRET_SIZE)
    return scalar


def _parse(point: bytes) -> Any:
    key = ffi.new("secp256k1_pubkey *")
    if len(point) != POINT_SIZE or not lib.secp256k1_ec_pubkey_parse(_context, key, point, POINT_SIZE):
        raise PointError("not a compressed point of secp256k1")
    return key


def _parse_whole(point: bytes) -> Any:
    key = ffi.new("secp256k1_pubkey *")
    if len(point) != WHOLE_SIZE or not lib.secp256k1_ec_pubkey_parse(_context, key, point, WHOLE_SIZE):
        raise PointError("not an uncompressed point of secp256k1")
    return key


def _serialize(key: Any, flag: int, size: int) -> bytes:
    output = ffi.new("unsigned char[]", size)
    lib.secp256k1_ec_pubkey_serialize(_context, output, ffi.new("size_t *", size), key, flag)
    return bytes(ffi.buffer(output))


def _compressed(key: Any) -> bytes:
    return _serialize(key, lib.SECP256K1_EC_COMPRESSED, POINT_SIZE)


def _whole(key: Any) -> bytes:
    return _serialize(key, lib.SECP256K1_EC_UNCOMPRESSED, WHOLE_SIZE)


def _multiply_secret(key: Any, scalar: bytes) -> bytes:
    output = ffi.new("unsigned char[]", WHOLE_SIZE)
    _check_scalar(lib.secp256k1_ecdh(_context, output, key, _bounded(scalar), _whole_point, ffi.NULL))
    return bytes(ffi.buffer(output))


def _create(secret: bytes) -> Any:
    key = ffi.new("secp256k1_pubkey *")
    _check_scalar(lib.secp256k1_ec_pubkey_create(_context, key, _bounded(secret)))
    return key


def _sized(value: bytes, size: int, what: str) -> bytes:
    if len(value) != size:
        raise EncodingError(f"{what} has {len(value)} bytes instead of {size}")
    return value


def addresses() -> tuple[int, ...]:
    """Where the library's context lies in memory and, in this order, its functions that parse, serialize and
    create a public key, multiply a point, and verify, multiply and add secrets: for C code that calls them.
    """
    context = int(ffi.cast("uintptr_t", _context))
    return (context, *(int(ffi.cast("uintptr_t", ffi.addressof(lib, name))) for name in _ADDRESSED))


def is_secret(secret: bytes) -> bool:
    """Whether `secret` is 32 bytes that stand for a scalar from 1 to the order less one."""
    return len(secret) == SECRET_SIZE and bool(lib.secp256k1_ec_seckey_verify(_context, secret))


def public_key(secret: bytes) -> bytes:
    """The compressed public point of `secret`, 33 bytes, in constant time; raises SecretError."""
    return _compressed(_create(secret))


def public_key_whole(secret: bytes) -> bytes:
    """The public point of `secret` in its whole form, 65 bytes, in constant time; raises SecretError."""
    return _whole(_create(secret))


def parse_point(point: bytes) -> bytes:
    """`point` itself when it is a compressed point of the curve; raises PointError when it is not."""
    _parse(point)
    return bytes(point)


def is_point(point: bytes) -> bool:
    """Whether `point` is a compressed point of the curve."""
    key = ffi.new("secp256k1_pubkey *")
    return len(point) == POINT_SIZE and bool(lib.secp256k1_ec_pubkey_parse(_context, key, point, POINT_SIZE))


def xonly(point: bytes) -> bytes:
    """The x coordinate of `point`, 32 bytes big-endian (BIP340); raises PointError."""
    return parse_point(point)[1:]


def uncompressed(point: bytes) -> bytes:
    """The 65-byte uncompressed form of `point`; raises PointError."""
    return _whole(_parse(point))


def compressed(whole: bytes) -> bytes:
    """The 33-byte form of an uncompressed point, which is not looked at."""
    return bytes((2 | whole[64] & 1,)) + whole[1:33]


def multiply_secret(point: bytes, scalar: bytes) -> bytes:
    """`scalar` times `point` in constant time, for secret scalars; raises PointError and SecretError."""
    return compressed(_multiply_secret(_parse(point), scalar))


def multiply_secret_whole(whole: bytes, scalar: bytes) -> bytes:
    """The same with whole forms in and out; raises PointError and SecretError."""
    return _multiply_secret(_parse_whole(whole), scalar)


def multiply(point: bytes, scalar: bytes) -> bytes:
    """`scalar` times `point` in variable time, for public scalars only; raises PointError and SecretError."""
    key = _parse(point)
    lib.secp256k1_ec_pubkey_tweak_mul(_context, key, _secret(scalar))
    return _compressed(key)


def add(*points: bytes) -> bytes:
    """The sum of one point or more; raises PointError for a wrong one and when they sum to infinity."""
    keys = [_parse(point) for point in points]
    total = ffi.new("secp256k1_pubkey *")
    if not keys or not lib.secp256k1_ec_pubkey_combine(
        _context, total, ffi.new("secp256k1_pubkey *[]", keys), len(keys)
    ):
        raise PointError("the points sum to infinity")
    return _compressed(total)


def negate(point: bytes) -> bytes:
    """The point with the other y coordinate; raises PointError."""
    return bytes((parse_point(point)[0] ^ 1,)) + point[1:]


def ecdh(secret: bytes, point: bytes) -> bytes:
    """SHA-256 of the compressed shared point, 32 bytes, in constant time; raises PointError, SecretError."""
    output = ffi.new("unsigned char[]", 32)
    hash_function = lib.secp256k1_ecdh_hash_function_sha256
    lib.secp256k1_ecdh(_context, output, _parse(point), _secret(secret), hash_function, ffi.NULL)
    return bytes(ffi.buffer(output))


def secret_add(secret: bytes, other: bytes) -> bytes:
    """The sum of two scalars modulo the order, in constant time; raises SecretError, also when it is zero."""
    result = ffi.new("unsigned char[]", _bounded(secret))
    # The library takes zero for something to add, which is no secret here.
    if not lib.secp256k1_ec_seckey_tweak_add(_context, result, _secret(other)):
        raise SecretError("not a secret scalar, or the scalars sum to zero")
    return bytes(ffi.buffer(result, SECRET_SIZE))


def secret_multiply(secret: bytes, other: bytes) -> bytes:
    """The product of two scalars modulo the order, in constant time; raises SecretError."""
    result = ffi.new("unsigned char[]", _bounded(secret))
    _check_scalar(lib.secp256k1_ec_seckey_tweak_mul(_context, result, _bounded(other)))
    return bytes(ffi.buffer(result, SECRET_SIZE))


def secret_negate(secret: bytes) -> bytes:
    """The order less the scalar, in constant time; raises SecretError."""
    result = ffi.new("unsigned char[]", _secret(secret))
    lib.secp256k1_ec_seckey_negate(_context, result)
    return bytes(ffi.buffer(result, SECRET_SIZE))


def schnorr_sign(secret: bytes, message: bytes, aux: bytes) -> bytes:
    """The 64-byte BIP340 signature of a 32-byte `message`, with 32 bytes of fresh entropy."""
    pair = ffi.new("secp256k1_keypair *")
    lib.secp256k1_keypair_create(_context, pair, _secret(secret))
    signature = ffi.new("unsigned char[]", SIGNATURE_SIZE)
    lib.secp256k1_schnorrsig_sign32(
        _context, signature, _sized(message, 32, "the message"), pair, _sized(aux, 32, "the entropy")
    )
    return bytes(ffi.buffer(signature))


def schnorr_verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the BIP340 signature of a 32-byte `message` by the x-only key `public`.

    A key or a signature of another size, or a key that is no x coordinate of the curve, verifies nothing.
    """
    key = ffi.new("secp256k1_xonly_pubkey *")
    return bool(
        len(public) == XONLY_SIZE
        and len(signature) == SIGNATURE_SIZE
        and lib.secp256k1_xonly_pubkey_parse(_context, key, public)
        and lib.secp256k1_schnorrsig_verify(_context, signature, _sized(message, 32, "the message"), 32, key)
    )


def ecdsa_sign(secret: bytes, message: bytes) -> tuple[bytes, int]:
    """The ECDSA signature of a 32-byte `message`, r and s in 64 bytes, and its recovery id from 0 to 3; the
    nonce is that of RFC 6979. Raises SecretError.
    """
    made = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    digest = _sized(message, 32, "the message")
    lib.secp256k1_ecdsa_sign_recoverable(_context, made, digest, _secret(secret), ffi.NULL, ffi.NULL)
    output, recovery = ffi.new("unsigned char[]", SIGNATURE_SIZE), ffi.new("int *")
    lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_context, output, recovery, made)
    return bytes(ffi.buffer(output)), int(recovery[0])


def ecdsa_recover(message: bytes, signature: bytes, recovery: int) -> bytes:
    """The one public key under which `signature` (64 bytes) signs a 32-byte `message`; raises PointError when
    there is none.
    """
    parsed = ffi.new("secp256k1_ecdsa_recoverable_signature *")
    key = ffi.new("secp256k1_pubkey *")
    compact = _sized(signature, SIGNATURE_SIZE, "the signature")
    if (
        not 0 <= recovery <= 3
        or not lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_context, parsed, compact, recovery)
        or not lib.secp256k1_ecdsa_recover(_context, key, parsed, _sized(message, 32, "the message"))
    ):
        raise PointError("no public key is recovered from the signature")
    return _compressed(key)


def ellswift_create(secret: bytes, aux: bytes) -> bytes:
    """A 64-byte ElligatorSwift form of the public key of `secret`, chosen by 32 bytes of entropy (BIP324)."""
    output = ffi.new("unsigned char[]", ELLSWIFT_SIZE)
    lib.secp256k1_ellswift_create(_context, output, _secret(secret), _sized(aux, 32, "the entropy"))
    return bytes(ffi.buffer(output))


def ellswift_decode(encoded: bytes) -> bytes:
    """The compressed point that 64 ElligatorSwift bytes stand for; any 64 bytes stand for one."""
    key = ffi.new("secp256k1_pubkey *")
    lib.secp256k1_ellswift_decode(_context, key, _sized(encoded, ELLSWIFT_SIZE, "an ElligatorSwift key"))
    return _compressed(key)


def ellswift_xdh(secret: bytes, initiator_key: bytes, responder_key: bytes, *, initiator: bool) -> bytes:
    """The 32-byte BIP324 secret shared by two ElligatorSwift keys; `secret` belongs to one of them."""
    output = ffi.new("unsigned char[]", 32)
    lib.secp256k1_ellswift_xdh(
        _context,
        output,
        _sized(initiator_key, ELLSWIFT_SIZE, "the initiator's key"),
        _sized(responder_key, ELLSWIFT_SIZE, "the responder's key"),
        _secret(secret),
        0 if initiator else 1,
        lib.secp256k1_ellswift_xdh_hash_function_bip324,
        ffi.NULL,
    )
    return bytes(ffi.buffer(output))
