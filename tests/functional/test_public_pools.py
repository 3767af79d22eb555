"""The miner-side instance at fakes of public pools, and at one that does everything wrong in turn."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from tests.functional.development import Development
from tests.functional.miner_profiles import PROFILES
from tests.functional.processes import Daemon, Site
from tests.functional.scripted_miner import ScriptedMiner
from tests.roles.stratum.fake_pool import FakePool, Peer, Share, fake_pool
from tests.roles.stratum.public_pools import KINDS

pytestmark = pytest.mark.functional


class Home:
    """A miner-side instance at fake pools, where it has an account."""

    def __init__(self, site: Site, *pools: FakePool) -> None:
        tables = (
            f'{{address = "{pool.address}", name = "pool{place}", user = "us"}}'
            for place, pool in enumerate(pools)
        )
        self.daemon: Daemon = Development(site).daemon(
            "sv1_proxy_miner",
            start_difficulty="6e-8",
            shown_shares_per_minute="0",
            verdict_s="1",
            pools=f"[{', '.join(tables)}]",
            upstream__answer_s="2",
            upstream__head_start_s="0.2",
            upstream_limits__notifies_per_s="20",
        )
        self.daemon.settings.pop("pools.0.address", None)
        self.miners: list[ScriptedMiner] = []

    async def start(self) -> None:
        self.daemon.start()
        await self.daemon.ready()

    async def miner(self, name: str, rolled: int = 4) -> ScriptedMiner:
        """A miner that expects so many bytes to roll."""
        profile = next(each for each in PROFILES if each.name == name)
        miner = ScriptedMiner(replace(profile, extranonce2_sizes=(rolled,)))
        await miner.connect(int(self.daemon.settings["listen_address"].rpartition(":")[2]))
        self.miners.append(miner)
        await miner.start()
        return miner

    async def close(self) -> None:
        for miner in self.miners:
            await miner.close()
            assert not miner.faults, (miner.profile.name, miner.faults)


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
async def public(request: pytest.FixtureRequest) -> AsyncIterator[FakePool]:
    make: Callable[[], FakePool] = request.param
    pool = make()
    await pool.open()
    yield pool
    pool.close()


async def test_a_public_pool_takes_every_share_that_goes_there(site: Site, public: FakePool) -> None:
    home = Home(site, public)
    await home.start()
    rolled = {8: 4, 3: 2}[public.extranonce2_size]
    miners = [await home.miner(name, rolled) for name in ("cgminer", "bitaxe")]
    for clean in (False, True):
        for miner in miners:
            await miner.dig(2)
        jobs = [miner.jobs[-1] for miner in miners]
        public.last.set_difficulty(float(public.last.difficulty) * 2)
        public.last.notify(clean=clean or public.judges_by_present)
        for miner, job in zip(miners, jobs, strict=True):
            await miner.moved_on(job)
            await miner.dig(2)
    jobs = [miner.jobs[-1] for miner in miners]
    public.last.close()
    for miner, job in zip(miners, jobs, strict=True):
        await miner.mines_on(job)
        await miner.dig(2)
        assert not miner.is_gone
    assert {share.fault for share in public.shares} == {""}
    assert len(public.shares) >= 22
    await home.close()


def reject_in_four_forms(peer: Peer, share: Share) -> None:
    forms = (
        {"result": None, "error": "Above target"},
        {"result": None, "error": {"code": 23, "message": "Above target"}},
        {"result": None, "error": [23, "Above target", None]},
        {"result": False, "error": None, "reject-reason": "Above target"},
    )
    peer.line(json.dumps({"id": share.id} | forms[len(peer.shares) % 4]).encode())


async def test_miners_stay_whatever_a_pool_does_until_its_extranonce_is_too_small(site: Site) -> None:
    async with fake_pool() as pool:
        home = Home(site, pool)
        await home.start()
        miner = await home.miner("cgminer")
        await miner.dig(2)
        # Rejections in every form are told in one.
        accept, pool.verdict = pool.verdict, reject_in_four_forms
        for _ in range(4):
            refused = await miner.hand_in(miner.search(await miner.job()))
            assert refused["error"] == [23, "Above target", None]
        # No verdict at all.
        pool.verdict = lambda _peer, _share: None
        unknown = await miner.hand_in(miner.search(await miner.job()))
        assert unknown["error"] == [20, "No verdict from pool", None]
        # Verdicts twice and out of order.
        held: list[Share] = []
        pool.verdict = lambda _peer, share: held.append(share)
        asked = [miner.hand_in(miner.search(await miner.job())) for _ in range(2)]
        waiting = asyncio.gather(*asked)
        await pool.until(lambda: len(held) == 2)
        for share in (held[1], held[0], held[1]):
            pool.last.answer(share.id, share is held[0], None)
        answers = await waiting
        assert [answer["error"] is None for answer in answers] == [True, False]
        pool.verdict = accept
        # A notify of 200 kB, a flood of them, and a redirect to elsewhere.
        job = await miner.job()
        pool.last.line(b'{"id": null, "method": "mining.notify", "params": ["' + b"0" * 200_000 + b'"]}')
        await miner.mines_on(job)
        pool.last.tell("client.reconnect", "evil.example", 3333, 0)
        job = await miner.job()
        for _ in range(300):
            pool.last.notify()
        await miner.mines_on(job)
        assert len(miner.jobs) < 60
        # A job with bits of the mask in its version.
        job = miner.jobs[-1]
        pool.last.notify(clean=True, version=0x20006000)
        await miner.until(lambda: miner.jobs[-1].params[5] == "20006000")
        await miner.dig(2)
        assert not miner.is_gone
        # Less room than the miner has to roll.
        pool.last.set_extranonce(b"\x01", 6)
        pool.last.notify()
        await miner.until(lambda: miner.is_gone)
        assert {share.fault for share in pool.shares} == {""}
        await home.close()
