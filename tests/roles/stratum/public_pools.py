"""Fakes of public pools: each does what is known of that kind of server; nothing of it is from one.

They are as strict as the servers that they stand for. Difficulties are lower by `EASIER`, so that tests can
find shares.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Final

from tests.roles.stratum.fake_pool import FakePool, Params, Peer, Share

EASIER: Final = 1 << 43


def ckpool() -> FakePool:
    """Falls silent on what it does not know, takes OR for version bits, goes on with sessions, and refuses
    names on a connection that has not let them in.
    """

    def extranonce(peer: Peer, id: int, _params: Params) -> None:
        peer.answer(id, None, [20, "Not supported.", None])

    def verdict(peer: Peer, share: Share) -> None:
        said = {"": (True, None), "difficulty": (False, [23, "Above target", None])}
        result, error = said.get(share.fault, (False, [20, share.fault, None]))
        more = {"reject-reason": error[1]} if error else {}
        peer.answer(share.id, result, error, **more)

    return FakePool(
        difficulty=Fraction(1_000_000, EASIER),
        combine=lambda version, _mask, bits: version | bits,
        resumes=True,
        keeps_tip=True,
        answers={"mining.extranonce.subscribe": extranonce, "mining.suggest_difficulty": silent},
        verdict=verdict,
    )


def public_pool() -> FakePool:
    """Takes XOR for version bits, judges by the difficulty of the moment, answers nothing unknown, and sends
    its work with clean_jobs whenever it sends a difficulty.
    """

    def verdict(peer: Peer, share: Share) -> None:
        if share.fault:
            peer.answer(share.id, None, [23, "Difficulty too low", ""])
        else:
            peer.answer(share.id, True)

    return FakePool(
        difficulty=Fraction(16_384, EASIER),
        combine=lambda version, _mask, bits: version ^ bits,
        judges_by_present=True,
        answers={"mining.extranonce.subscribe": silent},
        verdict=verdict,
    )


def datum() -> FakePool:
    """Ids must be numbers, methods known; the mask is told twice, and a share must name its version bits.

    A difficulty that is to count at once comes with a job of its own, whose id says so.
    """

    def configured(peer: Peer, id: int, params: Params) -> None:
        assert type(id) is int
        peer.configured(id, params)
        peer.set_mask(peer.mask)

    def unknown(peer: Peer, id: int, _params: Params) -> None:
        peer.answer(id, None, [-3, "Method not found", None])

    def verdict(peer: Peer, share: Share) -> None:
        texts = {
            "no job": (20, "unknown-work"),
            "difficulty": (23, "high-hash"),
            "duplicate": (22, "duplicate"),
        }
        if share.fault:
            peer.answer(share.id, None, [*texts.get(share.fault, (20, share.fault)), None])
        else:
            peer.answer(share.id, True)

    return FakePool(
        difficulty=Fraction(16_384, EASIER),
        job_form="Q{:014x}",
        answers={"mining.configure": configured, "mining.extranonce.subscribe": unknown},
        verdict=verdict,
    )


def nicehash() -> FakePool:
    """Leaves three bytes to roll behind five of its own, at a high difficulty, and gives other ones."""

    def extranonce(peer: Peer, id: int, _params: Params) -> None:
        peer.answer(id, True)
        peer.set_extranonce(peer.pool.grant(""), 3)
        peer.notify(clean=True)

    return FakePool(
        difficulty=Fraction(524_288, EASIER),
        extranonce1_size=5,
        extranonce2_size=3,
        answers={"mining.extranonce.subscribe": extranonce},
    )


def silent(_peer: Peer, _id: int, _params: Params) -> None:
    """Says nothing to a method."""


KINDS: Final[dict[str, Callable[[], FakePool]]] = {
    "ckpool": ckpool,
    "public-pool": public_pool,
    "datum": datum,
    "nicehash": nicehash,
}
