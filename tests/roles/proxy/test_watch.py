import asyncio

from roles.proxy.slices import Slices
from roles.proxy.watch import CONDITION, UpstreamWatch
from roles.runtime.readiness import Readiness


def released(watch: UpstreamWatch) -> bool:
    return watch.is_released


async def test_the_hold_counts_from_the_loss_and_ends_with_the_return() -> None:
    readiness = Readiness()
    returns: list[int] = []
    watch = UpstreamWatch(readiness, 0.02, lambda: returns.append(1))
    assert readiness.reasons == {CONDITION: "starting"}
    watch.changed(True, "")
    assert readiness.ready
    watch.changed(False, "it broke")
    watch.changed(False, "nobody answers")
    assert readiness.reasons == {CONDITION: "nobody answers"}
    assert not released(watch)
    async with asyncio.timeout(30):
        while not released(watch):
            await asyncio.sleep(0.005)
    watch.changed(False, "nobody answers")
    watch.changed(True, "")
    assert not released(watch)
    assert len(returns) == 2
    watch.close()


async def test_a_hold_without_end_never_releases() -> None:
    watch = UpstreamWatch(Readiness(), None)
    watch.changed(False, "gone")
    await asyncio.sleep(0)
    assert not released(watch)
    watch.close()


def test_slices_are_taken_in_turn_and_never_twice_at_once() -> None:
    slices = Slices(0xFFFFFFFF)
    assert [slices.take(), slices.take()] == [b"\xff" * 4, b"\0" * 4]
    around = Slices(0)
    held = around.take()
    around._next = 0
    assert around.take() == b"\0\0\0\1"
    around.give_back(held)
    around._next = 0
    assert around.take() == held


async def test_another_hold_counts_from_the_moment_that_it_is_set() -> None:
    watch = UpstreamWatch(Readiness(), None)
    watch.changed(False, "gone")
    watch.hold(0.01)
    async with asyncio.timeout(30):
        while not released(watch):
            await asyncio.sleep(0.005)
    watch.changed(True, "")
    watch.hold(None)
    watch.changed(False, "gone")
    await asyncio.sleep(0)
    assert not released(watch)
    watch.close()
