from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.stratum.cost import PAUSE_S, CostAccount, CostTerms

KINDS = ["", "bad_line", "refused", "bad_share"]


def account(now: float = 1_000.0, **terms: float) -> tuple[CostAccount, Counter[str]]:
    faults: Counter[str] = Counter()
    return CostAccount(CostTerms(**terms), now, faults), faults


def test_who_keeps_to_its_rate_never_waits() -> None:
    cost, faults = account(rate=10.0)
    now = 1_000.0
    for _ in range(10_000):
        now += 0.1
        assert cost.take(now) == 0
    assert not cost.is_exhausted
    assert not faults


def test_a_burst_of_ten_seconds_is_free_and_what_is_faster_gets_its_rate() -> None:
    cost, _ = account(rate=10.0)
    assert [cost.take(1_000.0) for _ in range(100)] == pytest.approx([0.0] * 100, abs=1e-9)
    now, served = 1_000.0, 0
    while now < 1_100.0:
        now += cost.take(now)
        served += 1
    assert served == pytest.approx(1_000, abs=10)
    assert not cost.is_exhausted


@pytest.mark.parametrize("rate", [0.5, 1.0, 100.0])
def test_who_is_only_fast_is_never_cut(rate: float) -> None:
    cost, _ = account(rate=rate)
    now = 1_000.0
    for _ in range(5_000):
        now += cost.take(now)
        assert not cost.is_exhausted


@pytest.mark.parametrize("kind", ["bad_line", "refused"])
def test_who_does_nothing_but_wrong_is_slowed_and_then_cut(kind: str) -> None:
    cost, faults = account()
    now, count, pauses = 1_000.0, 0, 0.0
    while not cost.is_exhausted:
        pause = cost.take(now)
        assert pause <= PAUSE_S
        now += pause
        pauses += pause
        getattr(cost, kind)()
        count += 1
    assert count < 200
    assert pauses > 1
    assert faults == {kind.replace("_", "-").replace("refused", "refused-request"): count}


def test_a_few_bad_shares_a_second_are_forgiven() -> None:
    cost, faults = account()
    now = 1_000.0
    for _ in range(2_000):
        now += 0.2
        assert cost.take(now) == 0
        cost.bad_share()
    assert not cost.is_exhausted
    assert faults == {"bad-share": 2_000}


def test_a_clock_that_stands_or_a_long_silence_gives_no_credit() -> None:
    cost, _ = account(rate=1.0, soft_s=2.0)
    assert [cost.take(5_000.0) for _ in range(4)] == [0, 0, 1.0, 1.0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from(KINDS)), max_size=80))
def test_patience_comes_back_with_time(script: list[tuple[float, str]]) -> None:
    cost, _ = account()
    now = 1_000.0
    for gap, fault in script:
        now += gap
        assert 0 <= cost.take(now) <= PAUSE_S
        if fault:
            getattr(cost, fault)()
    cost.take(now + 1_000)
    assert not cost.is_exhausted
    assert cost.take(now + 1_001) == 0
