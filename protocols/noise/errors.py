"""What can go wrong in the security layer; any of these ends the connection.

::

    NoiseError                     carries `code`, a word for logs and metrics
    ├── AuthorityKeyError          text that is no authority key
    ├── HandshakeError
    │   ├── HandshakeMalformed     an act of another size
    │   ├── HandshakeForged        an act that does not authenticate: tampered, or of another protocol
    │   └── CertificateError
    │       ├── CertificateUnsupported   of another version
    │       ├── CertificateOutOfDate     not yet or no longer valid, beyond the leeway
    │       └── WrongAuthority           not signed by the authority key that we expect
    └── TransportError
        ├── FrameForged            a header or chunk that does not authenticate
        └── NonceExhausted         2^64 - 1 messages in one direction
"""

from typing import ClassVar


class NoiseError(Exception):
    """Root of the security layer's errors."""

    code: ClassVar[str] = "noise"


class AuthorityKeyError(NoiseError):
    """The text does not encode an authority key."""

    code = "authority-key"


class HandshakeError(NoiseError):
    """The handshake did not complete."""

    code = "handshake"


class HandshakeMalformed(HandshakeError):
    """An act has another size than the protocol gives it."""

    code = "handshake-malformed"


class HandshakeForged(HandshakeError):
    """An act does not authenticate."""

    code = "handshake-forged"


class CertificateError(HandshakeError):
    """The responder's certificate does not vouch for its static key."""

    code = "certificate"


class CertificateUnsupported(CertificateError):
    """The certificate is of a version that we do not know."""

    code = "certificate-unsupported"


class CertificateOutOfDate(CertificateError):
    """The present lies outside of the certificate's validity by more than the leeway."""

    code = "certificate-out-of-date"


class WrongAuthority(CertificateError):
    """The certificate is not signed by the expected authority."""

    code = "wrong-authority"


class TransportError(NoiseError):
    """The encrypted stream is broken."""

    code = "transport"


class FrameForged(TransportError):
    """A header or chunk does not authenticate."""

    code = "frame-forged"


class NonceExhausted(TransportError):
    """No nonce is left in one direction."""

    code = "nonce-exhausted"
