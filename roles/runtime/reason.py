"""Why a peer was not reached, in few words for people."""

import os
import socket
import ssl

from roles.runtime.tls_client import tls_reason


def why(error: BaseException) -> str:
    """The system's own words, or OpenSSL's; asyncio and aiohttp put theirs around them.

    The resolver counts its errors apart from the system's.
    """
    for name in ("certificate_error", "os_error"):
        inner = getattr(error, name, None)
        if isinstance(inner, Exception):
            return why(inner)
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {tls_reason(error)}"
    if isinstance(error, TimeoutError) and error.errno is None:
        return "no answer in time"
    if isinstance(error, OSError) and error.errno is not None and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    text = error.strerror if isinstance(error, OSError) else None
    return text or str(error) or type(error).__name__
