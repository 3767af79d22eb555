from protocols.translation.extranonce import Layout
from roles.stratum.submissions import ACCEPTED
from tests.roles.stratum.fake_pool import fake_pool
from tests.roles.stratum.trunk_bench import bench


async def test_a_share_goes_to_the_pool_and_its_verdict_comes_back() -> None:
    async with fake_pool() as pool, bench(pool) as it:
        layout = Layout(4)
        trunk, extranonce1 = await it.seat(layout)
        job = await it.job_number(1)
        it.submit(trunk, job, layout, extranonce1, version_bits=0x6000)
        assert await it.verdict() == ACCEPTED
        assert [share.fault for share in pool.shares] == [""]
        assert it.events == ["opened pool0", "clean job"]
        assert it.changes == [True]
        assert pool.last.agent.startswith("hashpool-sv1_proxy/")
        assert it.count("verdicts_total", result="accepted") == 1
        assert it.trunks.latencies.count == 1
