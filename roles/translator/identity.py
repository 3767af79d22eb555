"""Who an SV1 miner says it is: user name, locking key and wishes, out of user name and password."""

import re
from dataclasses import dataclass
from fractions import Fraction

from protocols.ehash.errors import KeyTextError
from protocols.ehash.key_text import encode_key, find_key_option, parse_identity
from protocols.ehash.messages import EXTENSION, TLV_CHANNEL_KEY
from protocols.sv1 import fields
from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.requests import Authorize
from protocols.sv2.tlv import Tlv

USER_BYTES = 255
LABEL = 64

_OPTIONS = re.compile(r"[\s,;]+")
_ENCODED = re.compile(r"%([2-6][0-9A-Fa-f]|7[0-9A-Ea-e])")
"""Printable ASCII, percent-encoded."""
_DIFFICULTY = ("d=", "diff=")


@dataclass(frozen=True, slots=True)
class MinerIdentity:
    """`user` as the miner wrote it; `key` (33 bytes) if it brings its own, in the user name or in the
    password.

    `floor` is the least difficulty that its password asks for.
    """

    user: str
    key: bytes | None
    key_in_user: bool
    floor: Fraction | None

    @property
    def label(self) -> str:
        """The name for logs and metrics: printable and short."""
        return "".join(c if c.isprintable() else "?" for c in self.user[:LABEL])

    def on_wire(self, extensions: frozenset[int]) -> tuple[str, tuple[Tlv, ...]]:
        """User identity and TLVs of the channel; without the extension a key from the password goes as
        text.
        """
        if self.key is None:
            return self.user, ()
        if EXTENSION in extensions:
            return self.user, (Tlv(EXTENSION, TLV_CHANNEL_KEY, self.key),)
        return self.user if self.key_in_user else f"{encode_key(self.key)}.{self.user}", ()


def read_identity(request: Authorize) -> MinerIdentity:
    """Read what mining.authorize says; raises Rejection for a mistyped key, two keys or too long a name."""
    user = _decoded(request.user)
    try:
        key = parse_identity(user).key
        other = find_key_option(request.password)
    except KeyTextError as error:
        raise Rejection(ErrorCode.UNAUTHORIZED, f"Invalid key: {error}") from error
    if key is not None and other is not None and key != other:
        raise Rejection(ErrorCode.UNAUTHORIZED, "User name and password name different keys")
    identity = MinerIdentity(user, key or other, key is not None, _floor(request.password))
    longest, _ = identity.on_wire(frozenset())
    if len(longest.encode()) > USER_BYTES:
        raise Rejection(ErrorCode.UNAUTHORIZED, "User name too long")
    return identity


def _decoded(user: str) -> str:
    """A user name as a person wrote it: Whatsminer sends what is no letter or digit as %2E and the like."""
    return _ENCODED.sub(lambda found: chr(int(found[1], 16)), user)


def _floor(password: str) -> Fraction | None:
    for option in _OPTIONS.split(password):
        for name in _DIFFICULTY:
            if option.startswith(name):
                return fields.difficulty(option.removeprefix(name))
    return None
