"""The law of difficulty, share by share; test_vardiff_in_simulation has what it comes to."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.target import MAX_TARGET, from_bits, work
from protocols.mining.credit_target import CreditRule
from protocols.mining.vardiff import (
    ENOUGH_SHARES,
    OFF_S,
    PROBE,
    RUSH_SHARES,
    STEP_PROBE,
    Vardiff,
    hashes_for,
    probe_hashes,
    silence_s,
)

NETWORK = from_bits(0x17030000)


def steady(vardiff: Vardiff, current: int, seconds: int, now: float = 0.0, shares: int = 1) -> float:
    """So many shares of the present work each second; returns the time after."""
    for _ in range(seconds):
        now += 1
        vardiff.accepted(shares * current, shares)
        vardiff.wanted(current, now)
    return now


def known() -> Vardiff:
    return Vardiff(60.0, 0.0, is_known=True)


def test_a_miner_that_is_not_known_is_asked_for_more_shares_until_there_are_enough() -> None:
    vardiff, now = Vardiff(60.0, 0.0), 0.0
    assert probe_hashes(4000.0, 60.0) == hashes_for(4000.0, 60.0) / PROBE == 1000
    wanted = None
    while wanted is None:
        now += 1
        vardiff.accepted(4 * 1000, 4)
        wanted = vardiff.wanted(1000, now)
    assert now * 4 == pytest.approx(ENOUGH_SHARES, rel=0.2)
    assert wanted == pytest.approx(4000, rel=0.01)
    assert vardiff.settled_hashes == wanted


def test_a_rate_that_fits_is_left_alone() -> None:
    vardiff = known()
    for second in range(1, 2000):
        vardiff.accepted(1000)
        assert vardiff.wanted(1000, float(second)) is None
    assert vardiff.hashrate(2000.0) == pytest.approx(1000, rel=0.02)


def test_a_miner_that_slows_down_to_a_tenth_is_followed() -> None:
    vardiff, current, hashes = known(), 1000, 0
    now = steady(vardiff, current, 300)
    while now < 450:
        now += 1
        hashes += 100
        while hashes >= current:
            hashes -= current
            vardiff.accepted(current)
        current = vardiff.wanted(current, now) or current
    assert current == pytest.approx(100, rel=0.2)
    assert vardiff.settled_hashes == pytest.approx(100, rel=0.2)


def test_a_small_difference_is_mended_when_it_is_sure() -> None:
    vardiff, now, wanted = known(), 0.0, None
    while wanted is None:
        now += 0.75
        vardiff.accepted(1000)
        wanted = vardiff.wanted(1000, now)
    assert 30 < now < 90
    assert wanted == pytest.approx(1333, rel=0.02)


def test_a_guess_that_is_far_off_is_corrected_while_the_miner_is_probed() -> None:
    vardiff, now, wanted = Vardiff(60.0, 0.0), 0.0, None
    while wanted is None:
        now += 0.7
        vardiff.accepted(1000)
        wanted = vardiff.wanted(1000, now)
    assert wanted == pytest.approx(1000 / 0.7 / PROBE, rel=0.01)
    assert now < 10


def test_silence_from_the_start_makes_the_work_easier_in_larger_and_larger_steps() -> None:
    vardiff, now, works = Vardiff(60.0, 0.0), 0.0, [1 << 60]
    while works[-1] > 1:
        now += vardiff.patience_s
        wanted = vardiff.wanted(works[-1], now)
        assert wanted is not None
        works.append(wanted)
    steps = [before / after for before, after in itertools.pairwise(works[:4])]
    assert steps == pytest.approx([16 * STEP_PROBE / PROBE, 64, 256], rel=0.01)
    assert now < 15
    assert vardiff.hashrate(now) == 0
    assert vardiff.settled_hashes == 0


def test_a_known_miner_that_falls_silent_is_made_easier_twice_and_then_seldom() -> None:
    vardiff, current = known(), 1 << 30
    now = gone = steady(vardiff, current, 300)
    changes = []
    while now < gone + 2 * OFF_S:
        now += 1
        wanted = vardiff.wanted(current, now)
        if wanted is not None:
            changes.append(now - gone)
            current = wanted
    assert len(changes) == 3
    assert changes[1] < 30
    assert changes[2] == pytest.approx(OFF_S, rel=0.1)
    assert current > (1 << 30) / STEP_PROBE / 400


def test_a_miner_that_comes_back_as_it_was_has_its_old_work_at_once() -> None:
    vardiff, current = known(), 1_000_000
    now = gone = steady(vardiff, current, 300)
    while now < gone + 600:
        now += 1
        current = vardiff.wanted(current, now) or current
    assert current < 10_000
    back = now
    while current < 500_000:
        now += 1
        shares = max(1, 1_000_000 // current)
        vardiff.accepted(shares * current, shares)
        current = vardiff.wanted(current, now) or current
    assert now - back < 60
    assert current == pytest.approx(1_000_000, rel=0.2)


def test_a_flood_of_shares_makes_the_work_harder_within_two_seconds() -> None:
    vardiff, now, current = Vardiff(60.0, 0.0), 0.0, 1 << 16
    hashrate = 1000 * current
    while now < 2:
        now += current / hashrate
        vardiff.accepted(current)
        if vardiff.is_rushed(current, now):
            current = vardiff.wanted(current, now) or current
    assert hashrate / STEP_PROBE / 2 <= current <= hashrate * 2


@pytest.mark.parametrize(("per_second", "rushed"), [(7, False), (9, True)])
def test_more_than_eight_times_the_wanted_shares_are_looked_at_at_once(per_second: int, rushed: bool) -> None:
    vardiff = known()
    vardiff.wanted(1000, 0.0)
    vardiff.accepted(63 * 1000, 63)
    assert vardiff.is_rushed(1000, 63 / per_second) is rushed


@given(
    steps=st.lists(st.tuples(st.integers(1, 40), st.floats(0, 0.5)), max_size=200),
    current=st.integers(1, 1 << 200),
)
@settings(max_examples=100, deadline=None)
def test_who_asks_again_only_after_the_shares_that_are_calm_misses_no_rush(
    steps: list[tuple[int, float]], current: int
) -> None:
    vardiff, now, calm = known(), 0.0, RUSH_SHARES
    vardiff.wanted(current, now)
    for shares, pause in steps:
        now += pause
        vardiff.accepted(shares * current, shares)
        calm -= shares
        if vardiff.is_rushed(current, now):
            assert calm <= 0
            return
        if calm <= 0:
            calm = vardiff.calm_for(current, now)
            assert 1 <= calm <= RUSH_SHARES


def test_few_shares_are_no_rush() -> None:
    vardiff = known()
    vardiff.accepted(10 * 1000, 10)
    assert not vardiff.is_rushed(1000, 0.0)


def test_shares_that_come_all_at_one_moment_are_taken_for_a_tenth_of_a_second() -> None:
    vardiff = Vardiff(60.0, 5.0)
    vardiff.accepted(100 * 1000, 100)
    assert vardiff.heard
    assert vardiff.wanted(1000, 5.0) == 100 * 1000 / 0.1 / STEP_PROBE


def test_shares_that_were_on_their_way_when_the_target_changed_do_not_change_it_again() -> None:
    vardiff = known()
    vardiff.accepted(16 * 1000, 16)
    wanted = vardiff.wanted(1000, 0.1)
    assert wanted == 16 * 1000 / 0.1 / STEP_PROBE
    for number in range(1, 100):
        vardiff.accepted(1000)
        now = 0.1 + number / 160
        assert not vardiff.is_rushed(wanted, now)
        assert vardiff.wanted(wanted, now) is None


def test_a_miner_that_says_it_has_changed_starts_afresh() -> None:
    vardiff = known()
    steady(vardiff, 1000, 100)
    vardiff.restart(101.0)
    assert vardiff.hashrate(101.0) == 0
    assert not vardiff.heard
    assert vardiff.patience_s == silence_s(60.0)
    assert vardiff.wanted(1000, 102.0) is None


def test_an_estimate_of_few_shares_is_what_the_target_says() -> None:
    vardiff = known()
    vardiff.accepted(1000)
    assert vardiff.hashrate(0.5) == 0
    vardiff.wanted(1000, 1.0)
    assert vardiff.hashrate(1.0) == 1000


def test_the_estimate_falls_with_silence_between_two_looks() -> None:
    vardiff = known()
    now = steady(vardiff, 1000, 100)
    assert vardiff.hashrate(now + 25) < 0.85 * vardiff.hashrate(now)


@given(
    st.lists(st.tuples(st.floats(-1e5, 1e5), st.integers(0, 40), st.integers(1, 2**85)), max_size=40),
    st.floats(0.1, 6000),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_no_clock_and_no_share_makes_it_fail(
    events: list[tuple[float, int, int]], per_minute: float, is_known: bool
) -> None:
    now, current = 1e6, 1 << 16
    vardiff = Vardiff(per_minute, now, is_known=is_known)
    for step, shares, hashes in events:
        now += step
        if shares:
            vardiff.accepted(shares * hashes, shares)
        wanted = vardiff.wanted(current, now)
        assert wanted is None or wanted >= 1
        current = work(CreditRule(8).target(wanted or current, network=NETWORK, max_target=MAX_TARGET))
        assert vardiff.hashrate(now) >= 0
        assert vardiff.settled_hashes >= 0
        assert vardiff.patience_s > 0


def test_a_second_question_at_the_same_moment_changes_nothing() -> None:
    vardiff = known()
    now = steady(vardiff, 1 << 20, 40)
    assert vardiff.wanted(1 << 20, now) is None


def test_a_clock_that_is_set_back_goes_on_from_there() -> None:
    vardiff = known()
    vardiff.restart(1000.0)
    now = steady(vardiff, 1 << 20, 10, 1000.0, shares=4)
    before = vardiff.hashrate(now)
    assert vardiff.hashrate(500.0) == before
    assert vardiff.wanted(1 << 20, 500.0) is None
    now = 500.0
    wanted = None
    while wanted is None:
        now += 1
        vardiff.accepted(4 << 20, 4)
        wanted = vardiff.wanted(1 << 20, now)
    assert now < 530
    assert wanted == pytest.approx(4 << 20, rel=0.05)
