"""A simulated miner finds shares at random, as fast as its rate and the present work of a share make it."""

import os
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.target import MAX_TARGET, from_bits, work
from protocols.mining.credit_target import CreditRule
from protocols.mining.vardiff import Vardiff, hashes_for

LONG = bool(os.environ.get("HASHPOOL_TEST_LONG"))
RULE = CreditRule(32)
NETWORK = from_bits(0x17030000)
LINK = 1000.0
"""Shares a second that a miner's connection carries, whatever it finds."""


def simulate(hashrate: float, nominal: float, per_minute: float, seconds: float, seed: int) -> float:
    """How many times too much work a share takes after so long, 1.0 is right; the floor counts as right."""
    chance = random.Random(seed)

    def work_for(hashes: int) -> int:
        return work(RULE.target(hashes, network=NETWORK, max_target=MAX_TARGET))

    def next_share() -> float:
        return now + chance.expovariate(min(hashrate / current, LINK))

    now, tick = 0.0, 1.0
    vardiff = Vardiff(per_minute, now)
    due = vardiff.patience_s
    current = work_for(hashes_for(nominal, per_minute))
    share = next_share()
    while now < seconds:
        if share < tick:
            now = share
            vardiff.accepted(current, now)
            share = next_share()
            if not vardiff.is_rushed(current, now):
                continue
        else:
            now, tick = tick, tick + 1
            if now < due and not vardiff.is_fresh:
                continue
        wanted = vardiff.wanted(current, now)
        due = now + vardiff.patience_s
        if wanted is not None and work_for(wanted) != current:
            current = work_for(wanted)
            share = next_share()
    return current / work_for(hashes_for(hashrate, per_minute))


@pytest.mark.parametrize("per_minute", [6.0, 60.0])
@pytest.mark.parametrize(
    ("hashrate", "nominal"),
    [
        (1e3, 0.0),
        (1e6, 1e12),
        (1e9, 1e12),
        (1e12, 0.0),
        (1.2e12, 1e12),
        (1e14, 1e12),
        (1e18, 0.0),
        (1e18, 1e18),
    ],
)
def test_the_target_comes_within_30_percent_in_ten_minutes(
    hashrate: float, nominal: float, per_minute: float
) -> None:
    runs = 400 if LONG else 100
    print(f"seeds 0 to {runs - 1}")
    ratios = sorted(simulate(hashrate, nominal, per_minute, 600, seed) for seed in range(runs))
    good = sum(0.7 <= ratio <= 1.3 for ratio in ratios)
    assert good >= 0.8 * runs, ratios


def test_a_miner_that_slows_down_to_a_tenth_is_followed() -> None:
    vardiff, now, current = Vardiff(60, 0.0), 0.0, 1000
    for _ in range(300):
        now += 1
        vardiff.accepted(current, now)
        assert vardiff.wanted(current, now) is None
    hashes = 0
    while now < 400:
        now += 1
        hashes += 100
        if hashes >= current:
            hashes -= current
            vardiff.accepted(current, now)
        current = vardiff.wanted(current, now) or current
    assert 75 <= current <= 130


def test_a_rate_that_fits_is_left_alone() -> None:
    vardiff = Vardiff(60, 0.0)
    for second in range(1, 2000):
        vardiff.accepted(1000, float(second))
        assert vardiff.wanted(1000, float(second)) is None
    assert vardiff.hashrate(2000.0) == pytest.approx(1000, rel=0.02)


def test_silence_makes_the_work_easier_step_by_step_and_never_nothing() -> None:
    vardiff, current, now = Vardiff(60, 0.0), 1 << 60, 0.0
    for _ in range(2000):
        now += 1
        current = vardiff.wanted(current, now) or current
    assert current == 1
    assert vardiff.hashrate(now) < 1


def test_a_flood_of_shares_makes_the_work_harder_within_two_seconds() -> None:
    vardiff, now, current = Vardiff(60, 0.0), 0.0, 1 << 16
    hashrate = 1000 * current
    while now < 2:
        now += current / hashrate
        vardiff.accepted(current, now)
        current = vardiff.wanted(current, now) or current
    assert hashrate / 8 <= current <= hashrate * 2


def test_a_miner_that_says_it_has_changed_starts_afresh() -> None:
    vardiff = Vardiff(60, 0.0)
    vardiff.accepted(1000, 1.0)
    vardiff.restart(5.0)
    assert vardiff.hashrate(5.0) == 0
    assert vardiff.wanted(1000, 6.0) is None


@given(
    st.lists(st.tuples(st.floats(-1e5, 1e5), st.booleans(), st.integers(1, 2**85)), max_size=40),
    st.floats(0.1, 6000),
)
@settings(max_examples=200, deadline=None)
def test_no_clock_and_no_share_makes_it_fail(
    events: list[tuple[float, bool, int]], per_minute: float
) -> None:
    now, current = 1e6, 1 << 16
    vardiff = Vardiff(per_minute, now)
    for step, share, hashes in events:
        now += step
        if share:
            vardiff.accepted(hashes, now)
        wanted = vardiff.wanted(current, now)
        assert wanted is None or wanted >= 1
        current = work(CreditRule(8).target(wanted or current, network=NETWORK, max_target=MAX_TARGET))
        assert vardiff.hashrate(now) >= 0


def test_a_long_silence_after_a_single_share_leaves_nothing_to_divide_by() -> None:
    vardiff = Vardiff(405.0, 0.0)
    vardiff.accepted(976748545, 0.0)
    vardiff.wanted(1, 3312.0)
    assert vardiff.hashrate(3312.0) >= 0


def test_a_second_question_at_the_same_moment_changes_nothing() -> None:
    vardiff = Vardiff(60.0, 0.0)
    for second in range(1, 41):
        vardiff.accepted(1 << 20, float(second))
    vardiff.wanted(1 << 20, 40.0)
    assert vardiff.wanted(1 << 20, 40.0) is None


def test_a_clock_that_is_set_back_goes_on_from_there() -> None:
    vardiff = Vardiff(60.0, 1000.0)
    for second in range(1, 31):
        vardiff.accepted(1 << 20, 1000.0 + second)
    before = vardiff.hashrate(1030.0)
    assert vardiff.hashrate(500.0) == before
    assert vardiff.wanted(1 << 20, 500.0) is None


def test_more_than_eight_times_the_wanted_shares_change_the_target_at_once() -> None:
    vardiff = Vardiff(60.0, 0.0)
    now = 0.0
    for _ in range(16):
        assert not vardiff.is_rushed(1000, now)
        assert vardiff.wanted(1000, now) is None
        now += 0.01
        vardiff.accepted(1000, now)
    assert vardiff.is_rushed(1000, now)
    assert vardiff.wanted(1000, now) == pytest.approx(16 * 1000 / 0.16, rel=0.01)
    assert not vardiff.is_rushed(1000, now)


def test_shares_at_seven_times_the_wanted_rate_are_left_to_the_usual_windows() -> None:
    vardiff = Vardiff(60.0, 0.0)
    for number in range(1, 64):
        vardiff.accepted(1000, number / 7)
        assert not vardiff.is_rushed(1000, number / 7)


def test_shares_that_come_all_at_one_moment_are_taken_for_a_tenth_of_a_second() -> None:
    vardiff = Vardiff(60.0, 5.0)
    for _ in range(100):
        vardiff.accepted(1000, 5.0)
    assert vardiff.heard
    assert vardiff.wanted(1000, 5.0) == 100 * 1000 / 0.1


def test_shares_that_were_on_their_way_when_the_target_changed_do_not_change_it_again() -> None:
    vardiff = Vardiff(60.0, 0.0)
    for _ in range(16):
        vardiff.accepted(1000, 0.1)
    wanted = vardiff.wanted(1000, 0.1)
    assert wanted == 160_000
    for number in range(100):
        vardiff.accepted(1000, 0.1 + number / 160)
        assert vardiff.wanted(wanted, 0.1 + number / 160) is None
