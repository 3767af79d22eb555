import asyncio

import pytest

from roles.runtime.backoff import Backoff


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


async def test_a_loop_whose_cancellation_a_failing_task_group_has_swallowed_ends_all_the_same() -> None:
    failing = asyncio.Event()

    async def fail() -> None:
        await failing.wait()
        raise OSError("the peer is gone")

    async def loop() -> None:
        backoff = Backoff(0.001, 0.001)
        while True:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
            except* OSError:
                pass
            await backoff.wait()

    task = asyncio.create_task(loop())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    failing.set()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=5)
    assert done
    assert task.cancelled()
