"""Finding again what the mint has signed: outputs of the seed are derived anew and shown to it (NUT-09,
NUT-13).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from protocols.cashu.keyset import Keyset
from roles.wallet.keyring import Keyring, Output
from roles.wallet.mint_client import MintClient
from roles.wallet.purse import HeldProof, state_word
from roles.wallet.signatures import open_one

BATCH = 100
EMPTY_BATCHES = 3


@dataclass(frozen=True, slots=True)
class Found:
    """Tokens that the mint had signed, each with its state, and the first counter after the last of them."""

    proofs: tuple[HeldProof, ...]
    next_counter: int


async def scan_keyset(
    mint: MintClient,
    keyring: Keyring,
    keyset: Keyset,
    first_counter: int = 0,
    progress: Callable[[int], None] = lambda _: None,
    *,
    empty_batches: int = EMPTY_BATCHES,
) -> Found:
    """All tokens of a keyset from a counter on, until some batches of 100 in a row hold none.

    `progress` is called with the number of tokens of each batch. Raises what the client raises.
    """
    proofs: list[HeldProof] = []
    counter, empty = first_counter, 0
    while empty < empty_batches:
        found = await recover(mint, keyring, keyset, [*range(counter, counter + BATCH)])
        proofs += found
        progress(len(found))
        empty = 0 if found else empty + 1
        counter += BATCH
    last = max((held.counter for held in proofs if held.counter is not None), default=first_counter - 1)
    return Found(tuple(proofs), last + 1)


async def recover(
    mint: MintClient, keyring: Keyring, keyset: Keyset, counters: Sequence[int]
) -> list[HeldProof]:
    """The tokens behind those of the counters that the mint has signed, with their states."""
    # The amount of an output does not matter here: the mint goes by B_ and names the amount it signed.
    outputs = [keyring.output(keyset.keyset_id, counter, 1) for counter in counters]
    by_point: dict[bytes, Output] = {output.message.blinded: output for output in outputs}
    signed = await mint.restore([output.message for output in outputs])
    proofs = [
        open_one(keyset, by_point.pop(message.blinded), signature)
        for message, signature in signed
        if message.blinded in by_point
    ]
    if not proofs:
        return []
    states = await mint.check_state([held.y for held in proofs])
    return [
        HeldProof(held.proof, held.counter, state_word(state))
        for held, state in zip(proofs, states, strict=True)
    ]
