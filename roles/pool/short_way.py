"""The short way of a share that nothing is unusual about: judged in one function.

Calls and objects cost a busy pool more than hashing does. The long way (`share_desk`) comes to the same
verdict on the same share; what it has accepted once on a channel and job, it shows the short way.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any, Final

from protocols.bitcoin.header import ROLLABLE_VERSION_BITS
from protocols.bitcoin.target import work as work_of
from protocols.ehash.amount import Valuation, price_of
from protocols.mining.channel import ExtendedChannel
from protocols.mining.extranonce import ROLLABLE_SIZE
from protocols.mining.job import Job
from protocols.mining.share import GENERATION, SeenShares
from protocols.sv2.share_frame import SHARE
from roles.credit.ledger_rows import Entry
from roles.pool.miner_channel import MinerChannel
from roles.pool.share_desk import Judged
from roles.pool.terms import Terms
from roles.runtime.sv2_connection import Plain
from roles.stratum.pace import Pace

PLAIN: Final = Struct(f"<6IB{ROLLABLE_SIZE}s")
"""An extended share without TLVs."""
MAX_KNOWN: Final = 4096
_LOW_BITS: Final = (1 << 64) - 1
_FIXED_VERSION_BITS: Final = 0xFFFFFFFF ^ ROLLABLE_VERSION_BITS


_Known = tuple[
    MinerChannel,
    Pace,
    SeenShares,
    bytes,
    Callable[[bytes, int, int, int], tuple[bytes, bytes]],
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    int,
    bytes | None,
]
"""What plain shares for one job of one channel are judged by: the member, its pace and its shares, the
extranonce prefix, what proves a share, least ntime, version and its fixed bits, target and the block's, whole
and threshold of the price, the work, and the locking key.
"""


class ShortWay:
    """The short way of one connection.

    `forget` must be called whenever a job may have become stale, or a channel have gone.
    """

    __slots__ = ("_known", "_terms")

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._known: dict[int, _Known] = {}

    def forget(self) -> None:
        """Shares take the long way again."""
        if self._known:
            self._known = {}

    def learn(self, member: MinerChannel, job: Job) -> None:
        """A share for this job of this channel has been accepted."""
        channel, terms = member.channel, self._terms
        if terms.valuation is not Valuation.TARGET or not isinstance(channel, ExtendedChannel):
            return
        if len(self._known) >= MAX_KNOWN:
            self._known = {}
        price = price_of(job.target, terms.rule.minimum)
        self._known[channel.channel_id << 32 | job.job_id] = (
            member,
            member.pace,
            channel.seen,
            channel.prefix,
            job.work.prover(job.tip).prove,
            job.tip.min_ntime,
            job.work.version,
            _FIXED_VERSION_BITS if channel.version_rolling else 0xFFFFFFFF,
            job.target,
            job.tip.block_target,
            price.whole,
            price.threshold,
            work_of(job.target),
            channel.key,
        )

    def take(
        self,
        frames: Sequence[Plain],
        start: int,
        *,
        now: int,
        moment: float,
        judged: list[Judged],
        entries: list[Entry],
        low: list[tuple[int, int]],
    ) -> int:
        """Judge frames from `start` on up to one that is no plain share; returns its place, or the end.

        `now` in Unix seconds, `moment` in monotonic ones. Good shares are added to `judged`, what the ledger
        is to have of them to `entries`, channel and sequence number of those above their target to `low`.
        """
        known, size, to_int = self._known, PLAIN.size, int.from_bytes
        for place in range(start, len(frames)):
            frame, payload = frames[place]
            if len(payload) != size or frame[:3] != SHARE:
                return place
            channel_id, sequence, job_id, nonce, ntime, version, rolled, extranonce = PLAIN.unpack(payload)
            about = known.get(channel_id << 32 | job_id)
            if about is None or rolled != ROLLABLE_SIZE:
                return place
            (
                member, pace, seen, prefix, prove, min_ntime, base, fixed, target, block_target, whole,
                threshold, work, key,
            ) = about  # fmt: skip
            if not min_ntime <= ntime <= now or (version ^ base) & fixed:
                return place
            tokens = pace.tokens
            if moment > pace.when:
                tokens = min(tokens + (moment - pace.when) * pace.rate, pace.burst)
                pace.when = moment
            if tokens < 1:
                pace.tokens = tokens
                return place
            pace.tokens = tokens - 1
            header, share_hash = prove(prefix + extranonce, version, ntime, nonce)
            number = to_int(share_hash, "little")
            if number <= block_target:
                return place
            if number > target:
                low.append((channel_id, sequence))
                continue
            recent = seen.recent
            if share_hash in recent or share_hash in seen.older or len(recent) >= GENERATION:
                return place
            recent[share_hash] = key
            amount = whole + (number & _LOW_BITS < threshold) if threshold else whole
            # Bare tuples: their classes' constructors take three times as long, and so does unpacking them.
            entry: Any = None
            if amount:
                entry = (share_hash, header, target, amount, key, False)
                entries.append(entry)
            good: Any = (member, sequence, share_hash, work, False, entry)
            judged.append(good)
        return len(frames)
