"""How fast the machine is just now, by things that anybody can measure.

Shared machines drift by half within an hour. Figures of two runs can be compared only as far as these agree;
else compare ratios.
"""

import os
import socket
import time
from array import array
from collections.abc import Callable, Mapping
from statistics import median

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key

REPETITIONS = 9
MESSAGE = 150
"""Bytes, about those of a share on the wire."""
PLACES = 1 << 21
"""Of four bytes each: more than the second cache of a core, and less than the third where that is ours."""


def speed() -> dict[str, float]:
    """CPU microseconds, the medians of several repetitions.

    They are what it takes to seal a message, to hash a header's length once, to multiply the curve's
    generator in constant time, to go a thousand times round a loop, to send a message by loopback, and to
    follow a thousand pointers through 8 MiB: a shared third cache makes that several times slower, and with
    it all that comes to objects which were not looked at for a while.
    """
    seal, nonce, message = ChaCha20Poly1305(os.urandom(32)).encrypt, bytes(12), bytes(MESSAGE)
    header, secret = bytes(80), bytes(31) + b"\x07"
    # A full cycle whose next place nothing foresees.
    pointers = array("I", ((1_664_525 * place + 1_013_904_223) % PLACES for place in range(PLACES)))
    at = 0

    def follow() -> None:
        nonlocal at
        place = at
        for _ in range(1_000):
            place = pointers[place]
        at = place

    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    with near, far:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def pass_on() -> None:
            near.send(message)
            far.recv(MESSAGE)

        return {
            "seal_us": _median(lambda: seal(nonce, message, None), 2_000),
            "hash_us": _median(lambda: sha256(header), 4_000),
            "generate_us": _median(lambda: public_key(secret), 200),
            "loop_us": _median(_loop, 50),
            "loopback_us": _median(pass_on, 500),
            "chase_us": _median(follow, 50),
        }


def both(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What lies between the figures of two moments."""
    return {name: round((before[name] + after[name]) / 2, 2) for name in before}


def _loop() -> int:
    total = 0
    for number in range(1_000):
        total += number * number
    return total


def _median(call: Callable[[], object], calls: int) -> float:
    figures = []
    for _ in range(REPETITIONS):
        started = time.thread_time()
        for _ in range(calls):
            call()
        figures.append((time.thread_time() - started) / calls * 1e6)
    return round(median(figures), 2)
