"""Base64 as Cashu writes it: the URL-safe alphabet without padding; either, padded or not, is read."""

import base64
import binascii

from protocols.cashu.errors import MalformedError


def encode(data: bytes) -> str:
    """URL-safe text without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of a text in either alphabet; raises MalformedError."""
    text = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("the text is not base64") from None
