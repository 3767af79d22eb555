"""What an upstream channel gives a miner to do, followed message by message.

A future job waits until SetNewPrevHash names it; every other job is dead from then on. A SetTarget changes
nothing that a miner already has: it holds for jobs that come later and for future jobs that are not active
yet, so that a piece of work keeps the target it was handed out with.
"""

from dataclasses import dataclass, field, replace

from protocols.bitcoin.coinbase import strip_witness
from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.merkle import root_from_path
from protocols.sv1.notifications import Notify
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash
from protocols.translation.errors import UntranslatableJob
from protocols.translation.extranonce import Layout

FUTURE_LIMIT = 16
HARDEST = 1
"""What a target of 0 is taken for: no hash meets either, and a difficulty can be told of this one only."""


@dataclass(frozen=True, slots=True)
class Tip:
    """What work builds on: hash in internal order, earliest header time, compact target."""

    previous: bytes
    min_ntime: int
    bits: int


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One job made ready for an SV1 miner; `job_id` is the upstream's.

    `coinbase1` ends with upstream's prefix and `padding`; `ntime` is where to start, `target` what shares
    are judged by.
    """

    job_id: int
    tip: Tip
    ntime: int
    version: int
    rolling_allowed: bool
    merkle_path: tuple[bytes, ...]
    coinbase1: bytes
    coinbase2: bytes
    padding: bytes
    target: int

    def notify(self, job_id: str, ntime: int, *, clean: bool) -> Notify:
        """The work under an SV1 job id, with the header time to start from."""
        return Notify(
            job_id,
            self.tip.previous,
            self.coinbase1,
            self.coinbase2,
            self.merkle_path,
            self.version,
            self.tip.bits,
            ntime,
            clean,
        )

    def merkle_root(self, extranonce: bytes) -> bytes:
        """The root for a miner's extranonce1 and extranonce2 together."""
        return root_from_path(sha256d(self.coinbase1 + extranonce + self.coinbase2), self.merkle_path)


@dataclass(slots=True)
class ChannelWork:
    """The jobs of one open upstream channel; make a new one whenever the channel is opened again."""

    layout: Layout
    extranonce_size: int
    prefix: bytes
    target: int
    tip: Tip | None = None
    _future: dict[int, Work] = field(default_factory=dict)

    def job(self, message: NewExtendedMiningJob) -> Work | None:
        """Take a job; returns the work to start at once, None for a future job.

        Raises UntranslatableJob for a coinbase that is none and for a job to start at once before any tip,
        and ExtranonceTooSmall.
        """
        padding = self.layout.padding(self.extranonce_size)
        try:
            coinbase1, coinbase2 = strip_witness(message.coinbase_tx_prefix, message.coinbase_tx_suffix)
        except CoinbaseError as error:
            raise UntranslatableJob(str(error)) from error
        tip = self.tip
        if message.min_ntime is not None and tip is None:
            raise UntranslatableJob(f"job {message.job_id} came before any previous hash")
        work = Work(
            message.job_id,
            tip or Tip(bytes(32), 0, 0),
            message.min_ntime or 0,
            message.version,
            message.version_rolling_allowed,
            message.merkle_path,
            coinbase1 + self.prefix + padding,
            coinbase2,
            padding,
            max(self.target, HARDEST),
        )
        if message.min_ntime is not None:
            return work
        self._future[message.job_id] = work
        if len(self._future) > FUTURE_LIMIT:
            del self._future[next(iter(self._future))]
        return None

    def new_tip(self, message: SetNewPrevHash) -> Work:
        """Take a previous hash; returns the work to start at once. Raises UntranslatableJob if its job is
        unknown.
        """
        self.tip = Tip(message.prev_hash, message.min_ntime, message.nbits)
        work = self._future.get(message.job_id)
        self._future.clear()
        if work is None:
            raise UntranslatableJob(
                f"the new previous hash names job {message.job_id}, which is not a future job"
            )
        return replace(work, tip=self.tip, ntime=message.min_ntime, target=max(self.target, HARDEST))
