"""Trunks at fake pools, with a listener that notes what it hears and finds shares."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

from prometheus_client import CollectorRegistry

from protocols.sv1.requests import Submit
from protocols.translation.extranonce import Layout
from protocols.translation.share import JudgedShare, judge
from protocols.translation.version_mask import SV1_MASK
from protocols.translation.work import Work
from roles.runtime.backoff import Backoff
from roles.stratum.submissions import Settle, Verdict
from roles.stratum.sv1_opener import PoolTerms, Sv1Pool
from roles.stratum.trunk import Trunk, UpstreamJob
from roles.stratum.trunk_metrics import TrunkMetrics
from roles.stratum.trunks import Trunks
from roles.stratum.upstream_meters import UpstreamMeters
from shared_config.sv1_upstream import UpstreamLimits, UpstreamTimes
from tests.roles.stratum.fake_pool import NTIME, PATIENCE, FakePool

__all__ = ["Bench", "bench"]

SHORT = {"head_start_s": 5.0, "check_s": 0.01, "failback_s": None}


@dataclass
class Bench:
    """What happened, in words, and every verdict; `trunks` is under test."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    events: list[str] = field(default_factory=list)
    jobs: list[tuple[Trunk, UpstreamJob]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    changes: list[bool] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    trunks: Trunks = field(init=False)
    running: "asyncio.Task[None]" = field(init=False)

    # What trunks tell

    def opened(self, trunk: Trunk) -> None:
        self._note(f"opened {trunk.pool}")

    def job(self, trunk: Trunk, job: UpstreamJob) -> None:
        self.jobs.append((trunk, job))
        self._note("clean job" if job.clean else "job")

    def lost(self, trunk: Trunk, reason: str) -> None:
        self._note(f"lost: {reason}")

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.changed.set()

    # What a test does

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until something is so."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                self.changed.clear()
                await self.changed.wait()

    async def job_number(self, number: int) -> UpstreamJob:
        """The n-th job, from 1."""
        await self.until(lambda: len(self.jobs) >= number)
        return self.jobs[number - 1][1]

    async def seat(self, layout: Layout) -> tuple[Trunk, bytes]:
        """A miner on the first trunk, once there is work."""
        await self.until(lambda: self.jobs)
        trunk = self.first
        return trunk, trunk.seat(layout)

    @property
    def first(self) -> Trunk:
        return next(iter(self.trunks))

    def submit(
        self, trunk: Trunk, job: UpstreamJob, layout: Layout, extranonce1: bytes, *, user: str = "us",
        version_bits: int = 0, start: int = 0, settle: Settle | None = None,
    ) -> None:  # fmt: skip
        """Find a share that meets the pool's target, and send it."""
        share, submit = mine(job.work(layout), layout, extranonce1, version_bits, start)
        trunk.submit(user, job, share, submit, settle or self.settle)

    def change(self, is_connected: bool) -> None:
        self.changes.append(is_connected)
        self.changed.set()

    def settle(self, verdict: Verdict) -> None:
        self.verdicts.append(verdict)
        self.changed.set()

    async def verdict(self, number: int = 1) -> Verdict:
        """The n-th verdict, from 1."""
        await self.until(lambda: len(self.verdicts) >= number)
        return self.verdicts[number - 1]

    def count(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.registry.get_sample_value(f"hashpool_upstream_{name}", labels) or 0.0


def mine(
    work: Work, layout: Layout, extranonce1: bytes, version_bits: int, start: int
) -> tuple[JudgedShare, Submit]:
    """A share for work, and what its miner says."""
    rolled = bytes(layout.extranonce2_size)
    for nonce in count(start):
        submit = Submit("x", "1", rolled, NTIME, nonce, version_bits)
        share = judge(
            submit,
            work,
            layout=layout,
            extranonce1=extranonce1,
            mask=SV1_MASK & work.rollable & ~work.version,
            miner_target=(1 << 256) - 1,
            now=NTIME,
        )
        if share.forward:
            return share, submit
    raise AssertionError


@asynccontextmanager
async def bench(
    *pools: FakePool,
    limits: dict[str, float] | None = None,
    stable_s: float = 0.0,
    gather_s: float = 0.0,
    **times: float | None,
) -> AsyncIterator[Bench]:
    it = Bench()
    terms = PoolTerms(
        UpstreamTimes.model_validate(SHORT | {"failback_s": "forever"} | times),
        UpstreamLimits.model_validate(limits or {}),
        gather_s,
    )
    it.trunks = Trunks(
        [Sv1Pool(f"pool{place}", pool.address, "us", "x") for place, pool in enumerate(pools)],
        it,
        terms=terms,
        metrics=TrunkMetrics(it.registry),
        meters=UpstreamMeters(it.registry),
        backoff=Backoff(0.01, 0.05),
        stable_s=stable_s,
        on_change=it.change,
    )
    it.running = asyncio.ensure_future(it.trunks.run())
    try:
        yield it
    finally:
        it.running.cancel()
        await asyncio.wait({it.running})
        if not it.running.cancelled():
            it.running.result()
