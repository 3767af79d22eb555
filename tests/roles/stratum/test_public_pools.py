"""Trunks at what public pools are like; the pools are fakes that behave as those are known to."""

from collections.abc import AsyncIterator, Callable

import pytest

from protocols.translation.slicing import Slicing
from roles.stratum.submissions import ACCEPTED
from tests.roles.stratum.fake_pool import FakePool
from tests.roles.stratum.public_pools import KINDS
from tests.roles.stratum.trunk_bench import Bench, bench


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
async def pool(request: pytest.FixtureRequest) -> AsyncIterator[FakePool]:
    make: Callable[[], FakePool] = request.param
    pool = make()
    await pool.open()
    yield pool
    pool.close()


async def mine_all(it: Bench, pool: FakePool, miners: list[bytes]) -> None:
    """Each miner finds a share for the present job, with a bit of the version rolled."""
    job, trunk, before = it.first.job, it.first, len(it.verdicts)
    assert job is not None
    layout = Slicing().layout(pool.extranonce2_size)
    for place, extranonce1 in enumerate(miners):
        it.submit(trunk, job, layout, extranonce1, version_bits=0x2000 << place)
    await it.verdict(before + len(miners))


async def test_every_share_of_every_miner_is_accepted_over_jobs_difficulties_tips_and_losses(
    pool: FakePool,
) -> None:
    async with bench(pool, limits={"notifies_per_s": 100}) as it:
        layout = Slicing().layout(pool.extranonce2_size)
        await it.job_number(2 if pool.extranonce1_size == 5 else 1)
        miners = [it.first.seat(layout) for _ in range(3)]
        await mine_all(it, pool, miners)
        for clean in (False, True, False):
            before = len(it.jobs)
            pool.last.set_difficulty(float(pool.last.difficulty) * (0.5 if clean else 2))
            pool.last.notify(clean=clean or pool.judges_by_present)
            await it.job_number(before + 1)
            await mine_all(it, pool, miners)
        before = len(it.jobs)
        pool.last.close()
        await it.until(lambda: len(it.jobs) > before)
        again = it.jobs[-1][1]
        await mine_all(it, pool, miners)
        assert it.verdicts == [ACCEPTED] * 15
        assert [share.fault for share in pool.shares] == [""] * 15
        assert (again.serial == it.jobs[0][1].serial) is pool.resumes
