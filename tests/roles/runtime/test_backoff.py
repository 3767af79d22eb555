import asyncio

import pytest

from roles.runtime.backoff import Backoff
from roles.runtime.task_group import TaskGroup


def test_pauses_double_up_to_the_limit_and_begin_small_after_a_success() -> None:
    backoff = Backoff(1, 5, uniform=lambda _low, high: high)
    assert [backoff.next() for _ in range(5)] == [1, 2, 4, 5, 5]
    backoff.reset()
    assert backoff.next() == 1


def test_pauses_are_spread_over_their_upper_half() -> None:
    spans = []

    def uniform(low: float, high: float) -> float:
        spans.append((low, high))
        return low

    backoff = Backoff(1, 4, uniform=uniform)
    assert [backoff.next(), backoff.next()] == [0.5, 1]
    assert spans == [(0.5, 1), (1, 2)]


async def test_waiting_sleeps_for_the_next_pause() -> None:
    backoff = Backoff(0.001, 0.002)
    await backoff.wait()
    assert 0.001 <= backoff.next() <= 0.002


def test_a_backoff_without_a_positive_pause_is_refused() -> None:
    with pytest.raises(ValueError, match="first_s"):
        Backoff(0, 1)


async def test_a_loop_tries_again_however_often_its_task_group_has_failed() -> None:
    backoff = Backoff(0.001, 0.001)
    for _ in range(3):
        with pytest.RaisesGroup(OSError):
            async with TaskGroup() as group:
                group.create_task(fail())
        await backoff.wait()


async def fail() -> None:
    await asyncio.sleep(0)
    raise OSError("the peer is gone")
