"""The curve work of requests, off the event loop: one hop to a small thread pool for all of a request's
points.

The library lets go of the interpreter's lock while it computes. When too many requests wait, further ones are
refused at once instead of being kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from protocols.cashu import bdhke, dleq
from protocols.cashu.curve import secret_point
from protocols.cashu.errors import ProofNotVerifiedError
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof
from roles.mint.errors import OverloadedError
from roles.mint.keysets import KeysetBook

T = TypeVar("T")
MAX_WAITING = 256


class Signatory:
    """Runs the work of wallets on `threads` threads, at most `waiting` requests at a time, and the mint's own
    on another, so that no crowd of wallets holds up the credits of pools.
    """

    def __init__(self, threads: int = 2, waiting: int = MAX_WAITING) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="curve")
        self._own = ThreadPoolExecutor(1, thread_name_prefix="credits")
        self.limit = waiting
        self._running = 0

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`; raises what it raises, OverloadedError when too many requests wait."""
        if self._running >= self.limit:
            raise OverloadedError("too many requests wait for their signatures")
        self._running += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work)
        future.add_done_callback(self._done)
        return await future

    async def run_own(self, work: Callable[[], T]) -> T:
        """The result of `work` that is the mint's own and bounded otherwise."""
        return await asyncio.get_running_loop().run_in_executor(self._own, work)

    def close(self) -> None:
        """Finish what runs and end the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._own.shutdown(wait=True, cancel_futures=True)

    def _done(self, _: object) -> None:
        self._running -= 1


def sign(outputs: Sequence[BlindedMessage], book: KeysetBook) -> list[BlindSignature]:
    """Blind signatures with DLEQ proofs, the same ones whenever they are asked for; raises CashuErrors."""
    signatures = []
    for output in outputs:
        key = book.get(output.keyset_id).key(output.amount)
        signature, proof = dleq.sign(key.private, key.whole, output.blinded)
        signatures.append(BlindSignature(output.amount, output.keyset_id, signature, proof))
    return signatures


def verify(inputs: Sequence[Proof], book: KeysetBook) -> list[bytes]:
    """The Ys of the inputs if the mint signed them all; raises ProofNotVerifiedError."""
    points = []
    for proof in inputs:
        key = book.get(proof.keyset_id).key(proof.amount)
        point = secret_point(proof.secret)
        if not bdhke.verify_point(key.private, point, proof.signature):
            raise ProofNotVerifiedError("an input was not signed by this mint")
        points.append(point)
    return points
