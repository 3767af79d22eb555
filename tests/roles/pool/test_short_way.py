"""A share is told the same whichever way it takes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from protocols.ehash.key_text import encode_key
from protocols.sv2.mining import CloseChannel, SubmitSharesError, SubmitSharesSuccess
from roles.pool.short_way import ShortWay
from roles.runtime.kernel import PYTHON
from tests.native_kernel import native_kernel
from tests.roles.pool.house import Channel, House
from tests.roles.pool.neighbours import KEY, OTHER_KEY, soon

EASY = (1 << 256) - 1


class Ways:
    """Counts the shares of the short way, and closes it if it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        self.short = 0
        chosen = {"python": PYTHON, "native": None}.get(kind, PYTHON) or native_kernel()

        def counting(way: Callable[..., Any]) -> Callable[..., Any]:
            def count(*given: Any) -> Any:
                judged, _, low = given[-1]
                before = len(judged) + len(low)
                answer = way(*given)
                self.short += len(judged) + len(low) - before
                return answer

            return count

        chosen = replace(chosen, judge=counting(chosen.judge), take=counting(chosen.take))
        monkeypatch.setattr("roles.pool.short_way.kernel", lambda: chosen)
        monkeypatch.setattr("roles.pool.workshop.kernel", lambda: chosen)
        if kind == "long":
            monkeypatch.setattr(ShortWay, "learn", lambda *_: None)


@pytest.fixture(params=["python", "native", "long"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch, request.param)


async def known(house: House, ways: Ways) -> Channel:
    """A channel of which a share has been accepted."""
    house.settings["acknowledgement"] = {"shares": 1}
    await house.start()
    channel = await (await house.miner(extensions=True)).open(user=encode_key(KEY))
    assert await told(channel, channel.mine()) == "accepted"
    assert ways.short == 0
    return channel


async def told(channel: Channel, share: Any, key: bytes | None = None) -> str:
    channel.submit(share, key=key)
    answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
    return answer.error_code if isinstance(answer, SubmitSharesError) else "accepted"


def good(channel: Channel) -> Any:
    return channel.mine()


def low(channel: Channel) -> Any:
    return channel.mine(low=channel.target + 1, target=EASY)


def early(channel: Channel) -> Any:
    return replace(good(channel), ntime=5)


def late(channel: Channel) -> Any:
    return replace(good(channel), ntime=(1 << 32) - 1)


def forbidden_version(channel: Channel) -> Any:
    share = good(channel)
    return replace(share, version=share.version ^ 1)


def unknown_job(channel: Channel) -> Any:
    return replace(good(channel), job_id=99)


def short_extranonce(channel: Channel) -> Any:
    return replace(good(channel), extranonce=bytes(15))


def long_extranonce(channel: Channel) -> Any:
    return replace(good(channel), extranonce=bytes(17))


@pytest.mark.parametrize(
    ("make", "answer", "is_plain"),
    [
        (good, "accepted", True),
        (low, "difficulty-too-low", True),
        (early, "invalid-share", False),
        (late, "invalid-share", False),
        (forbidden_version, "invalid-non-rollable-version-bit", False),
        (unknown_job, "invalid-job-id", False),
        (short_extranonce, "bad-extranonce-size", False),
        (long_extranonce, "bad-extranonce-size", False),
    ],
)
async def test_each_kind_of_share_hears_the_same(
    house: House, ways: Ways, make: Callable[[Channel], Any], answer: str, is_plain: bool
) -> None:
    channel = await known(house, ways)
    open_way = ShortWay.learn.__name__ == "learn"
    assert await told(channel, make(channel)) == answer
    assert ways.short == (is_plain and open_way)
    assert await told(channel, good(channel)) == "accepted"


async def test_a_repetition_is_a_success_that_earns_nothing(house: House, ways: Ways) -> None:
    channel = await known(house, ways)
    share = good(channel)
    for _ in range(2):
        assert await told(channel, share) == "accepted"
    assert await told(channel, share, OTHER_KEY) == "duplicate-share"
    await soon(lambda: house.metric("hashpool_ledger_seq") == 2)
    assert house.metric("hashpool_pool_shares_repeated_total") == 1


async def test_a_share_with_a_key_of_its_own_is_credited_to_it(house: House, ways: Ways) -> None:
    channel = await known(house, ways)
    share = good(channel)
    assert await told(channel, share, OTHER_KEY) == "accepted"
    assert ways.short == 0
    assert await told(channel, share) == "duplicate-share"


async def test_a_block_is_sent(house: House, ways: Ways) -> None:
    house.block_hashes = 1024
    channel = await known(house, ways)
    assert await told(channel, channel.mine(target=(1 << 256) // 1024 - 1)) == "accepted"
    assert house.metric("hashpool_pool_blocks_found_total") >= 1


async def test_the_next_tip_makes_work_stale(house: House, ways: Ways) -> None:
    channel = await known(house, ways)
    share = good(channel)
    house.provider.new_tip(bytes((2,)) * 32)
    await channel.work()
    assert await told(channel, share) == "stale-share"


async def test_a_closed_channel_takes_no_more_shares(house: House, ways: Ways) -> None:
    channel = await known(house, ways)
    share = good(channel)
    channel.miner.say(CloseChannel(channel.id, ""))
    assert await told(channel, share) == "invalid-channel-id"
