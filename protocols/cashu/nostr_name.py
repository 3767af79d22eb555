"""Names of Nostr keys as payment requests use them (NIP-19): npub, a bare key, and nprofile, a key with
relays.
"""

from dataclasses import dataclass

from protocols.bitcoin.bech32 import BECH32, decode_bytes, encode_bytes
from protocols.bitcoin.errors import Bech32Error
from protocols.cashu.errors import MalformedError

KEY_SIZE = 32
TEXT_LIMIT = 4096
_KEY, _RELAY = 0, 1


@dataclass(frozen=True, slots=True)
class NostrName:
    """An x-only public key (32 bytes), and the addresses of relays where its owner reads."""

    key: bytes
    relays: tuple[str, ...] = ()

    def to_text(self) -> str:
        """npub without relays, nprofile with."""
        if not self.relays:
            return encode_bytes("npub", self.key, BECH32)
        fields = [(_KEY, self.key), *((_RELAY, relay.encode()) for relay in self.relays)]
        data = b"".join(bytes((kind, len(value))) + value for kind, value in fields)
        return encode_bytes("nprofile", data, BECH32)

    @classmethod
    def parse(cls, text: str) -> "NostrName":
        """Read either form; raises MalformedError."""
        try:
            prefix, data = decode_bytes(text, BECH32, TEXT_LIMIT)
        except Bech32Error as error:
            raise MalformedError(f"the Nostr name: {error}") from None
        if prefix == "npub" and len(data) == KEY_SIZE:
            return cls(data)
        if prefix != "nprofile":
            raise MalformedError("the Nostr name is neither npub nor nprofile")
        return cls._from_fields(data)

    @classmethod
    def _from_fields(cls, data: bytes) -> "NostrName":
        keys, relays = [], []
        while data:
            if len(data) < 2 or len(data) < 2 + data[1]:
                raise MalformedError("the Nostr name ends within a field")
            kind, value, data = data[0], data[2 : 2 + data[1]], data[2 + data[1] :]
            if kind == _KEY:
                keys.append(value)
            elif kind == _RELAY:
                relays.append(value.decode("utf-8", "replace"))
        if len(keys) != 1 or len(keys[0]) != KEY_SIZE:
            raise MalformedError("the Nostr name does not hold exactly one key")
        return cls(keys[0], tuple(relays))
