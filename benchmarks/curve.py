"""What the curve itself costs on this machine, measured in the same run: the floor under a mint's figures."""

import os
import time
from collections.abc import Callable, Mapping

from protocols.bitcoin.secp256k1 import is_point, multiply_secret, public_key

CALLS = 200
REPETITIONS = 7


def curve_us() -> dict[str, float]:
    """CPU microseconds of multiplying a point and the generator in constant time, and of checking a point.

    The least of several repetitions, since foreign load only ever adds.
    """
    secret = bytes(31) + b"\x07"
    scalar = bytes(16) + os.urandom(16)
    point = public_key(secret)
    return {
        "multiply": _least(lambda: multiply_secret(point, scalar)),
        "generate": _least(lambda: public_key(scalar)),
        "parse": _least(lambda: is_point(point)),
    }


def curve_limit_ms(primitives: Mapping[str, float], tokens: int) -> float:
    """The least that a swap of so many tokens for as many takes.

    For each: a multiplication to verify, one to sign, one and a generator's for the DLEQ proof, and checks of
    two candidates to hash a secret to the curve, since every second is no point.
    """
    each = 3 * primitives["multiply"] + primitives["generate"] + 2 * primitives["parse"]
    return round(tokens * each / 1_000, 3)


def _least(call: Callable[[], object]) -> float:
    figures = []
    for _ in range(REPETITIONS):
        started = time.thread_time()
        for _ in range(CALLS):
            call()
        figures.append((time.thread_time() - started) / CALLS * 1e6)
    return round(min(figures), 2)
