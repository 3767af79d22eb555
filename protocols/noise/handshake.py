"""The two acts of Noise NX with EllSwift keys (spec section 4.5); the initiator is always the TCP client.

Act 1 is the initiator's ephemeral key, 64 bytes. Act 2 is the responder's ephemeral key, its static key and
its certificate, the latter two encrypted: 64 + 80 + 90 = 234 bytes. Neither has a length prefix.
"""

from dataclasses import dataclass, field

from protocols.bitcoin import secp256k1
from protocols.noise.certificate import CERTIFICATE_SIZE, Certificate
from protocols.noise.errors import HandshakeMalformed
from protocols.noise.symmetric import MAC_SIZE, SymmetricState

ELLSWIFT_SIZE = 64
ACT1_SIZE = ELLSWIFT_SIZE
ACT2_SIZE = ELLSWIFT_SIZE + ELLSWIFT_SIZE + MAC_SIZE + CERTIFICATE_SIZE + MAC_SIZE


@dataclass(frozen=True, slots=True)
class Session:
    """The outcome: transcript hash, the peer's x-only static key (known to the initiator), transport keys."""

    handshake_hash: bytes
    peer_static: bytes | None
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)


class Initiator:
    """The client's side; the ephemeral secret and its 32 bytes of entropy serve one handshake only.

    `authority` is the x-only key that must have signed the responder's certificate. Without one nothing in
    the certificate is checked, and the session is secret but not authenticated.
    """

    def __init__(self, *, ephemeral_secret: bytes, ephemeral_aux: bytes, authority: bytes | None) -> None:
        self._secret = ephemeral_secret
        self._ellswift = secp256k1.ellswift_create(ephemeral_secret, ephemeral_aux)
        self._authority = authority
        self._state = SymmetricState()

    def start(self) -> bytes:
        """Return act 1, 64 bytes."""
        self._state.mix_hash(self._ellswift)
        return self._ellswift + self._state.encrypt_and_hash(b"")

    def receive(self, act2: bytes, now: int) -> Session:
        """Take act 2 at unix second `now`; raise HandshakeMalformed, HandshakeForged, CertificateError."""
        _check_size(act2, ACT2_SIZE)
        state = self._state
        ephemeral, static, certificate = act2[:64], act2[64:144], act2[144:]
        state.mix_hash(ephemeral)
        state.mix_key(secp256k1.ellswift_xdh(self._secret, self._ellswift, ephemeral, initiator=True))
        static = state.decrypt_and_hash(static)
        state.mix_key(secp256k1.ellswift_xdh(self._secret, self._ellswift, static, initiator=True))
        certificate = state.decrypt_and_hash(certificate)
        peer = secp256k1.xonly(secp256k1.ellswift_decode(static))
        if self._authority is not None:
            Certificate.parse(certificate).verify(self._authority, peer, now)
        send_key, receive_key = state.split()
        return Session(state.hash, peer, send_key, receive_key)


class Responder:
    """The server's side; static key and certificate serve many handshakes, the ephemeral secret one."""

    def __init__(
        self,
        *,
        static_secret: bytes,
        static_ellswift: bytes,
        certificate: bytes,
        ephemeral_secret: bytes,
        ephemeral_aux: bytes,
    ) -> None:
        self._static_secret = static_secret
        self._static_ellswift = static_ellswift
        self._certificate = certificate
        self._secret = ephemeral_secret
        self._ellswift = secp256k1.ellswift_create(ephemeral_secret, ephemeral_aux)

    def receive(self, act1: bytes) -> tuple[bytes, Session]:
        """Take act 1; return act 2 to send and the session. Raise HandshakeMalformed for another size."""
        _check_size(act1, ACT1_SIZE)
        state = SymmetricState()
        state.mix_hash(act1)
        state.decrypt_and_hash(b"")
        state.mix_hash(self._ellswift)
        state.mix_key(secp256k1.ellswift_xdh(self._secret, act1, self._ellswift, initiator=False))
        static = state.encrypt_and_hash(self._static_ellswift)
        state.mix_key(
            secp256k1.ellswift_xdh(self._static_secret, act1, self._static_ellswift, initiator=False)
        )
        certificate = state.encrypt_and_hash(self._certificate)
        receive_key, send_key = state.split()
        return self._ellswift + static + certificate, Session(state.hash, None, send_key, receive_key)


def _check_size(act: bytes, size: int) -> None:
    if len(act) != size:
        raise HandshakeMalformed(f"an act of {len(act)} bytes where {size} belong")
