"""How a listener proves itself: a static key made for this process, signed for by the authority key."""

import secrets
import time
from collections.abc import Callable

from protocols.bitcoin import secp256k1
from protocols.noise.certificate import BACKDATE, Certificate
from protocols.noise.handshake import Responder

CERTIFICATE_S = 24 * 3600


def fresh_secret(entropy: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """A new secret scalar, 32 bytes."""
    secret = entropy(secp256k1.SECRET_SIZE)
    while not secp256k1.is_secret(secret):
        secret = entropy(secp256k1.SECRET_SIZE)
    return secret


class NoiseIdentity:
    """Makes a responder for each handshake; the certificate is renewed when half of its time is over."""

    def __init__(
        self,
        authority_secret: bytes,
        *,
        clock: Callable[[], float] = time.time,
        lifetime_s: int = CERTIFICATE_S,
    ) -> None:
        self._authority_secret = authority_secret
        self._clock = clock
        self._lifetime = lifetime_s
        self._secret = fresh_secret()
        self._ellswift = secp256k1.ellswift_create(self._secret, secrets.token_bytes(32))
        self._certificate = self._issue()

    def responder(self) -> Responder:
        """One side of one handshake."""
        return Responder(
            static_secret=self._secret,
            static_ellswift=self._ellswift,
            certificate=self.certificate().pack(),
            ephemeral_secret=fresh_secret(),
            ephemeral_aux=secrets.token_bytes(32),
        )

    def certificate(self) -> Certificate:
        """The certificate of the moment, with at least half of its lifetime left."""
        now = self._clock()
        current = self._certificate
        if not current.valid_from <= now <= current.not_valid_after - self._lifetime // 2:
            self._certificate = self._issue()
        return self._certificate

    def _issue(self) -> Certificate:
        now = int(self._clock())
        return Certificate.issue(
            self._authority_secret,
            secp256k1.xonly(secp256k1.public_key(self._secret)),
            valid_from=now - BACKDATE,
            not_valid_after=now + self._lifetime,
            aux=secrets.token_bytes(32),
        )
