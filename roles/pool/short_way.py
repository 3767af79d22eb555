"""The short way of a share that nothing is unusual about: judged in one function.

Calls and objects cost a busy pool more than hashing does. The long way (`share_desk`) comes to the same
verdict on the same share; what it has accepted once on a channel and job, it shows the short way.
"""

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple

from protocols.bitcoin.header import ROLLABLE_VERSION_BITS
from protocols.bitcoin.target import work as work_of
from protocols.ehash.amount import Price, Valuation, price_of
from protocols.mining.channel import ExtendedChannel
from protocols.mining.errors import DuplicateShare
from protocols.mining.extranonce import ROLLABLE_SIZE
from protocols.mining.job import Job
from protocols.mining.share import SeenShares
from protocols.sv2.frame import Frame
from protocols.sv2.share_frame import SHARE
from roles.credit.ledger_rows import Entry
from roles.pool.miner_channel import MinerChannel
from roles.pool.share_desk import Judged
from roles.pool.terms import Terms
from roles.pool.turn import Turn
from roles.runtime.sv2_connection import Plain
from roles.stratum.pace import Pace

PLAIN: Final = Struct(f"<6IB{ROLLABLE_SIZE}s")
"""An extended share without TLVs."""
MAX_KNOWN: Final = 4096
_FIXED_VERSION_BITS: Final = 0xFFFFFFFF ^ ROLLABLE_VERSION_BITS


class _Known(NamedTuple):
    """What plain shares for one job of one channel are judged by."""

    member: MinerChannel
    pace: Pace
    seen: SeenShares
    prefix: bytes
    prove: Callable[[bytes, int, int, int], tuple[bytes, bytes]]
    min_ntime: int
    version: int
    fixed: int
    target: int
    block_target: int
    price: Price
    work: int
    key: bytes | None


class ShortWay:
    """The short way of one connection.

    `forget` must be called whenever a job may have become stale, or a channel have gone. `refuse_low` makes
    the answer to a share above its target, from its channel and sequence number.
    """

    __slots__ = ("_known", "_refuse_low", "_terms")

    def __init__(self, terms: Terms, refuse_low: Callable[[int, int], Frame]) -> None:
        self._terms = terms
        self._refuse_low = refuse_low
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
        self._known[channel.channel_id << 32 | job.job_id] = _Known(
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
            price_of(job.target, terms.rule.minimum),
            work_of(job.target),
            channel.key,
        )

    def take(self, frames: Sequence[Plain], start: int, turn: Turn) -> int:
        """Judge frames from `start` on up to one that is no plain share; returns its place, or the end."""
        known, new, size, to_int = self._known, tuple.__new__, PLAIN.size, int.from_bytes
        now, moment, judged, entries = turn.now, turn.moment, turn.judged, turn.entries
        for place in range(start, len(frames)):
            frame, payload = frames[place]
            if len(payload) != size or frame[:3] != SHARE:
                return place
            channel_id, sequence, job_id, nonce, ntime, version, rolled, extranonce = PLAIN.unpack(payload)
            about = known.get(channel_id << 32 | job_id)
            if about is None or rolled != ROLLABLE_SIZE:
                return place
            (
                member, pace, seen, prefix, prove, min_ntime, base, fixed, target, block_target, price, work,
                key,
            ) = about  # fmt: skip
            if not min_ntime <= ntime <= now or (version ^ base) & fixed or not pace.admits(moment):
                return place
            header, share_hash = prove(prefix + extranonce, version, ntime, nonce)
            number = to_int(share_hash, "little")
            if number <= block_target:
                return place
            if number > target:
                turn.replies.append(self._refuse_low(channel_id, sequence))
                turn.refused += 1
                continue
            try:
                if seen.repeats(share_hash, key):
                    return place
            except DuplicateShare:
                return place
            amount = price.amount(share_hash)
            # Their own constructors take three times as long.
            entry = None
            if amount:
                entry = new(Entry, (share_hash, header, target, amount, key, False))
                entries.append(entry)
            judged.append(new(Judged, (member, sequence, share_hash, work, False, entry)))
        return len(frames)
