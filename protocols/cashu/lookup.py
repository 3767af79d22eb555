"""Look-up of quotes by public key (NUT-XX, newest draft): the signed text, its window, and the request.

The text is "Cashu_MintQuoteLookup_v1", the mint's key and the asked key in hex, and the timestamp in decimal;
BIP340 over its SHA-256. It proves that the asker holds the key and authorises nothing else.
"""

from dataclasses import dataclass

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import schnorr_sign, schnorr_verify
from protocols.cashu.errors import BatchTooLargeError, MalformedError, SignatureError
from protocols.cashu.fields import as_array, as_bytes, as_object, as_point, as_text

WINDOW = 300
SIGNATURE_SIZE = 64
CURSOR_LIMIT = 512
_DOMAIN = "Cashu_MintQuoteLookup_v1"


def lookup_hash(mint_key: bytes, public: bytes, timestamp: int) -> bytes:
    """What a look-up signs, 32 bytes; keys are 33 bytes, `timestamp` in Unix seconds."""
    return sha256(f"{_DOMAIN}{mint_key.hex()}{public.hex()}{timestamp}".encode())


def sign(secret: bytes, mint_key: bytes, public: bytes, timestamp: int, aux: bytes) -> bytes:
    """The signature of a look-up, 64 bytes, with 32 bytes of fresh entropy."""
    return schnorr_sign(secret, lookup_hash(mint_key, public, timestamp), aux)


def verify(mint_key: bytes, public: bytes, timestamp: int, signature: bytes) -> bool:
    """Whether the holder of `public` asked this mint at `timestamp`."""
    return schnorr_verify(public[1:], lookup_hash(mint_key, public, timestamp), signature)


def check_timestamp(value: object, now: int) -> int:
    """The timestamp if it is within 300 s of `now`, both ends included; SignatureError says what is wrong
    with it.
    """
    if value is None:
        raise SignatureError("the look-up has no timestamp")
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise SignatureError("the look-up's timestamp is not a non-negative integer")
    if abs(value - now) > WINDOW:
        raise SignatureError(f"the look-up's timestamp is more than {WINDOW} s from the mint's clock")
    return value


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """A request of one page of quotes; its signatures are checked by `verify`."""

    keys: tuple[bytes, ...]
    signatures: tuple[bytes, ...]
    timestamp: int
    limit: int | None
    cursor: str | None
    only_mintable: bool

    @classmethod
    def from_json(cls, value: object, *, now: int, max_keys: int) -> "LookupRequest":
        """Read a request and check all that needs no signature; raises a CashuError."""
        body = as_object(value, "look-up")
        timestamp = check_timestamp(body.get("timestamp"), now)
        keys = as_array(body.get("pubkeys"), "pubkeys")
        signatures = as_array(body.get("pubkey_signatures"), "pubkey_signatures")
        if not keys or len(keys) != len(signatures):
            raise MalformedError("a look-up needs one signature a key, and at least one")
        if len(keys) > max_keys:
            raise BatchTooLargeError(f"a look-up takes at most {max_keys} keys")
        points = tuple(as_point(key, "pubkey") for key in keys)
        if len(set(points)) != len(points):
            raise BatchTooLargeError("a look-up names a key twice")
        limit = body.get("limit")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise MalformedError("limit is not a positive integer")
        cursor = body.get("cursor")
        only_mintable = body.get("only_mintable", False)
        if not isinstance(only_mintable, bool):
            raise MalformedError("only_mintable is not a boolean")
        return cls(
            points,
            tuple(as_bytes(signature, "signature", SIGNATURE_SIZE) for signature in signatures),
            timestamp,
            limit,
            None if cursor is None else as_text(cursor, "cursor", CURSOR_LIMIT),
            only_mintable,
        )

    def verify(self, mint_key: bytes) -> None:
        """Raises SignatureError unless every key signed."""
        for key, signature in zip(self.keys, self.signatures, strict=True):
            if not verify(mint_key, key, self.timestamp, signature):
                raise SignatureError(f"the look-up signature of {key.hex()} does not verify")
