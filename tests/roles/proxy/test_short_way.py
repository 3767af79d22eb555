"""A share is told the same whichever way it takes through the proxy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from protocols.ehash.messages import EXTENSION, TLV_SHARE_KEY
from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from protocols.sv2.tlv import Tlv
from roles.proxy import service
from roles.proxy.channel_kinds import ExtendedEdgeChannel
from roles.proxy.downstream import Downstream
from roles.runtime.kernel import kernel
from tests.native_kernel import native_kernel
from tests.roles.proxy.conftest import House, Start
from tests.roles.proxy.scripted_miner import ScriptedMiner
from tests.roles.proxy.scripted_pool import EASY, ScriptedPool

Share = Any


class Ways:
    """Counts the shares that did not take the long way, and closes the other ones if it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
        self.short = 0
        self.is_open = way != "long"
        self._count_plain(monkeypatch)
        if way == "lanes":
            native_kernel()
            self._count_lanes(monkeypatch)
        else:
            monkeypatch.setattr(service, "kernel", lambda: replace(kernel(), relay=None))

    def _count_plain(self, monkeypatch: pytest.MonkeyPatch) -> None:
        take = ExtendedEdgeChannel.take

        def count(channel: ExtendedEdgeChannel, *args: Any) -> bool:
            taken = self.is_open and take(channel, *args)
            self.short += taken
            return taken

        monkeypatch.setattr(ExtendedEdgeChannel, "take", count)

    def _count_lanes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        pass_on = Downstream._pass_on

        def count(line: Downstream, frames: Any, start: int, *args: Any) -> int:
            end = pass_on(line, frames, start, *args)
            self.short += end - start
            return end

        monkeypatch.setattr(Downstream, "_pass_on", count)


@pytest.fixture(params=["lanes", "short", "long"], autouse=True)
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch, request.param)


class Bench:
    """A miner with its first work."""

    def __init__(self, miner: ScriptedMiner, job: Any, tip: Any) -> None:
        self.miner, self.job, self.tip = miner, job, tip
        self.number = 0

    def mine(self, **options: Any) -> Share:
        self.number += 1
        return self.miner.mine(self.job, self.tip, extranonce=self.number, **options)

    async def told(self, share: Share, *tlvs: Tlv) -> str:
        self.miner.send(share, tlvs)
        while True:
            message = await self.miner.hear()
            if isinstance(message, SubmitSharesSuccess):
                return "accepted"
            if isinstance(message, SubmitSharesError):
                assert message.sequence_number == share.sequence_number
                return message.error_code


async def bench(house: House, extensions: tuple[int, ...] = ()) -> Bench:
    miner = await house.miner(extensions=extensions)
    await miner.open_extended()
    return Bench(miner, *await miner.first_work())


def good(bench: Bench) -> Share:
    return bench.mine()


def low(bench: Bench) -> Share:
    return bench.mine(target=EASY * 15, above=EASY)


def early(bench: Bench) -> Share:
    return replace(bench.mine(), ntime=bench.tip.min_ntime - 1)


def late(bench: Bench) -> Share:
    return replace(bench.mine(), ntime=0xFFFFFFFF)


def forbidden_version(bench: Bench) -> Share:
    return replace(bench.mine(), version=bench.job.version ^ 1)


def unknown_job(bench: Bench) -> Share:
    return replace(bench.mine(), job_id=99)


def unknown_channel(bench: Bench) -> Share:
    return replace(bench.mine(), channel_id=99)


def short_extranonce(bench: Bench) -> Share:
    share = bench.mine()
    return replace(share, extranonce=share.extranonce[:-1])


def long_extranonce(bench: Bench) -> Share:
    share = bench.mine()
    return replace(share, extranonce=share.extranonce + b"\0")


@pytest.mark.parametrize(
    ("make", "answer", "is_plain"),
    [
        (good, "accepted", True),
        (low, "difficulty-too-low", False),
        (early, "invalid-share", False),
        (late, "invalid-share", False),
        (forbidden_version, "invalid-non-rollable-version-bit", False),
        (unknown_job, "invalid-job-id", False),
        (unknown_channel, "invalid-channel-id", False),
        (short_extranonce, "bad-extranonce-size", False),
        (long_extranonce, "bad-extranonce-size", False),
    ],
)
async def test_each_kind_of_share_hears_the_same(
    proxy: House, ways: Ways, make: Callable[[Bench], Share], answer: str, is_plain: bool
) -> None:
    miner = await bench(proxy)
    assert await miner.told(make(miner)) == answer
    assert ways.short == (is_plain and ways.is_open)
    assert await miner.told(good(miner)) == "accepted"


async def test_a_repetition_is_a_duplicate(proxy: House, ways: Ways) -> None:
    miner = await bench(proxy)
    share = good(miner)
    assert await miner.told(share) == "accepted"
    assert await miner.told(replace(share, sequence_number=7)) == "duplicate-share"
    assert proxy.metric("proxy_shares_total", result="accepted") == 1


async def test_earlier_work_counts_until_the_next_tip(pool: ScriptedPool, proxy: House, ways: Ways) -> None:
    miner = await bench(proxy)
    first, second = good(miner), good(miner)
    pool.follow(pool.channel)
    await miner.miner.expect(type(miner.job))
    assert await miner.told(first) == "accepted"
    assert ways.short == ways.is_open
    pool.next_tip(pool.channel)
    await miner.miner.first_work()
    assert await miner.told(second) == "stale-share"


async def test_a_share_with_a_key_of_its_own_takes_the_long_way(
    pool: ScriptedPool, proxy: House, ways: Ways
) -> None:
    miner = await bench(proxy, extensions=(EXTENSION,))
    key = Tlv(EXTENSION, TLV_SHARE_KEY, b"\x02" * 33)
    assert await miner.told(good(miner), key) == "accepted"
    assert ways.short == 0


async def test_shares_beyond_the_pace_of_a_channel_are_refused(start: Start, ways: Ways) -> None:
    house = await start(limits={"channel_shares_per_s": 1})
    miner = await bench(house)
    answers = [await miner.told(good(miner)) for _ in range(13)]
    assert answers[:10] == ["accepted"] * 10
    assert answers[-1] == "too-many-shares"
    assert ways.short >= 10 * ways.is_open


async def test_without_the_upstream_nobody_knows_a_shares_fate(
    pool: ScriptedPool, proxy: House, ways: Ways
) -> None:
    miner = await bench(proxy)
    share = good(miner)
    await pool.stop()
    assert await miner.told(share) == "no-verdict"
    assert ways.short == 0
