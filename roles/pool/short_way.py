"""The short way of a share that nothing is unusual about: judged in one function.

The long way (`share_desk`) comes to the same verdict on the same share; what it has accepted once on a
channel and job, it shows the short way.
"""

from collections.abc import Sequence
from typing import Any, Final

from protocols.bitcoin.header import ROLLABLE_VERSION_BITS
from protocols.bitcoin.target import work as work_of
from protocols.ehash.amount import Valuation, price_of
from protocols.mining.channel import ExtendedChannel
from protocols.mining.job import Job
from protocols.mining.plain_share import Bench
from roles.credit.ledger_rows import Entry
from roles.pool.miner_channel import MinerChannel
from roles.pool.share_desk import Judged
from roles.pool.terms import Terms
from roles.runtime.kernel import Kernel, kernel
from roles.runtime.sv2_connection import Plain

MAX_KNOWN: Final = 4096
MAX_THRESHOLD: Final = (1 << 64) - 1
"""Of a price, where it is a number of the judge."""
_FIXED_VERSION_BITS: Final = 0xFFFFFFFF ^ ROLLABLE_VERSION_BITS


class ShortWay:
    """The short way of one connection.

    `forget` must be called whenever a job may have become stale, or a channel have gone.
    """

    __slots__ = ("_judge", "_make", "_terms", "known", "opener")

    def __init__(self, terms: Terms, chosen: Kernel | None = None) -> None:
        self._terms = terms
        chosen = chosen or kernel()
        self._make, self._judge = chosen.bench, chosen.judge
        self.opener = chosen.take
        """Takes the short way with sealed bytes; `known` is what it asks for."""
        self.known: dict[int, Any] = {}

    def forget(self) -> None:
        """Shares take the long way again."""
        if self.known:
            self.known = {}

    def learn(self, member: MinerChannel, job: Job) -> None:
        """A share for this job of this channel has been accepted."""
        channel, terms = member.channel, self._terms
        if terms.valuation is not Valuation.TARGET or not isinstance(channel, ExtendedChannel):
            return
        price = price_of(job.target, terms.rule.minimum)
        if price.threshold > MAX_THRESHOLD:
            return
        if len(self.known) >= MAX_KNOWN:
            self.known = {}
        bench = Bench(
            member=member,
            pace=member.pace,
            seen=channel.seen,
            prover=job.work.prover(job.tip),
            prefix=channel.prefix,
            min_ntime=job.tip.min_ntime,
            version=job.work.version,
            fixed=_FIXED_VERSION_BITS if channel.version_rolling else 0xFFFFFFFF,
            target=job.target,
            block_target=job.tip.block_target,
            whole=price.whole,
            threshold=price.threshold,
            work=work_of(job.target),
            key=channel.key,
        )
        self.known[channel.channel_id << 32 | job.job_id] = self._make(bench)

    def take(
        self,
        frames: Sequence[Plain],
        start: int,
        when: tuple[float, float],
        found: tuple[list[Judged], list[Entry], list[tuple[int, int]]],
    ) -> int:
        """Judge frames from `start` on as `plain_share.Judge` says; returns the place where that ends."""
        return self._judge(self.known, frames, start, when, found)
