"""Locks for what is handed out: a secret for each output that only some keys can spend (NUT-11, NUT-14,
NUT-28).
"""

from collections.abc import Callable

from protocols.bitcoin.secp256k1 import is_secret, public_key
from protocols.cashu.deterministic import Derived
from protocols.cashu.lock import Lock
from roles.wallet.exchange import Wanted

Draw = Callable[[int], Wanted]
"""Makes an output of an amount for somebody else."""


def drawing(lock: Lock, entropy: Callable[[int], bytes], *, blinded: bool = False) -> Draw:
    """Draws outputs with a lock; with `blinded` its keys are other ones in each, so that the mint cannot tell
    whose they are. Raises MalformedError for a lock that no mint would ever open.
    """

    # With SIG_ALL all inputs must have the same lock, hence the same keys.
    shared = scalar(entropy) if lock.sig_all else None

    def draw(amount: int) -> Wanted:
        if not blinded:
            return Wanted(amount, drawn=Derived(lock.secret(entropy(32)), scalar(entropy)), given=True)
        ephemeral = shared or scalar(entropy)
        drawn = Derived(lock.blinded(ephemeral).secret(entropy(32)), scalar(entropy))
        return Wanted(amount, drawn=drawn, given=True, ephemeral_key=public_key(ephemeral))

    return draw


def scalar(entropy: Callable[[int], bytes]) -> bytes:
    """A random private key or blinding factor, 32 bytes."""
    while not is_secret(candidate := entropy(32)):
        pass
    return candidate
