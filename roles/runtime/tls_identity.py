"""The certificate and key that a listener shows to peers that speak TLS: files of the operator's.

identity = TlsIdentity(certificate, key, metrics=TlsMetrics(registry))   # raises TlsUnusable
take_over = identity.prepare(certificate, key)                           # reads them anew, or raises
take_over()                                                              # from now on, for new peers
"""

import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from prometheus_client import CollectorRegistry, Counter, Gauge

from roles.runtime.errors import TlsUnusable

__all__ = ["TlsIdentity", "TlsMetrics"]

_EXPIRED = "renew it; with certbot that is `certbot renew`"


class TlsMetrics:
    """Handshakes by result, and when the certificate expires."""

    def __init__(self, registry: CollectorRegistry, name: str) -> None:
        self.handshakes = Counter(
            f"hashpool_{name}_tls_handshakes", "TLS handshakes, by result", ["result"], registry=registry
        )
        self.expires = Gauge(
            f"hashpool_{name}_tls_certificate_expires_seconds",
            "Unix time at which the certificate expires",
            registry=registry,
        )


class TlsIdentity:
    """`context` is what a new peer is spoken to with; raises TlsUnusable, which tells what to mend."""

    def __init__(self, certificate: Path, key: Path, *, metrics: TlsMetrics) -> None:
        self.context: ssl.SSLContext
        self.metrics = metrics
        self._files = (certificate, key)
        self.reload()

    def reload(self) -> None:
        """Read the files again, for peers that come from now on; raises TlsUnusable and changes nothing."""
        self.prepare(*self._files)()

    def prepare(self, certificate: Path, key: Path) -> Callable[[], None]:
        """Read these files; what is returned takes them over. Raises TlsUnusable."""
        expires = _expiry(certificate)
        _check_privacy(key)
        context = _context(certificate, key)

        def take_over() -> None:
            self._files = (certificate, key)
            self.context = context
            self.metrics.expires.set(expires.timestamp())

        return take_over


def _expiry(certificate: Path) -> datetime:
    try:
        first = x509.load_pem_x509_certificates(_read(certificate, "certificate"))[0]
    except ValueError as error:
        raise TlsUnusable(
            f"{certificate} holds no certificate",
            hint="tls.certificate names a PEM file: the certificate, and behind it those that vouch for it",
        ) from error
    now = datetime.now(UTC)
    if first.not_valid_after_utc <= now:
        raise TlsUnusable(
            f"the certificate of {certificate} has expired at {first.not_valid_after_utc:%Y-%m-%d %H:%M} UTC",
            hint=_EXPIRED,
        )
    if first.not_valid_before_utc > now:
        raise TlsUnusable(
            f"the certificate of {certificate} is not valid before"
            f" {first.not_valid_before_utc:%Y-%m-%d %H:%M} UTC",
            hint="is this machine's clock right?",
        )
    return first.not_valid_after_utc


def _check_privacy(key: Path) -> None:
    _read(key, "key")
    if key.stat().st_mode & stat.S_IRWXO:
        raise TlsUnusable(f"{key} can be read by everybody on this machine", hint=f"chmod o= {key}")


def _context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    # Some small devices take a ticket, which TLS 1.3 sends unasked, for an error.
    context.num_tickets = 0
    try:
        # A password that cannot be typed, for OpenSSL would ask for it at the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsUnusable(
                f"{key} is not the key of the certificate in {certificate}",
                hint="tls.certificate and tls.key must name the two files of one certificate",
            ) from error
        raise TlsUnusable(
            f"{key} holds no key that can be used ({error.reason or error})",
            hint="tls.key names a PEM file with a private key that has no password",
        ) from error
    return context


def _read(path: Path, setting: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsUnusable(
            f"{path} cannot be read: {error.strerror}",
            hint=f"tls.{setting} names it; the daemon's user must be able to read it",
        ) from error
