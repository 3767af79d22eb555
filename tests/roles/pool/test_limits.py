"""What one miner can make the pool do and remember, beside one that notices nothing."""

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import work
from protocols.ehash.messages import EXTENSION
from protocols.mining.vardiff import RUSH_SHARES, STEP_PROBE
from protocols.sv2.codec import encode
from protocols.sv2.mining import CloseChannel, SetTarget, SubmitSharesError, SubmitSharesSuccess
from protocols.sv2.tlv import Tlv
from roles.pool.meters import Meters
from roles.pool.recollection import ShareKeys
from roles.stratum.difficulties import Difficulties
from tests.roles.pool.house import Channel, House, Miner
from tests.roles.pool.neighbours import soon

NOT_A_KEY = b"\x02" + b"\xff" * 32


async def flood(channel: Channel) -> int:
    """Submit until the target changes; returns how many shares that took."""
    for count in range(1, 500):
        channel.submit(channel.mine())
        answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
        assert isinstance(answer, SubmitSharesSuccess), answer
        if any(isinstance(message, SetTarget) for message in channel.miner.unheard):
            return count
    raise AssertionError("no target came")


async def test_a_miner_that_submits_far_too_fast_has_a_harder_target_within_so_few_shares(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However slowly this machine mines, it is too fast; and nothing else looks at the target meanwhile.
    house.settings["vardiff"] = {"shares_per_minute": 6.0, "floor_hashes": 64}
    monkeypatch.setattr("roles.pool.floor.TICK_S", 3600.0)
    await house.start()
    channel = await (await house.miner()).open()
    before = channel.next_target
    # The answer to the share may be on the wire before the target is.
    assert RUSH_SHARES <= await flood(channel) <= RUSH_SHARES + 12
    assert work(channel.next_target) > 4 * work(before)


async def test_a_miner_that_comes_back_begins_at_the_difficulty_that_it_had(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user="alice")
    fresh = channel.next_target
    await flood(channel)
    learned = work(channel.next_target)
    miner.link.close()
    await soon(lambda: house.metric("hashpool_pool_miners_remembered") == 1)
    again = await (await house.miner()).open(user="alice")
    # It is known by now, and needs not send more shares than wanted to become so.
    assert work(again.next_target) == pytest.approx(STEP_PROBE * learned, rel=0.01)
    other = await (await house.miner()).open(user="bob")
    assert other.next_target == fresh


async def test_a_miner_that_never_mined_is_not_remembered(house: House) -> None:
    await house.start()
    miner = await house.miner()
    await miner.open(rate=1e6)
    miner.link.close()
    await soon(lambda: house.metric("hashpool_pool_channels", kind="extended") == 0)
    assert house.metric("hashpool_pool_miners_remembered") == 0


async def test_shares_of_a_channel_beyond_its_pace_are_refused_unseen_and_its_neighbour_is_served(
    house: House,
) -> None:
    house.settings["limits"] = {"channel_shares_per_s": 1}
    await house.start()
    miner = await house.miner()
    flooder = await miner.open()
    neighbour = await miner.open()
    low = flooder.mine(low=flooder.target + 1, target=(1 << 256) - 1)
    # Twenty times the wanted rate of one a second, for ten seconds.
    flooder.submit(*[low] * 220)
    codes = [(await miner.hear(SubmitSharesError)).error_code for _ in range(220)]
    assert codes[:200] == ["difficulty-too-low"] * 200
    assert set(codes[201:]) == {"too-many-shares"}
    assert house.metric("hashpool_pool_shares_rejected_total", code="too-many-shares") >= 19
    neighbour.submit(neighbour.mine())
    assert (await miner.hear(SubmitSharesSuccess)).channel_id == neighbour.id
    assert house.metric("hashpool_pool_throttled_total") == 0


async def test_closing_a_channel_is_paid_for_with_its_opening_and_closing_nothing_is_not(
    house: House,
) -> None:
    house.settings["limits"] = {"shares_per_s": 5}
    await house.start()
    miner = await house.miner()
    channels = [await miner.open() for _ in range(9)]
    # 45 of the 50 of ten seconds are gone, and 40 more would be too many.
    miner.say(*(CloseChannel(each.id, "") for each in channels[:8]))
    channels[8].submit(channels[8].mine())
    await miner.hear(SubmitSharesSuccess)
    assert house.metric("hashpool_pool_throttled_total") == 0
    assert house.metric("hashpool_pool_channels", kind="extended") == 1
    miner.say(*(CloseChannel(each.id, "") for each in channels[:8]))
    await soon(lambda: house.metric("hashpool_pool_throttled_total") >= 1)


async def test_excess_of_one_connection_is_read_slowly_in_the_end(house: House) -> None:
    house.settings["limits"] = {"channel_shares_per_s": 1, "shares_per_s": 10}
    await house.start()
    channel = await (await house.miner()).open()
    low = channel.mine(low=channel.target + 1, target=(1 << 256) - 1)
    channel.submit(*[low] * 110)
    await soon(lambda: house.metric("hashpool_pool_throttled_total") >= 1)
    other = await (await house.miner()).open()
    other.submit(other.mine())
    assert isinstance(await other.miner.hear(SubmitSharesSuccess), SubmitSharesSuccess)


async def submit_with(miner: Miner, channel: Channel, share: object, key: bytes) -> object:
    miner.link.send(encode(share, [Tlv(EXTENSION, 0x02, key)]))  # type: ignore[arg-type]
    return await miner.hear(SubmitSharesSuccess, SubmitSharesError)


async def test_a_key_is_looked_at_only_when_its_share_is_good(house: House) -> None:
    await house.start()
    miner = await house.miner(extensions=True)
    channel = await miner.open()
    low = channel.mine(low=channel.target + 1, target=(1 << 256) - 1)
    answer = await submit_with(miner, channel, low, NOT_A_KEY)
    assert isinstance(answer, SubmitSharesError)
    assert answer.error_code == "difficulty-too-low"
    good = channel.mine()
    answer = await submit_with(miner, channel, good, NOT_A_KEY)
    assert isinstance(answer, SubmitSharesError)
    assert answer.error_code == "invalid-user-identity"
    # The share was good all the same, and counts for a key that is one.
    assert isinstance(
        await submit_with(miner, channel, good, public_key(bytes(31) + b"\7")), SubmitSharesSuccess
    )


def test_the_keys_of_a_connection_are_checked_once_and_bounded() -> None:
    checked: list[bytes] = []

    def check(key: bytes) -> bool:
        checked.append(key)
        return key != b"bad"

    forgotten = Meters(CollectorRegistry()).keys_forgotten
    keys = ShareKeys(check, 3, forgotten)
    assert keys.accept(b"a")
    assert keys.accept(b"a")
    assert not keys.accept(b"bad")
    assert not keys.accept(b"bad")
    assert checked == [b"a", b"bad", b"bad"]
    for key in (b"b", b"c", b"d"):
        assert keys.accept(key)
    assert (len(keys), forgotten._value.get()) == (3, 1)
    assert keys.accept(b"a")
    assert checked[-1] == b"a"


def test_who_left_longest_ago_is_forgotten_first() -> None:
    difficulties = Difficulties(2)
    difficulties.keep("h", "a", 1)
    difficulties.keep("h", "b", 2)
    difficulties.keep("h", "a", 3)
    difficulties.keep("g", "a", 4)
    assert len(difficulties) == 2
    assert difficulties.recall("h", "b") == 0
    assert difficulties.recall("h", "a") == 3
    assert difficulties.recall("g", "a") == 4
    nothing = Difficulties(0)
    nothing.keep("h", "a", 1)
    assert nothing.recall("h", "a") == 0
