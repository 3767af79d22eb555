"""A job as the miner sees it, whatever protocol it came by, and the headers that can be hashed on it."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.merkle import root_from_path

ROLLED_BITS = 0x1FFFE000
"""The version bits that hardware rolls (BIP320); SV2 allows more of them, SV1 pools grant these."""

_HEAD = Struct("<I32s32sII")


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One job: hashes raw in internal order, `target` for its shares, `mask` the version bits to roll.

    The coinbase is `coinbase1`, `extranonce_size` rolled bytes, `coinbase2`; a job for headers only has its
    `merkle_root` instead.
    """

    job_id: int | str
    previous: bytes
    version: int
    bits: int
    ntime: int
    target: int
    mask: int
    merkle_root: bytes = b""
    coinbase1: bytes = b""
    coinbase2: bytes = b""
    merkle_path: tuple[bytes, ...] = ()
    extranonce_size: int = 0

    def root(self, extranonce: bytes) -> bytes:
        """The merkle root for the rolled bytes."""
        if self.merkle_root:
            return self.merkle_root
        return root_from_path(sha256d(self.coinbase1 + extranonce + self.coinbase2), self.merkle_path)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A header but for its nonce: 76 bytes, and what they were made of."""

    work: Work
    extranonce: bytes
    version: int
    ntime: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A nonce that makes a piece meet its target."""

    piece: Piece
    nonce: int


def pieces(work: Work, start: int | None = None) -> Iterator[Piece]:
    """Headers of a job, all different: by extranonce and version at once, then by time.

    `start` is where to begin, a random place by default, so that a job that is given out twice is not mined
    twice alike.
    """
    space = 1 << 8 * work.extranonce_size
    versions = 1 << work.mask.bit_count()
    first = secrets.randbelow(max(space, versions)) if start is None else start
    number = 0
    while True:
        around, step = divmod(number, space)
        later, turn = divmod(around, versions)
        extranonce = ((first + step) % space).to_bytes(work.extranonce_size, "big")
        version = work.version & ~work.mask | _spread((first + turn + step) % versions, work.mask)
        ntime = (work.ntime + later) & 0xFFFFFFFF
        head = _HEAD.pack(version, work.previous, work.root(extranonce), ntime, work.bits)
        yield Piece(work, extranonce, version, ntime, head)
        number += 1


def _spread(value: int, mask: int) -> int:
    """The low bits of `value`, laid into the places of `mask`."""
    spread = 0
    while mask:
        place = mask & -mask
        if value & 1:
            spread |= place
        value >>= 1
        mask ^= place
    return spread
