"""One SV1 connection with the pool in use, on which many miners sit; kept over losses and changes of pool.

Miners keep their slice, which is their extranonce1, whatever the pool grants: that stands in each job's
first coinbase part. The listener hears `opened`, then `job` after `job`, then `lost`, then `opened` again.
"""

from collections.abc import Callable
from typing import Protocol

from protocols.sv1.errors import Rejection
from protocols.sv1.results import Subscription
from protocols.translation.extranonce import Layout
from protocols.translation.upstream_job import UpstreamJob
from roles.stratum.latencies import Latencies
from roles.stratum.submissions import Settle

__all__ = ["Told", "Trunk", "TrunkListener", "UpstreamJob"]

Told = Callable[[Rejection | None], None]
"""Hears whether the pool lets a name in: after it was asked for, and again after each reconnection."""


class TrunkListener(Protocol):
    """Who serves the miners on all trunks; calls come from the event loop's thread and must not block."""

    def opened(self, trunk: "Trunk") -> None:
        """It is connected, perhaps to another pool than before: then no name is known there yet."""

    def job(self, trunk: "Trunk", job: UpstreamJob) -> None:
        """Work for all miners on it; `job.clean` ends all that was before."""

    def lost(self, trunk: "Trunk", reason: str) -> None:
        """The connection has ended; shares that were not answered have been settled as LOST."""


class Trunk:
    """Miners sit on it by `seat`; all that it needs of them comes through its methods."""

    pool: str
    """The name of the pool that it is or was connected to last."""
    granted: Subscription | None
    """What the pool grants at present."""
    job: UpstreamJob | None
    """The present work; None while there is none."""
    is_connected: bool
    latencies: Latencies

    def find(self, number: int) -> UpstreamJob | None:
        """The job whose number a `Work` carries as its `job_id`, if shares for it may still be sent."""
        raise NotImplementedError

    def seat(self, layout: Layout) -> bytes:
        """A miner's extranonce1; raises SlicesExhausted, and ExtranonceTooSmall."""
        raise NotImplementedError

    def give_back(self, layout: Layout, extranonce1: bytes) -> None:
        """The miner is gone for good."""
        raise NotImplementedError

    def authorize(self, user: str, password: str, told: Told) -> None:
        """Have the pool let a name in, now and after each reconnection with the same pool.

        Raises NamesFull.
        """
        raise NotImplementedError

    def forget(self, user: str) -> None:
        """The name is not needed any more."""
        raise NotImplementedError

    def submit(
        self,
        user: str,
        job: UpstreamJob,
        *,
        extranonce2: bytes,
        ntime: int,
        nonce: int,
        version: int,
        settle: Settle,
    ) -> None:
        """Send a share on; `settle` is called exactly once, now or later.

        `extranonce2` is all of the pool's (`JudgedShare.extranonce`), `version` the header's. LOST where the
        connection of the job is gone or the pool never answers.
        """
        raise NotImplementedError
