"""Judging plain shares, about which nothing is unusual: extended ones without TLVs, for known work.

The interface and its form in Python; the native kernel has another form of the same, and
`roles.runtime.kernel` chooses. Calls and objects cost a busy pool more than hashing does, hence one function.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple, Protocol

from protocols.mining.extranonce import ROLLABLE_SIZE
from protocols.mining.prover import Prover
from protocols.mining.share import GENERATION, SeenShares
from protocols.noise.frame_cipher import FrameCipher
from protocols.sv2.share_frame import SHARE_HEADERS

PLAIN: Final = Struct(f"<6IB{ROLLABLE_SIZE}s")
"""The payload of a plain share."""
_HEADER: Final = SHARE_HEADERS[ROLLABLE_SIZE]
_LOW_BITS: Final = (1 << 64) - 1
_SIZE: Final = PLAIN.size
_unpack: Final = PLAIN.unpack
_to_int: Final = int.from_bytes


class Bucket(Protocol):
    """Tokens that a share takes one of, as many as there were at `when` (monotonic seconds); they grow by
    `rate` a second up to `burst`.
    """

    tokens: float
    when: float
    rate: float
    burst: float


class Bench(NamedTuple):
    """What plain shares for one job of one channel are judged by.

    `member` is whose shares they are. Version bits in `fixed` must be those of `version`; a hash up to
    `block_target` is a block; a share is worth `whole` ehash, one more where the low 64 bits of its hash are
    below `threshold`; `work` in expected hashes.
    """

    member: Any
    pace: Bucket
    seen: SeenShares
    prover: Prover
    prefix: bytes
    min_ntime: int
    version: int
    fixed: int
    target: int
    block_target: int
    whole: int
    threshold: int
    work: int
    key: bytes | None


BenchMaker = Callable[[Bench], Any]
"""Makes of a bench what the judge of the same kernel knows."""

Found = tuple[list[Any], list[Any], list[tuple[int, int]]]
"""What shares have come to: judged, entries, low.

For a good share a tuple is added to the first (member, sequence number, hash, work, False, entry) and its
entry to the second (hash, header, target, amount, key, False), for one above its target a tuple to the third
(channel, sequence number).
"""

Judge = Callable[[dict[int, Any], Sequence[tuple[bytes, bytes]], int, tuple[float, float], Found], int]
"""Judges frames from a place on up to one that is not its business; returns the place of that, or the end.

Known are benches by channel_id << 32 | job_id; frames are headers and payloads; then the place, and the
time, in Unix and in monotonic seconds. Neither blocks nor repetitions are its business.
"""

Take = Callable[
    [FrameCipher, bytes, dict[int, Any], tuple[float, float], Found], Sequence[tuple[bytes, bytes]]
]
"""Opens the frames that sealed bytes complete and judges those that come first, as `Judge` does; returns the
others. Raises what the cipher's `receive` does, and has judged nothing then.
"""


def make_bench(bench: Bench) -> Any:
    """What `judge` knows."""
    # A bare tuple is unpacked in a third of the time, and a bound method is called sooner.
    return (*bench[:3], bench.prover.prove, *bench[4:])


def judge(
    known: dict[int, Any],
    frames: Sequence[tuple[bytes, bytes]],
    start: int,
    when: tuple[float, float],
    found: Found,
    /,
) -> int:
    """As `Judge` says."""
    for place in range(start, len(frames)):
        if not _judge_one(known, frames[place], when, found):
            return place
    return len(frames)


def _judge_one(
    known: dict[int, Any], frame: tuple[bytes, bytes], when: tuple[float, float], found: Found
) -> bool:
    """Judge one frame; whether it was a plain share."""
    header, payload = frame
    if header != _HEADER or len(payload) != _SIZE:
        return False
    channel_id, sequence, job_id, nonce, ntime, version, rolled, extranonce = _unpack(payload)
    bench = known.get(channel_id << 32 | job_id)
    if bench is None or rolled != ROLLABLE_SIZE:
        return False
    (
        member, pace, seen, prove, prefix, min_ntime, base, fixed, target, block_target, whole,
        threshold, work, key,
    ) = bench  # fmt: skip
    now, moment = when
    if not min_ntime <= ntime <= now or (version != base and (version ^ base) & fixed):
        return False
    tokens = pace.tokens
    if moment > pace.when:
        tokens += (moment - pace.when) * pace.rate
        # A call of `min` takes longer than all else that is done to the bucket.
        if tokens > (burst := pace.burst):
            tokens = burst
        pace.when = moment
    if tokens < 1:
        pace.tokens = tokens
        return False
    pace.tokens = tokens - 1
    header, share_hash = prove(prefix + extranonce, version, ntime, nonce)
    number = _to_int(share_hash, "little")
    if number <= block_target:
        return False
    judged, entries, low = found
    if number > target:
        low.append((channel_id, sequence))
        return True
    amount = whole + (number & _LOW_BITS < threshold) if threshold else whole
    recent = seen.recent
    if not amount or share_hash in recent or share_hash in seen.older or len(recent) >= GENERATION:
        return False
    recent[share_hash] = key
    entry = (share_hash, header, target, amount, key, False)
    entries.append(entry)
    judged.append((member, sequence, share_hash, work, False, entry))
    return True


def take(
    cipher: FrameCipher,
    data: bytes,
    known: dict[int, Any],
    when: tuple[float, float],
    found: Found,
    /,
) -> Sequence[tuple[bytes, bytes]]:
    """As `Take` says, by any cipher."""
    frames = cipher.receive(data)
    if len(frames) == 1:
        return () if _judge_one(known, frames[0], when, found) else frames
    return frames[judge(known, frames, 0, when, found) :]
