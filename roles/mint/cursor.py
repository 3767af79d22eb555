"""Where the next page of a look-up begins: opaque to the wallet, good for the same method and keys only."""

import base64
import binascii
import hmac
from collections.abc import Sequence

from protocols.bitcoin.hashing import hmac_sha256
from protocols.cashu.errors import MalformedError

_TAG_SIZE = 16


class CursorCodec:
    """Writes and reads cursors, authenticated by a key of the mint."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def write(self, last: str, method: str, pubkeys: Sequence[bytes]) -> str:
        """The cursor to go on after the quote `last`."""
        data = self._tag(last, method, pubkeys) + last.encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    def read(self, cursor: str, method: str, pubkeys: Sequence[bytes]) -> str:
        """The quote id to go on after; raises MalformedError for a cursor that is not of this look-up."""
        try:
            data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            last = data[_TAG_SIZE:].decode()
        except (binascii.Error, ValueError):
            raise MalformedError("the cursor is malformed") from None
        if not hmac.compare_digest(data[:_TAG_SIZE], self._tag(last, method, pubkeys)):
            raise MalformedError("the cursor is not of this look-up")
        return last

    def _tag(self, last: str, method: str, pubkeys: Sequence[bytes]) -> bytes:
        keys = b"".join(sorted(pubkeys))
        return hmac_sha256(self._key, f"{method}\0{last}\0".encode(), keys)[:_TAG_SIZE]
