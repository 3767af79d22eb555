"""Who an SV1 miner says it is: user name, locking key and wishes, out of user name and password."""

from dataclasses import dataclass
from fractions import Fraction

from protocols.ehash.errors import KeyTextError
from protocols.ehash.key_text import encode_key, find_key_option, parse_identity
from protocols.ehash.messages import EXTENSION, TLV_CHANNEL_KEY
from protocols.sv1.errors import ErrorCode, Rejection
from protocols.sv1.requests import Authorize
from protocols.sv2.tlv import Tlv
from roles.stratum.credentials import as_written, asked_difficulty

USER_BYTES = 255
LABEL = 64


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
    user = as_written(request.user)
    try:
        key = parse_identity(user).key
        other = find_key_option(request.password)
    except KeyTextError as error:
        raise Rejection(ErrorCode.UNAUTHORIZED, f"Invalid key: {error}") from error
    if key is not None and other is not None and key != other:
        raise Rejection(ErrorCode.UNAUTHORIZED, "User name and password name different keys")
    identity = MinerIdentity(user, key or other, key is not None, asked_difficulty(request.password))
    longest, _ = identity.on_wire(frozenset())
    if len(longest.encode()) > USER_BYTES:
        raise Rejection(ErrorCode.UNAUTHORIZED, "User name too long")
    return identity
