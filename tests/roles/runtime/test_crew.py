import asyncio
import threading
from functools import partial

import pytest

from roles.runtime.crew import Crew


def _hold(begun: threading.Event, go_on: threading.Event) -> bool:
    begun.set()
    return go_on.wait()


async def test_work_is_done_off_the_loop_and_its_result_comes_back() -> None:
    crew = Crew("test", 2)
    names = await asyncio.gather(*(crew.run(lambda: threading.current_thread().name) for _ in range(20)))
    assert set(names) <= {"test_0", "test_1"}
    assert crew.pending == 0
    crew.close()


async def test_what_work_raises_is_raised_where_it_is_awaited() -> None:
    crew = Crew("test", 1)
    with pytest.raises(ZeroDivisionError):
        await crew.run(lambda: 1 // 0)
    assert await crew.run(lambda: 7) == 7
    crew.close()


async def test_work_that_raises_what_a_future_refuses_keeps_no_result_of_the_same_turn_back() -> None:
    crew, done = Crew("test", 1), threading.Event()
    refused, other = crew.submit(lambda: next(iter(()))), crew.submit(lambda: 7)
    crew.submit(done.set)
    # The loop stands still meanwhile: what comes first is delivered with what follows.
    assert done.wait(10)
    async with asyncio.timeout(30):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await refused
        assert await other == 7
    crew.close()


async def test_work_whose_caller_has_left_is_counted_until_it_is_done() -> None:
    crew, go_on = Crew("test", 1), threading.Event()
    tasks = [asyncio.ensure_future(crew.run(go_on.wait)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert crew.pending == 3
    go_on.set()
    assert await crew.run(lambda: "done") == "done"
    assert crew.pending == 0
    crew.close()


async def test_closing_finishes_what_was_begun_and_cancels_what_waits() -> None:
    crew, begun, go_on = Crew("test", 1), threading.Event(), threading.Event()
    first = asyncio.ensure_future(crew.run(partial(_hold, begun, go_on)))
    second = asyncio.ensure_future(crew.run(lambda: "never"))
    await asyncio.to_thread(begun.wait)
    threading.Timer(0.01, go_on.set).start()
    crew.close()
    assert await first
    with pytest.raises(asyncio.CancelledError):
        await second


def test_results_for_a_loop_that_is_closed_are_dropped() -> None:
    crew, begun, go_on = Crew("test", 1), threading.Event(), threading.Event()

    async def leave() -> None:
        task = asyncio.ensure_future(crew.run(partial(_hold, begun, go_on)))
        await asyncio.to_thread(begun.wait)
        task.cancel()

    asyncio.run(leave())
    go_on.set()
    crew.close()


@pytest.mark.parametrize("is_told", [True, False], ids=["after", "before"])
def test_the_next_loop_is_served_when_one_was_closed_as_results_came(is_told: bool) -> None:
    crew, begun, go_on = Crew("test", 1), threading.Event(), threading.Event()

    async def leave() -> "asyncio.Future[bool]":
        return crew.submit(partial(_hold, begun, go_on))

    loop = asyncio.new_event_loop()
    left = loop.run_until_complete(leave())
    assert begun.wait(10)
    if not is_told:
        loop.close()
    go_on.set()
    crew.close(finish=True)
    loop.close()
    assert asyncio.run(asyncio.wait_for(crew.run(lambda: 7), 30)) == 7
    assert crew.pending == 0
    assert not left.done()
    crew.close()
