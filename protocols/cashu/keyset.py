"""Keysets: one public key an amount, an id that commits to them (NUT-01, NUT-02), and their private keys from
a seed.

Version 2 ids are 66 hex digits from 01, version 1 ids 16 hex digits from 00; a short id is the first 16
digits of a version 2 id. Other versions are refused. Keys are kept ascending by amount.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protocols.bitcoin.hashing import hmac_sha256, hmac_sha512, sha256
from protocols.bitcoin.secp256k1 import is_point, is_secret, public_key
from protocols.cashu.errors import KeysetUnknownError, MalformedError
from protocols.cashu.fields import as_integer, as_keyset_id, as_object, as_point, as_text

MAX_KEYS = 64
SHORT_ID_LENGTH = 16
UNIT_LIMIT = 255
_DERIVATION = b"hashpool/mint/keyset/v1"
_EXPIRY_LIMIT = 1 << 63
_FEE_LIMIT = 1 << 32


@dataclass(frozen=True, slots=True)
class Keyset:
    """The public half of a keyset; `final_expiry` in Unix seconds, `input_fee_ppk` in thousandths of a unit
    an input.
    """

    keyset_id: str
    unit: str
    keys: Mapping[int, bytes]
    input_fee_ppk: int = 0
    final_expiry: int | None = None

    def verify_id(self) -> None:
        """Raises MalformedError when the id is not that of the keys, unit, fee and expiry, or of no known
        version.
        """
        if self.keyset_id.startswith("00") and len(self.keyset_id) == 16:
            expected = keyset_id_v1(self.keys)
        elif self.keyset_id.startswith("01") and len(self.keyset_id) == 66:
            expected = keyset_id_v2(self.keys, self.unit, self.input_fee_ppk, self.final_expiry)
        else:
            raise MalformedError(f"keyset {self.keyset_id} has no version that is known here")
        if expected != self.keyset_id:
            raise MalformedError(f"keyset {self.keyset_id} does not commit to its keys; that is {expected}")

    @classmethod
    def from_json(cls, value: object) -> "Keyset":
        """Read one item of /v1/keys and check its id; raises MalformedError."""
        item = as_object(value, "keyset")
        expiry = item.get("final_expiry")
        keyset = cls(
            as_keyset_id(item.get("id")),
            as_text(item.get("unit"), "unit", UNIT_LIMIT).lower(),
            parse_keys(item.get("keys")),
            as_integer(item.get("input_fee_ppk", 0), "input_fee_ppk", _FEE_LIMIT),
            None if expiry is None else as_integer(expiry, "final_expiry", _EXPIRY_LIMIT),
        )
        keyset.verify_id()
        return keyset


def parse_keys(value: object) -> dict[int, bytes]:
    """Amount to public key, ascending, from a JSON map; every key is on the curve. Raises MalformedError."""
    keys: dict[int, bytes] = {}
    for text, key in as_object(value, "keys").items():
        if not (isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) <= 20):
            raise MalformedError("an amount in the keys is not a number")
        amount = as_integer(int(text), "an amount in the keys")
        if amount in keys or amount == 0 or len(keys) == MAX_KEYS:
            raise MalformedError("the keys have a wrong amount, one twice, or too many")
        keys[amount] = as_point(key, f"the key for {amount}")
        if not is_point(keys[amount]):
            raise MalformedError(f"the key for {amount} is not on the curve")
    if not keys:
        raise MalformedError("there are no keys")
    return dict(sorted(keys.items()))


def keyset_id_v1(keys: Mapping[int, bytes]) -> str:
    """00 and 14 hex digits of SHA-256 over the raw keys, ascending by amount."""
    return "00" + sha256(b"".join(key for _, key in sorted(keys.items()))).hex()[:14]


def keyset_id_v2(
    keys: Mapping[int, bytes], unit: str, input_fee_ppk: int = 0, final_expiry: int | None = None
) -> str:
    """01 and the SHA-256 of keys, unit, fee (if there is one) and expiry (if there is one), as text."""
    text = ",".join(f"{amount}:{key.hex()}" for amount, key in sorted(keys.items()))
    text += f"|unit:{unit.lower()}"
    if input_fee_ppk:
        text += f"|input_fee_ppk:{input_fee_ppk}"
    if final_expiry is not None:
        text += f"|final_expiry:{final_expiry}"
    return "01" + sha256(text.encode()).hex()


def short_id(keyset_id: str) -> str:
    """The id as tokens carry it: the first 16 digits (all of a version 1 id)."""
    return keyset_id[:SHORT_ID_LENGTH]


def resolve(keyset_id: str, known: Iterable[str]) -> str:
    """The one known full id that a full or short id names; KeysetUnknownError for none, MalformedError for
    several.
    """
    matches = {full for full in known if full == keyset_id or short_id(full) == keyset_id}
    if not matches:
        raise KeysetUnknownError(f"keyset {keyset_id} is not known")
    if len(matches) > 1:
        raise MalformedError(f"keyset {keyset_id} could be {' or '.join(sorted(matches))}")
    return matches.pop()


def derive_private_keys(seed: bytes, unit: str, index: int, denominations: int) -> dict[int, bytes]:
    """Private keys for 2^0 … 2^(denominations - 1) of the keyset `index` of a unit, from the mint's seed.

    HMAC all the way and not BIP32: the unit goes in by its name, so that no two units can share keys.
    """
    branch = keyset_branch(seed, unit, index)
    return {1 << exponent: derive_private_key(branch, exponent) for exponent in range(denominations)}


def keyset_branch(seed: bytes, unit: str, index: int) -> bytes:
    """The secret from which all private keys of a keyset are derived, 64 bytes."""
    return hmac_sha512(seed, _DERIVATION, index.to_bytes(4, "big"), unit.lower().encode())


def derive_private_key(branch: bytes, exponent: int) -> bytes:
    """The private key for 2^exponent of the keyset that has this branch."""
    attempt = 0
    while not is_secret(candidate := hmac_sha256(branch, bytes((exponent, attempt)))):
        attempt += 1
    return candidate


def public_keys(private_keys: Mapping[int, bytes]) -> dict[int, bytes]:
    """The keys that a mint publishes for its private ones."""
    return {amount: public_key(secret) for amount, secret in private_keys.items()}
