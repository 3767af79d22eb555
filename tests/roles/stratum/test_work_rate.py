import random
import sys
from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.stratum.work_rate import WINDOWS, WorkRate

SECONDS = {"1m": 60, "5m": 300, "1h": 3_600, "24h": 86_400}


def found(rate: WorkRate, shares: list[tuple[float, float]]) -> None:
    for now, hashes in shares:
        rate.add(hashes, now)


@given(
    start=st.floats(0, 1e6),
    gaps=st.lists(st.tuples(st.floats(0.001, 9_000), st.floats(1, 1e15)), min_size=1, max_size=60),
    wait=st.floats(0, 100_000),
)
@settings(max_examples=150, deadline=None)
def test_a_window_holds_exactly_the_shares_of_the_seconds_that_it_tells(
    start: float, gaps: list[tuple[float, float]], wait: float
) -> None:
    rate, now, shares = WorkRate(start), start, []
    for gap, hashes in gaps:
        now += gap
        shares.append((now, hashes))
    found(rate, shares)
    now += wait
    for window, length in SECONDS.items():
        told = rate.estimate(window, now)
        since = now - told.seconds
        inside = [hashes for at, hashes in shares if at > since + 1e-6]
        border = [hashes for at, hashes in shares if abs(at - since) <= 1e-6]
        assert len(inside) <= told.shares <= len(inside) + len(border)
        if not border and told.seconds:
            assert told.rate == pytest.approx(sum(inside) / told.seconds, rel=1e-6, abs=1e-3 + 1e15 * 1e-9)
        assert told.seconds == pytest.approx(now - start, abs=1e-6) or length <= told.seconds
        assert told.seconds <= max(length * 1.2, 60)


def test_a_window_that_is_not_full_is_taken_for_as_long_as_it_is() -> None:
    rate = WorkRate(1_000.0)
    found(rate, [(1_000 + second, 500.0) for second in range(1, 21)])
    for window in WINDOWS:
        told = rate.estimate(window, 1_020)
        assert (told.rate, told.shares, told.seconds) == (500, 20, 20)


def test_a_change_of_difficulty_inside_a_window_changes_the_estimate_by_nothing() -> None:
    rate = WorkRate(0.0)
    found(rate, [(second, 1_000.0) for second in range(1, 151)])
    found(rate, [(second, 10_000.0) for second in range(160, 301, 10)])
    told = rate.estimate("5m", 300)
    assert told.rate == pytest.approx(1_000)
    # A tenth of the shares for half of the work: what is known is what 15 + 15/10 ... shares tell.
    number = 300_000**2 / (150 * 1_000**2 + 15 * 10_000**2)
    assert told.high is not None
    assert told.high - told.rate == pytest.approx(1_000 / number * (sqrt(number + 0.75) + 1))


def test_who_has_found_nothing_may_still_hash_as_fast_as_the_bound_says() -> None:
    rate = WorkRate(0.0)
    assert rate.estimate("1m", 0.0) == (0, 0, None, 0, 0)
    assert rate.estimate("1m", 30.0) == (0, 0, None, 0, 30)
    told = rate.estimate("1m", 30.0, hashes=6e6)
    assert told.low == 0
    assert told.high == pytest.approx(6e6 / 30 * 1.866, rel=1e-3)


def test_a_miner_that_falls_silent_is_at_nothing_after_the_window_and_at_less_before() -> None:
    rate = WorkRate(0.0)
    found(rate, [(second, 600.0) for second in range(1, 601)])
    assert rate.estimate("5m", 600).rate == pytest.approx(600, rel=0.02)
    assert rate.estimate("5m", 750).rate == pytest.approx(300, rel=0.04)
    assert rate.estimate("5m", 1_000).rate == 0
    assert rate.estimate("1h", 1_000).rate == pytest.approx(360, rel=0.01)
    assert rate.estimate("24h", 200_000).shares == 0


def test_the_bounds_hold_the_true_rate_as_often_as_they_say() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    source, true, inside, below, rounds = random.Random(seed), 1e6, 0, 0, 1_500
    for _ in range(rounds):
        rate, now = WorkRate(0.0), 0.0
        hashes = 4e6
        while True:
            # A difficulty that follows what has been seen, as vardiff's does.
            now += source.expovariate(true / hashes)
            if now >= 300:
                break
            rate.add(hashes, now)
            hashes = source.choice((4e6, 8e6, 16e6))
        told = rate.estimate("5m", 300.0)
        assert told.high is not None
        inside += told.low <= true <= told.high
        below += told.rate < true
    assert 0.62 <= inside / rounds <= 0.78
    assert 0.42 <= below / rounds <= 0.58


def test_shares_told_together_count_as_one_by_one() -> None:
    one, many = WorkRate(0.0), WorkRate(0.0)
    found(one, [(5, 100.0), (5, 300.0)])
    many.add_many(400.0, 100_000.0, 2, 5)
    many.add_many(0.0, 0.0, 0, 6)
    assert one.estimate("1m", 20) == many.estimate("1m", 20)
    assert one.sums == many.sums == (400, 100_000, 2)


def test_a_miner_of_a_week_takes_less_than_three_kibibytes() -> None:
    rate = WorkRate(0.0)
    for second in range(0, 7 * 86_400, 7):
        rate.add(1.0, second + 0.5)
    marks = rate._marks
    assert marks is not None
    size = sys.getsizeof(rate) + sys.getsizeof(marks) + sum(map(sys.getsizeof, marks))
    assert size < 3 * 1024
