"""The curve work of requests, off the event loop: one hop to a small thread pool for all of a request's
points.

The native kernel does all points of a request in one call, without the interpreter's lock. When too many
requests wait, further ones are refused at once instead of being kept.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from protocols.cashu.errors import MalformedError, ProofNotVerifiedError
from protocols.cashu.models import BlindedMessage, BlindSignature, Dleq, Proof
from protocols.cashu.signer import Signed
from roles.mint.errors import OverloadedError
from roles.mint.keysets import KeysetBook, SigningKey
from roles.runtime.crew import Crew
from roles.runtime.kernel import kernel

T = TypeVar("T")
MAX_WAITING = 256


class Signatory:
    """Runs the work of wallets on `threads` threads, at most `waiting` requests at a time, and the mint's own
    on another, so that no crowd of wallets holds up the credits of pools.
    """

    def __init__(self, threads: int = 2, waiting: int = MAX_WAITING) -> None:
        self._crew = Crew("curve", threads)
        self._own = Crew("credits", 1)
        self.limit = waiting

    @property
    def waiting(self) -> int:
        """Requests of wallets that are computed, or wait for that."""
        return self._crew.pending

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`; raises what it raises, OverloadedError when too many requests wait."""
        if self._crew.pending >= self.limit:
            raise OverloadedError("too many requests wait for their signatures")
        return await self._crew.run(work)

    async def run_own(self, work: Callable[[], T]) -> T:
        """The result of `work` that is the mint's own and bounded otherwise."""
        return await self._own.run(work)

    def close(self) -> None:
        """Finish what runs and end the threads."""
        self._crew.close()
        self._own.close()


def sign(outputs: Sequence[BlindedMessage], book: KeysetBook) -> list[BlindSignature]:
    """Blind signatures with DLEQ proofs, the same ones whenever they are asked for; raises CashuErrors."""
    keys = _keys(outputs, book)
    jobs = [(key.private, key.whole, output.blinded) for key, output in zip(keys, outputs, strict=True)]
    return [
        _signature(output, signed) for output, signed in zip(outputs, kernel().signer.sign(jobs), strict=True)
    ]


def verify(inputs: Sequence[Proof], book: KeysetBook) -> list[bytes]:
    """The Ys of the inputs if the mint signed them all; raises ProofNotVerifiedError."""
    keys = _keys(inputs, book)
    jobs = [
        (key.private, proof.secret.encode(), proof.signature) for key, proof in zip(keys, inputs, strict=True)
    ]
    points = [point for point in kernel().signer.verify(jobs) if point is not None]
    if len(points) != len(inputs):
        raise ProofNotVerifiedError("an input was not signed by this mint")
    return points


def _keys(items: Sequence[Proof | BlindedMessage], book: KeysetBook) -> list[SigningKey]:
    """The key of each, in that order."""
    amounts: dict[str, list[int]] = {}
    for item in items:
        amounts.setdefault(item.keyset_id, []).append(item.amount)
    keys = {keyset_id: iter(book.get(keyset_id).keys(each)) for keyset_id, each in amounts.items()}
    return [next(keys[item.keyset_id]) for item in items]


def _signature(output: BlindedMessage, signed: Signed | None) -> BlindSignature:
    if signed is None:
        raise MalformedError("B_: not a compressed point of secp256k1")
    signature, e, s = signed
    return BlindSignature(output.amount, output.keyset_id, signature, Dleq(e, s))
