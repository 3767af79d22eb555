"""How we speak TLS to a server that we dial: who may vouch for it, or which one certificate it may show."""

import hashlib
import hmac
import ssl
from dataclasses import dataclass
from pathlib import Path

from roles.runtime.errors import TlsUnusable

__all__ = ["TlsClient", "tls_client", "tls_reason"]


@dataclass(frozen=True, slots=True)
class TlsClient:
    """`server_name` is what the certificate must be for; with a `fingerprint` (SHA-256 in hex) it must be
    that very certificate, and nobody need vouch for it.
    """

    context: ssl.SSLContext
    server_name: str
    fingerprint: str | None = None

    def is_satisfied(self, certificate: bytes | None) -> bool:
        """Whether a certificate, in DER, is the one that was named, if one was."""
        if self.fingerprint is None:
            return True
        return hmac.compare_digest(hashlib.sha256(certificate or b"").hexdigest(), self.fingerprint)

    def named(self, server_name: str) -> "TlsClient":
        """The same for a server of another name."""
        return TlsClient(self.context, server_name, self.fingerprint)


def tls_client(
    server_name: str, *, authority: Path | None = None, fingerprint: str | None = None
) -> TlsClient:
    """Vouched for by the system's authorities, by those in a PEM file, or by nobody where it has the
    fingerprint; raises TlsUnusable.
    """
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise TlsUnusable(
            f"{authority} holds no certificates that can be read: {tls_reason(error)}",
            hint="tls_ca_file names a PEM file",
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if fingerprint is not None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return TlsClient(context, server_name, fingerprint)


def tls_reason(error: OSError) -> str:
    """OpenSSL's word for what is wrong."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        # One that was not made by OpenSSL has no reason.
        return getattr(error, "reason", None) or str(error)
    return error.strerror or str(error)
