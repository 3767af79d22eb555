"""Opening what is locked to the wallet's own keys: P2PK, HTLC with a preimage, and blinded keys (NUT-11,
14, 28).
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from protocols.cashu import p2pk, unlocking
from protocols.cashu.condition import Condition
from protocols.cashu.errors import CashuError
from protocols.cashu.models import BlindedMessage, Proof
from protocols.cashu.nut10 import ConditionSecret
from roles.runtime.storage import Connection
from roles.wallet import identity
from roles.wallet.errors import TokenLockedError
from roles.wallet.identity import Identity
from roles.wallet.kit import Kit

BLINDED_KEYS = 1_000
"""Keys of the wallet that are tried on a token whose keys are blinded."""


class Unlocker:
    """Signs inputs with the wallet's keys, and with keys and preimages that were brought for one token."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def keys(
        self, proofs: Sequence[Proof], *, secret: bytes | None = None, preimage: bytes | None = None
    ) -> unlocking.Keyring:
        """What opens these proofs; raises TokenLockedError when they cannot be opened now."""
        conditions = [_condition(proof) for proof in proofs]
        if not any(conditions):
            return unlocking.Keyring()
        blinded = any(proof.ephemeral_key is not None for proof in proofs)
        owners = await self._kit.database.read(
            lambda c: identity.everyone(c)[:BLINDED_KEYS] if blinded else _owners(c, conditions)
        )
        keyring = self._kit.keyring
        secrets = [keyring.quote_secret(who.key_index) for who in owners if keyring.holds(who.key_index)]
        if secret is not None:
            secrets.append(secret)
        found = unlocking.Keyring(tuple(secrets), () if preimage is None else (preimage,))
        try:
            self.unlock(proofs, (), found)
        except TokenLockedError as error:
            raise TokenLockedError(_why(conditions, self._now(), str(error)), hint=error.hint) from error
        return found

    def unlock(
        self, proofs: Sequence[Proof], outputs: Sequence[BlindedMessage], keys: unlocking.Keyring
    ) -> list[Proof]:
        """The proofs as inputs of a request with these outputs; raises TokenLockedError."""
        now = self._now()
        try:
            signed = unlocking.unlock(proofs, keys, now=now, aux=self._kit.entropy(32), outputs=outputs)
            p2pk.check_inputs(signed, outputs, now)
        except CashuError as error:
            raise TokenLockedError(
                f"the token is locked: {error.detail}",
                hint="it opens for the keys it is locked to: --secret FILE brings one, --preimage an HTLC's",
            ) from error
        return signed

    def _now(self) -> int:
        return self._kit.clock_ms() // 1000


def _condition(proof: Proof) -> Condition | None:
    secret = ConditionSecret.parse(proof.secret)
    try:
        return None if secret is None else Condition.parse(secret)
    except CashuError as error:
        raise TokenLockedError(f"the token can never be spent: {error.detail}") from error


def _owners(connection: Connection, conditions: Sequence[Condition | None]) -> list[Identity]:
    """Whose keys of ours the conditions name, with either parity."""
    points = {
        key[1:]
        for condition in conditions
        if condition is not None
        for key in condition.lock.keys + condition.refund.keys
    }
    found = (identity.by_key(connection, parity + x) for x in points for parity in (b"\x02", b"\x03"))
    return [each for each in found if each is not None]


def _why(conditions: Sequence[Condition | None], now: int, text: str) -> str:
    first = next(condition for condition in conditions if condition is not None)
    keys = ", ".join(key.hex() for key in first.lock.keys[:2])
    told = f"the token is locked to {keys or 'a hash'}, no key of this wallet" if keys else text
    if first.preimage_hash is not None:
        told = f"{text} (an HTLC of {first.preimage_hash.hex()})"
    if first.locktime is not None and first.locktime >= now:
        until = datetime.fromtimestamp(min(first.locktime, 1 << 37), UTC).strftime("%Y-%m-%d %H:%M UTC")
        told += f"; until {until}"
    return told
