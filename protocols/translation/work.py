"""What an upstream channel gives a miner to do, followed message by message.

A future job waits until SetNewPrevHash names it; every other job is dead from then on. A SetTarget changes
nothing that a miner already has: it holds for jobs that come later and for future jobs that are not active
yet, so that a piece of work keeps the target it was handed out with.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from protocols.bitcoin.coinbase import strip_witness
from protocols.bitcoin.errors import CoinbaseError
from protocols.bitcoin.header import ROLLABLE_VERSION_BITS
from protocols.mining.prover import Prover, ProverMaker, PythonProver
from protocols.sv1.notifications import NotifyForm
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash
from protocols.translation.errors import UntranslatableJob
from protocols.translation.extranonce import Layout

FUTURE_LIMIT = 16
DRAFT_LIMIT = 16
OWN_END = 32
"""Bytes at the end of the first coinbase part in which channels may differ: prefixes, and room in front of
ours.
"""
HARDEST = 1
"""What a target of 0 is taken for: no hash meets either, and a difficulty can be told of this one only."""


@dataclass(frozen=True, slots=True)
class Tip:
    """What work builds on: hash in internal order, earliest header time, compact target."""

    previous: bytes
    min_ntime: int
    bits: int


class Draft:
    """What the jobs of many channels have the same of, before they have a tip: all but the end of the first
    coinbase part.

    `rollable` has the bits of the version that may be rolled; `maker` makes provers. Immutable.
    """

    __slots__ = ("_last", "coinbase2", "head", "maker", "merkle_path", "rollable", "version")

    def __init__(
        self,
        version: int,
        merkle_path: tuple[bytes, ...],
        head: bytes,
        coinbase2: bytes,
        *,
        rollable: int = ROLLABLE_VERSION_BITS,
        maker: ProverMaker = PythonProver,
    ) -> None:
        self.version = version
        self.merkle_path = merkle_path
        self.head = head
        self.coinbase2 = coinbase2
        self.rollable = rollable
        self.maker = maker
        self._last: Pattern | None = None

    def on(self, tip: Tip) -> "Pattern":
        """The same on a tip; the last one is kept."""
        last = self._last
        if last is None or last.tip != tip:
            last = self._last = Pattern(self, tip)
        return last


class Pattern:
    """A draft on a tip."""

    __slots__ = ("_form", "_prover", "draft", "tip")

    def __init__(self, draft: Draft, tip: Tip) -> None:
        self.draft = draft
        self.tip = tip
        self._form: NotifyForm | None = None
        self._prover: Prover | None = None

    @property
    def form(self) -> NotifyForm:
        """The text of its notifications."""
        form = self._form
        if form is None:
            draft, tip = self.draft, self.tip
            form = self._form = NotifyForm(
                tip.previous,
                draft.head,
                draft.coinbase2,
                draft.merkle_path,
                version=draft.version,
                bits=tip.bits,
            )
        return form

    @property
    def prover(self) -> Prover:
        """Headers and hashes, of an extranonce with the end of the first coinbase part before it."""
        prover = self._prover
        if prover is None:
            draft, tip = self.draft, self.tip
            prover = self._prover = draft.maker(
                draft.head, draft.coinbase2, draft.merkle_path, tip.previous, tip.bits
            )
        return prover


class Drafts:
    """The drafts of the last jobs, so that what all channels have the same of is held, and made, once."""

    def __init__(self, maker: ProverMaker = PythonProver) -> None:
        self._maker = maker
        self._drafts: dict[tuple[bytes, bytes, tuple[bytes, ...], int, int], Draft] = {}

    def take(self, message: NewExtendedMiningJob) -> tuple[Draft, bytes]:
        """The draft of a job, and the end of its first coinbase part; raises UntranslatableJob for a coinbase
        that is none.
        """
        prefix, suffix = message.coinbase_tx_prefix, message.coinbase_tx_suffix
        # Behind version, marker and flag.
        cut = max(6, len(prefix) - OWN_END)
        path = message.merkle_path
        rolling = ROLLABLE_VERSION_BITS if message.version_rolling_allowed else 0
        key = (prefix[:cut], suffix, path, message.version, rolling)
        draft = self._drafts.get(key)
        if draft is None:
            try:
                head, coinbase2 = strip_witness(prefix[:cut], suffix)
            except CoinbaseError as error:
                raise UntranslatableJob(str(error)) from error
            if len(self._drafts) >= DRAFT_LIMIT:
                self._drafts.clear()
            draft = self._drafts[key] = Draft(
                message.version, path, head, coinbase2, rollable=rolling, maker=self._maker
            )
        return draft, prefix[cut:]


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One job made ready for an SV1 miner; `job_id` is the upstream's.

    `end` is the end of the first coinbase part, with upstream's prefix and `padding` at its own end; `ntime`
    is where to start, `target` what shares are judged by.
    """

    job_id: int
    pattern: Pattern
    ntime: int
    end: bytes
    padding: bytes
    target: int

    @property
    def tip(self) -> Tip:
        """What it builds on."""
        return self.pattern.tip

    @property
    def version(self) -> int:
        """Of the header, before any bits are rolled."""
        return self.pattern.draft.version

    @property
    def rollable(self) -> int:
        """The bits of the version that may be rolled."""
        return self.pattern.draft.rollable

    @property
    def coinbase_size(self) -> int:
        """Bytes of the coinbase, without the extranonce that is the miner's."""
        draft = self.pattern.draft
        return len(draft.head) + len(self.end) + len(draft.coinbase2)

    def repeats(self, other: "Work") -> bool:
        """Whether a miner that does it from the same header time does again what it did for the other."""
        mine, its = self.pattern, other.pattern
        is_same = mine.draft is its.draft and self.end == other.end
        return is_same and (mine.tip.previous, mine.tip.bits) == (its.tip.previous, its.tip.bits)

    def notify(self, job_id: str, ntime: int, *, clean: bool) -> bytes:
        """The line that gives a miner the work under an SV1 job id, with the header time to start from."""
        return self.pattern.form.line(job_id, self.end, ntime, clean=clean)


class Future(NamedTuple):
    """A job that waits for its tip."""

    draft: Draft
    end: bytes
    padding: bytes


@dataclass(slots=True)
class ChannelWork:
    """The jobs of one open upstream channel; make a new one whenever the channel is opened again."""

    layout: Layout
    extranonce_size: int
    prefix: bytes
    target: int
    drafts: Drafts = field(default_factory=Drafts)
    tip: Tip | None = None
    _future: dict[int, Future] | None = None

    def job(self, message: NewExtendedMiningJob) -> Work | None:
        """Take a job; returns the work to start at once, None for a future job.

        Raises UntranslatableJob for a coinbase that is none and for a job to start at once before any tip,
        and ExtranonceTooSmall.
        """
        padding = self.layout.padding(self.extranonce_size)
        draft, end = self.drafts.take(message)
        end += self.prefix + padding
        if message.min_ntime is None:
            if self._future is None:
                self._future = {}
            self._future[message.job_id] = Future(draft, end, padding)
            if len(self._future) > FUTURE_LIMIT:
                del self._future[next(iter(self._future))]
            return None
        if self.tip is None:
            raise UntranslatableJob(f"job {message.job_id} came before any previous hash")
        target = max(self.target, HARDEST)
        return Work(message.job_id, draft.on(self.tip), message.min_ntime, end, padding, target)

    def new_tip(self, message: SetNewPrevHash) -> Work:
        """Take a previous hash; returns the work to start at once. Raises UntranslatableJob if its job is
        unknown.
        """
        self.tip = Tip(message.prev_hash, message.min_ntime, message.nbits)
        future = self._future.get(message.job_id) if self._future else None
        self._future = None
        if future is None:
            raise UntranslatableJob(
                f"the new previous hash names job {message.job_id}, which is not a future job"
            )
        pattern = future.draft.on(self.tip)
        self.tip = pattern.tip
        target = max(self.target, HARDEST)
        return Work(message.job_id, pattern, message.min_ntime, future.end, future.padding, target)
