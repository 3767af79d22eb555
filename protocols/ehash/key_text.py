"""A locking key where only text travels: SV1 user names and passwords, SV2 user identities.

The text is base58check of 0x48 and the 33-byte key, 52 characters that begin with B; 66 hex digits are read
as well. `<key>`, `<key>.worker` and `k=<key>` name one. What looks like a key and is none is refused: a
typing error must not turn a miner's key into a name that earns nothing.
"""

import re
from dataclasses import dataclass

from protocols.bitcoin.base58 import decode_check, encode_check
from protocols.bitcoin.errors import Base58Error
from protocols.bitcoin.secp256k1 import is_point
from protocols.ehash.errors import KeyTextError

KEY_VERSION = 0x48
KEY_SIZE = 33
HEX_SIZE = 2 * KEY_SIZE
OPTION = "k="

# A few characters more or less than a key has are a key with a typing error. Bitcoin addresses are shorter
# (base58, version 0 segwit) or longer and no hex (taproot).
_BASE58_LIKE = re.compile(r"[0-9A-Za-z]{49,55}")
_HEX_LIKE = re.compile(r"[0-9A-Fa-f]{58,74}")
_OPTIONS = re.compile(r"[\s,;]+")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose work it is: a locking key, if the text names one, and what else it says."""

    key: bytes | None
    worker: str


def encode_key(key: bytes) -> str:
    """The 52-character text of a locking key; raises KeyTextError for what is no compressed point."""
    return encode_check(bytes((KEY_VERSION,)) + _on_curve(key))


def decode_key(text: str) -> bytes:
    """The 33-byte key of base58check or hex `text`; raises KeyTextError for anything else."""
    if _HEX_LIKE.fullmatch(text):
        if len(text) != HEX_SIZE:
            raise KeyTextError(f"a locking key in hex has {HEX_SIZE} digits, this has {len(text)}")
        return _on_curve(bytes.fromhex(text))
    try:
        payload = decode_check(text)
    except Base58Error as error:
        raise KeyTextError(f"not a locking key: {error}") from error
    if len(payload) != KEY_SIZE + 1 or payload[0] != KEY_VERSION:
        raise KeyTextError("not a locking key: base58check text of something else")
    return _on_curve(payload[1:])


def parse_identity(text: str) -> Identity:
    """Read a user name or user identity; raises KeyTextError for a key that is mistyped or not on the curve.

    `k=<key>` must be a key. Otherwise the part before the first full stop is one if it looks like one; a text
    without a key is all worker name.
    """
    named = text.startswith(OPTION)
    head, _, worker = text.removeprefix(OPTION).partition(".")
    if named or _looks_like_key(head):
        return Identity(decode_key(head), worker)
    return Identity(None, text)


def find_key_option(text: str) -> bytes | None:
    """The key of a `k=<key>` among the options of a password such as `x,d=1024,k=...`; raises KeyTextError.

    Options are parted by commas, semicolons or blanks; two different keys are an error.
    """
    keys = {decode_key(word[len(OPTION) :]) for word in _OPTIONS.split(text) if word.startswith(OPTION)}
    if len(keys) > 1:
        raise KeyTextError("two locking keys are named")
    return next(iter(keys), None)


def _looks_like_key(text: str) -> bool:
    return bool(_BASE58_LIKE.fullmatch(text) or _HEX_LIKE.fullmatch(text))


def _on_curve(key: bytes) -> bytes:
    if not is_point(key):
        raise KeyTextError("not a locking key: not a compressed point of the curve")
    return key
