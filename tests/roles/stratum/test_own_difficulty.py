from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bitcoin.target import MAX_TARGET, from_work, work
from roles.stratum.own_difficulty import OwnDifficulty

FARM = from_work(1 << 60)
LOOK_S = 30.0


def mine(
    own: OwnDifficulty, upstream: int, hash_rate: float, seconds: float, began: float, seed: int
) -> tuple[int, int]:
    """So long of mining, with other work each half minute; returns shares, and the target at the end."""
    chance, now, shares = Random(seed), began, 0
    target = own.target(upstream, now)
    due = now + LOOK_S
    while now < began + seconds:
        now += chance.expovariate(hash_rate / work(target))
        while due < now and due < began + seconds:
            # A share that was to come after this comes by the new target, as likely as before.
            now = due
            target = own.target(upstream, now)
            due += LOOK_S
            now += chance.expovariate(hash_rate / work(target))
        if now < began + seconds:
            own.found(float(work(target)))
            shares += 1
    return shares, target


@pytest.mark.parametrize("hash_rate", [1e3, 1e6, 1e9, 1e12])
@pytest.mark.parametrize("guess", [1 / 50, 1, 50])
def test_a_small_miner_behind_a_farms_target_shows_itself(hash_rate: float, guess: float) -> None:
    own = OwnDifficulty(6.0, 0.0)
    own.expect(hash_rate * guess, MAX_TARGET)
    mine(own, FARM, hash_rate, 1_800.0, 0.0, seed=1)
    shares, _ = mine(own, FARM, hash_rate, 1_800.0, 1_800.0, seed=2)
    assert 180 * 0.6 < shares < 180 * 1.6
    assert own.is_in_force


def test_what_the_upstream_asks_for_is_told_where_it_suffices() -> None:
    upstream = from_work(10_000_000)
    own = OwnDifficulty(2.0, 0.0)
    own.expect(1e6, MAX_TARGET)
    _, target = mine(own, upstream, 1e6, 3_600.0, 0.0, seed=3)
    assert target == upstream
    assert not own.is_in_force
    assert not own.is_rushed(3_600.0)


def test_nothing_easier_than_what_the_miner_wants_is_told() -> None:
    own = OwnDifficulty(2.0, 0.0)
    easiest = from_work(1_000_000)
    own.expect(1.0, easiest)
    assert own.target(FARM, 0.0) == easiest
    own.expect(1e5, easiest)
    assert own.target(FARM, 0.0) == from_work(3_000_000)


def test_who_was_not_told_of_yet_is_told_what_the_upstream_asks_for() -> None:
    own = OwnDifficulty(2.0, 0.0)
    assert own.target(FARM, 0.0) == FARM


def test_a_miner_that_floods_us_is_noticed_at_once() -> None:
    own = OwnDifficulty(2.0, 0.0)
    own.expect(1e3, MAX_TARGET)
    target = own.target(FARM, 0.0)
    for _ in range(40):
        own.found(float(work(target)))
    assert own.is_rushed(5.0)
    assert work(own.target(FARM, 5.0)) > 10 * work(target)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 255), st.floats(0, 100), st.floats(1, 1e40)), min_size=1, max_size=20),
    st.floats(1e-9, 1e25),
    st.integers(1, MAX_TARGET),
)
def test_no_difficulty_is_ever_harder_than_the_upstreams(
    script: list[tuple[int, float, float]], hash_rate: float, easiest: int
) -> None:
    own, now = OwnDifficulty(2.0, 0.0), 0.0
    own.expect(hash_rate, easiest)
    for bits, gap, hashes in script:
        now += gap
        upstream = (1 << bits + 1) - 1
        told = own.target(upstream, now)
        assert upstream <= told <= max(upstream, easiest)
        assert own.is_in_force is (told > upstream)
        own.found(hashes)
