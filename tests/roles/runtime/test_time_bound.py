import asyncio

import pytest

from roles.runtime.time_bound import TimeBound

SHORT = 0.02
"""Seconds: who waits for it waits for ever."""


async def test_a_call_in_time_gives_its_result_or_what_it_raises() -> None:
    bound = TimeBound(60)

    async def fail() -> None:
        raise ZeroDivisionError

    assert await bound.run(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ZeroDivisionError):
        await bound.run(fail())
    assert len(bound) == 0


async def test_calls_that_take_too_long_are_cancelled_and_told_so() -> None:
    bound = TimeBound(SHORT)
    ended: list[int] = []

    async def wait(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    outcomes = await asyncio.gather(*(bound.run(wait(number)) for number in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 3
    assert (ended, len(bound)) == ([0, 1, 2], 0)
    with pytest.raises(TimeoutError):
        await bound.run(wait(3))


async def test_the_next_call_has_a_bound_too_when_none_was_under_way_for_long() -> None:
    bound = TimeBound(SHORT)
    await bound.run(asyncio.sleep(0))
    await asyncio.sleep(2 * SHORT)
    with pytest.raises(TimeoutError):
        await bound.run(asyncio.Event().wait())


async def test_a_caller_who_is_cancelled_is_cancelled_and_nothing_else() -> None:
    bound = TimeBound(60)
    task = asyncio.create_task(bound.run(asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(bound) == 0


async def test_a_call_that_is_late_within_one_that_is_not_leaves_that_its_own_bound() -> None:
    outer, inner = TimeBound(60), TimeBound(SHORT)

    async def both() -> str:
        with pytest.raises(TimeoutError):
            await inner.run(asyncio.Event().wait())
        return "went on"

    assert await outer.run(both()) == "went on"


async def test_a_cancellation_that_comes_with_the_end_of_the_time_is_not_lost() -> None:
    bound = TimeBound(SHORT)

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # Somebody else wants it ended as well.
            task.cancel()
            raise

    task = asyncio.create_task(bound.run(wait()))
    with pytest.raises(asyncio.CancelledError):
        await task
