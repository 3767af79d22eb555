"""The verdict on a share: which job, what header, whether it is good, and whether it is a block.

Checks stand in the order of the reference implementation, so that every peer hears the same code for the same
share: job, extranonce size, time, version bits, block target, job target, and last whether it is a
repetition.
"""

from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from protocols.bitcoin.header import ROLLABLE_VERSION_BITS
from protocols.mining.errors import (
    DifficultyTooLow,
    DuplicateShare,
    InvalidShare,
    InvalidVersionBit,
    VersionRollingNotAllowed,
)
from protocols.mining.job import Job, Tip, Work
from protocols.sv2.mining import SubmitSharesExtended, SubmitSharesStandard
from protocols.sv2.share_frame import ExtendedShare

MAX_AHEAD = 7200
"""How many seconds a header's time may be ahead of the clock: what consensus allows."""
GENERATION = 1 << 15

_HEADER = Struct("<I32s32sIII")
_FIXED_VERSION_BITS = 0xFFFFFFFF ^ ROLLABLE_VERSION_BITS


Share = SubmitSharesStandard | SubmitSharesExtended | ExtendedShare


class Verdict(NamedTuple):
    """An accepted share, or a block: 80-byte header, its hash (internal order), its job and full extranonce.

    `block`: it meets the target of a block. `credited`: it meets its job's target, too, which a block misses
    only where the client insisted on a harder one; such a share earns nothing. `repeated`: it was accepted
    before for the same key, so that it is answered with success and earns nothing more.
    """

    share_hash: bytes
    header: bytes
    job: Job
    extranonce: bytes
    block: bool
    credited: bool
    repeated: bool


class SeenShares:
    """The shares of one channel within a tip, with the key that each was for: the last 32,768, and up to as
    many before them.

    It spares the ledger most repetitions; the ledger's own uniqueness is what binds.
    """

    __slots__ = ("older", "recent")

    def __init__(self) -> None:
        self.recent: dict[bytes, bytes | None] = {}
        """The newest, to which who knows that a share is new, and that there is room, may add it."""
        self.older: dict[bytes, bytes | None] = {}

    def __len__(self) -> int:
        return len(self.recent) + len(self.older)

    def __contains__(self, share_hash: bytes) -> bool:
        return share_hash in self.recent or share_hash in self.older

    def repeats(self, share_hash: bytes, key: bytes | None) -> bool:
        """Record a share; True if it was there for the same key. Raises DuplicateShare for another."""
        keys = self.recent
        if share_hash not in keys and share_hash not in self.older:
            if len(keys) >= GENERATION:
                # Both at once: forgetting them one by one takes ever longer.
                self.older, self.recent = keys, {}
                keys = self.recent
            keys[share_hash] = key
            return False
        if key is None or keys.get(share_hash, self.older.get(share_hash)) != key:
            raise DuplicateShare("this share has been accepted before")
        return True

    def forget(self, share_hash: bytes) -> None:
        """A share that could not be stored after all."""
        self.recent.pop(share_hash, None)
        self.older.pop(share_hash, None)

    def clear(self) -> None:
        """The tip has changed."""
        self.recent = {}
        self.older = {}


def check_time(ntime: int, tip: Tip, now: int) -> None:
    """Raise InvalidShare unless the header time lies between the tip's least and two hours ahead of `now`.

    A second for each since the tip arrived is always allowed, whatever the clock says. Times in unix seconds.
    """
    if not tip.min_ntime <= ntime <= max(now + MAX_AHEAD, tip.min_ntime + now - tip.received):
        raise InvalidShare(f"a header time of {ntime} for a job from {tip.min_ntime} on, at {now}")


def check_version(version: int, job_version: int, *, rolling: bool) -> None:
    """Raise VersionRollingNotAllowed or InvalidVersionBit for a version that the job does not allow."""
    if version == job_version:
        return
    if not rolling:
        raise VersionRollingNotAllowed(f"version {version:08x} for a job of version {job_version:08x}")
    if (version ^ job_version) & _FIXED_VERSION_BITS:
        raise InvalidVersionBit(f"version {version:08x} differs from {job_version:08x} outside of BIP323")


def extended_root(work: Work, extranonce: bytes) -> bytes:
    """The merkle root of work around a full extranonce, 32 bytes in internal order."""
    root = sha256(sha256(work.prefix + extranonce + work.suffix).digest()).digest()
    for sibling in work.merkle_path:
        root = sha256(sha256(root + sibling).digest()).digest()
    return root


def judge(
    job: Job,
    root: bytes,
    extranonce: bytes,
    *,
    share: Share,
    key: bytes | None,
    seen: SeenShares,
) -> Verdict:
    """Hash a header whose fields are checked, and compare; raises DifficultyTooLow and DuplicateShare."""
    tip = job.tip
    header = _HEADER.pack(share.version, tip.previous, root, share.ntime, tip.bits, share.nonce)
    proof = header, sha256(sha256(header).digest()).digest()
    return verdict_on(job, proof, extranonce, key=key, seen=seen)


def verdict_on(
    job: Job, proof: tuple[bytes, bytes], extranonce: bytes, *, key: bytes | None, seen: SeenShares
) -> Verdict:
    """Compare a header, whose fields are checked, by its hash; raises DifficultyTooLow and DuplicateShare."""
    header, share_hash = proof
    number = int.from_bytes(share_hash, "little")
    block = number <= job.tip.block_target
    credited = number <= job.target
    if not block and not credited:
        raise DifficultyTooLow("the hash is above the job's target")
    repeated = seen.repeats(share_hash, key)
    # Its own constructor takes three times as long.
    return tuple.__new__(Verdict, (share_hash, header, job, extranonce, block, credited, repeated))
