"""RIPEMD-160 in Python, as an OpenSSL may come without it; only addresses and key fingerprints need it."""

from itertools import pairwise
from struct import pack, unpack

DIGEST_SIZE = 20
BLOCK_SIZE = 64

_MASK = 0xFFFFFFFF
_START = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
_RHO = (7, 4, 13, 1, 10, 6, 15, 3, 12, 0, 9, 5, 2, 14, 11, 8)
_LEFT_CONSTANTS = (0x00000000, 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xA953FD4E)
_RIGHT_CONSTANTS = (0x50A28BE6, 0x5C4DD124, 0x6D703EF3, 0x7A6D76E9, 0x00000000)
# Rotation of the word with this index, one row a round.
_ROTATIONS = (
    (11, 14, 15, 12, 5, 8, 7, 9, 11, 13, 14, 15, 6, 7, 9, 8),
    (12, 13, 11, 15, 6, 9, 9, 7, 12, 15, 11, 13, 7, 8, 7, 7),
    (13, 15, 14, 11, 7, 7, 6, 8, 13, 14, 13, 12, 5, 5, 6, 9),
    (14, 11, 12, 14, 8, 6, 5, 5, 15, 12, 15, 14, 9, 9, 8, 6),
    (15, 12, 13, 13, 9, 5, 8, 6, 14, 11, 12, 11, 8, 6, 5, 5),
)


def _word_orders(first: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    orders = [first]
    for _ in range(4):
        orders.append(tuple(_RHO[word] for word in orders[-1]))
    return tuple(orders)


_LEFT_ORDERS = _word_orders(tuple(range(16)))
_RIGHT_ORDERS = _word_orders(tuple((9 * word + 5) % 16 for word in range(16)))


def _mix(level: int, x: int, y: int, z: int) -> int:
    if level == 0:
        return x ^ y ^ z
    if level == 1:
        return (x & y) | (~x & z)
    if level == 2:
        return (x | ~y) ^ z
    if level == 3:
        return (x & z) | (y & ~z)
    return x ^ (y | ~z)


def _rotate(value: int, bits: int) -> int:
    value &= _MASK
    return (value << bits | value >> (32 - bits)) & _MASK


def _line(state: tuple[int, ...], words: tuple[int, ...], *, right: bool) -> tuple[int, ...]:
    a, b, c, d, e = state
    for level in range(5):
        function = 4 - level if right else level
        constant = (_RIGHT_CONSTANTS if right else _LEFT_CONSTANTS)[level]
        for word in (_RIGHT_ORDERS if right else _LEFT_ORDERS)[level]:
            mixed = a + _mix(function, b, c, d) + words[word] + constant
            a, b, c, d, e = e, (_rotate(mixed, _ROTATIONS[level][word]) + e) & _MASK, b, _rotate(c, 10), d
    return a, b, c, d, e


def _compress(state: tuple[int, ...], block: bytes) -> tuple[int, ...]:
    words = unpack("<16I", block)
    left, right = _line(state, words, right=False), _line(state, words, right=True)
    return tuple((state[(i + 1) % 5] + left[(i + 2) % 5] + right[(i + 3) % 5]) & _MASK for i in range(5))


def ripemd160(data: bytes) -> bytes:
    """The 20-byte RIPEMD-160 digest of `data`."""
    padding = b"\x80" + bytes((55 - len(data)) % BLOCK_SIZE) + pack("<Q", len(data) * 8)
    padded = data + padding
    state: tuple[int, ...] = _START
    for start, end in pairwise(range(0, len(padded) + 1, BLOCK_SIZE)):
        state = _compress(state, padded[start:end])
    return pack("<5I", *state)
