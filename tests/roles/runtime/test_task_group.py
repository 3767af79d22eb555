"""A group in a loop: failures are told, cancellations are neither forgotten nor made up."""

import asyncio

import pytest

from roles.runtime.task_group import TaskGroup


async def fail_at(moment: asyncio.Event) -> None:
    await moment.wait()
    raise OSError("the peer is gone")


async def sleep_on() -> None:
    await asyncio.sleep(3600)


async def test_a_failing_child_ends_the_others_and_leaves_the_task_uncancelled() -> None:
    moment = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None
    with pytest.RaisesGroup(OSError):
        async with TaskGroup() as group:
            other = group.create_task(sleep_on())
            group.create_task(fail_at(moment))
            asyncio.get_running_loop().call_soon(moment.set)
    assert other.cancelled()
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_failure_of_the_body_is_told_as_in_any_task_group() -> None:
    with pytest.RaisesGroup(ValueError):
        async with TaskGroup() as group:
            group.create_task(sleep_on())
            raise ValueError


async def test_children_that_end_well_are_waited_for_with_those_that_they_start() -> None:
    ended: list[str] = []

    async def child(name: str, group: TaskGroup, others: list[str]) -> None:
        await asyncio.sleep(0)
        for other in others:
            group.create_task(child(other, group, []))
        ended.append(name)

    async with TaskGroup() as group:
        group.create_task(child("first", group, ["second", "third"]))
    assert ended == ["first", "second", "third"]


@pytest.mark.parametrize("cancelled_first", [True, False])
async def test_a_loop_that_is_cancelled_when_a_child_fails_ends(cancelled_first: bool) -> None:
    moment = asyncio.Event()
    rounds = 0

    async def loop() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            try:
                async with TaskGroup() as group:
                    group.create_task(fail_at(moment))
            except* OSError:
                moment.clear()
            await asyncio.sleep(0)

    task = asyncio.create_task(loop())
    while not rounds:
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    moment.set()
    if not cancelled_first:
        await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(30):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert rounds == 1


async def test_a_cancellation_alone_ends_children_and_group() -> None:
    children: list[asyncio.Task[None]] = []

    async def run() -> None:
        async with TaskGroup() as group:
            children.append(group.create_task(sleep_on()))

    task = asyncio.create_task(run())
    while not children:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children[0].cancelled()
