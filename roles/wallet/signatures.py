"""From the mint's blind signatures to tokens: checked one by one, believed never."""

from collections.abc import Mapping, Sequence

from protocols.cashu import dleq
from protocols.cashu.bdhke import unblind
from protocols.cashu.errors import CashuError
from protocols.cashu.keyset import Keyset
from protocols.cashu.models import BlindSignature, Proof
from roles.wallet.errors import MintDishonest, NoKeysetError
from roles.wallet.keyring import Output
from roles.wallet.purse import HeldProof

_MAX_OUTPUTS = 256


def denominations(amount: int, keys: Mapping[int, bytes]) -> tuple[int, ...]:
    """The fewest amounts a keyset can sign that sum to `amount`, ascending, for keys that are powers of two.

    Raises NoKeysetError when its keys cannot make the sum.
    """
    parts: list[int] = []
    rest = amount
    for size in sorted(keys, reverse=True):
        count, rest = divmod(rest, size)
        parts += [size] * min(count, _MAX_OUTPUTS + 1)
    if rest or not parts or len(parts) > _MAX_OUTPUTS:
        raise NoKeysetError(f"the keyset has no denominations for {amount}")
    return tuple(reversed(parts))


def open_answer(
    keyset: Keyset, outputs: Sequence[Output], signatures: Sequence[BlindSignature]
) -> list[HeldProof]:
    """The tokens of a mint's whole answer; raises MintDishonest unless every signature is for its output."""
    if len(outputs) != len(signatures):
        raise MintDishonest(f"the mint signed {len(signatures)} of {len(outputs)} outputs")
    pairs = list(zip(outputs, signatures, strict=True))
    if any(output.message.amount != signature.amount for output, signature in pairs):
        raise MintDishonest("the mint signed another amount than it was asked for")
    return [open_one(keyset, output, signature) for output, signature in pairs]


def open_one(keyset: Keyset, output: Output, signature: BlindSignature) -> HeldProof:
    """One token, of the amount that its signature names; raises MintDishonest.

    The DLEQ is demanded: without it a mint could sign with a key of its own for each wallet.
    """
    key = keyset.keys.get(signature.amount)
    if signature.keyset_id != keyset.keyset_id or key is None:
        raise MintDishonest("the mint signed with another keyset than it was asked for")
    proof = signature.dleq
    if proof is None or not dleq.verify(key, output.message.blinded, signature.signature, proof):
        raise MintDishonest("the mint signed without a valid DLEQ proof")
    try:
        opened = unblind(signature.signature, output.derived.blinding, key)
    except CashuError as error:
        raise MintDishonest(f"the mint's signature cannot be opened: {error.detail}") from error
    return HeldProof(
        Proof(signature.amount, keyset.keyset_id, output.derived.secret, opened, None, proof),
        output.counter,
        blinding=output.derived.blinding,
    )
