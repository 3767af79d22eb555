"""An SV1 pool's jobs, made ready for miners that share its extranonce.

What was in force when a job came belongs to it: the extranonce granted, the version mask, the target. What
a pool says later changes later jobs only.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from protocols.bitcoin.errors import TargetError
from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.target import from_bits, from_difficulty
from protocols.mining.prover import ProverMaker, PythonProver
from protocols.sv1.notifications import Notify
from protocols.sv1.results import Subscription
from protocols.translation.extranonce import Layout
from protocols.translation.work import HARDEST, Draft, Pattern, Tip, Work

__all__ = ["UpstreamJob", "UpstreamJobs"]

DRAFT_LIMIT: Final = 64
WORKS_KEPT: Final = 64
"""Of one job, by layout and target: what miners have the same of is held once."""


@dataclass(frozen=True, slots=True, eq=False)
class UpstreamJob:
    """A job as a pool gave it.

    `number` tells it from all others of this process and is the `job_id` of its works; `serial` is that of
    the extranonce's owner: a job of an earlier one is dead. `mask` has the version bits that the pool lets us
    roll; `target` is the pool's own for shares of this job, `block` that of a block, 0 where the pool's bits
    are none. `content` names the header space (tip, coinbase with the pool's extranonce1, branches) in 32
    bytes: a job that the pool sends again has the same, whatever its id, time and version.
    """

    number: int
    serial: int
    notify: Notify
    granted: Subscription
    mask: int
    target: int
    block: int
    pattern: Pattern
    content: bytes
    _works: dict[tuple[int, int], Work] = field(default_factory=dict, repr=False)

    @property
    def clean(self) -> bool:
        """Whether all earlier work ends with it."""
        return self.notify.clean

    def work(self, layout: Layout, target: int | None = None) -> Work:
        """The job for miners of a layout, judged by `target`, by the pool's own without; raises
        ExtranonceTooSmall.
        """
        wanted = self.target if target is None else max(target, HARDEST)
        key = (layout.needed, wanted)
        found = self._works.get(key)
        if found is None:
            padding = layout.padding(self.granted.extranonce2_size)
            end = self.granted.extranonce1 + padding
            found = Work(self.number, self.pattern, self.notify.ntime, end, padding, wanted)
            if len(self._works) < WORKS_KEPT:
                self._works[key] = found
        return found

    def version_bits(self, version: int) -> int | None:
        """What to submit for a header's version: its bits in the mask (BIP310), None where there is no
        mask.
        """
        return version & self.mask if self.mask else None


class UpstreamJobs:
    """Makes jobs of one pool's notifications; `number` counts the jobs of all who share it."""

    def __init__(self, number: Callable[[], int], maker: ProverMaker = PythonProver) -> None:
        self._number = number
        self._maker = maker
        self._drafts: dict[tuple[bytes, bytes, tuple[bytes, ...], int, int], Draft] = {}

    def take(
        self, notify: Notify, granted: Subscription, *, mask: int, difficulty: Fraction, serial: int
    ) -> UpstreamJob:
        """The job that a notification is, with what is in force now."""
        key = (notify.coinbase1, notify.coinbase2, notify.branches, notify.version, mask)
        draft = self._drafts.get(key)
        if draft is None:
            if len(self._drafts) >= DRAFT_LIMIT:
                self._drafts.clear()
            draft = self._drafts[key] = Draft(
                notify.version,
                notify.branches,
                notify.coinbase1,
                notify.coinbase2,
                rollable=mask,
                maker=self._maker,
            )
        target = max(from_difficulty(difficulty), HARDEST)
        pattern = draft.on(Tip(notify.previous, notify.ntime, notify.bits))
        return UpstreamJob(
            self._number(),
            serial,
            notify,
            granted,
            mask,
            target,
            _block_target(notify.bits),
            pattern,
            _content(notify, granted),
        )


def _block_target(bits: int) -> int:
    try:
        return from_bits(bits)
    except TargetError:
        return 0


def _content(notify: Notify, granted: Subscription) -> bytes:
    parts = (
        notify.previous,
        notify.bits.to_bytes(4, "big"),
        notify.coinbase1,
        granted.extranonce1,
        granted.extranonce2_size.to_bytes(4, "big"),
        notify.coinbase2,
        *notify.branches,
    )
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts))
