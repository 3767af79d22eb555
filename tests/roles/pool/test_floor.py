import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from roles.pool import floor as floors
from roles.pool.floor import BREATH, Floor
from roles.pool.meters import Meters

CROWD = 4 * BREATH


class Session:
    """Writes down what it is asked to do."""

    def __init__(self, asked: list[str]) -> None:
        self._asked = asked

    def refresh(self) -> Iterator[None]:
        self._asked.append("refresh")
        return iter(())

    def adjust(self) -> Iterator[None]:
        for _ in range(2):
            self._asked.append("adjust")
            yield


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def floor(asked: list[str]) -> Floor:
    nobody: Any = None
    made = Floor(nobody, nobody, nobody, nobody, nobody, Meters(CollectorRegistry()))
    sessions: Any = made.sessions
    sessions.update(Session(asked) for _ in range(CROWD))
    return made


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_new_work_comes_to_all_before_the_next_target_is_looked_at(
    floor: Floor, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floors, "TICK_S", 0.0)
    tasks = [asyncio.create_task(each) for each in (floor.announce(), floor.follow_miners())]
    while asked.count("adjust") < BREATH:
        await asyncio.sleep(0)
    floor.work_changed()
    asked.clear()
    while asked.count("refresh") < CROWD:
        await asyncio.sleep(0)
    assert asked == ["refresh"] * CROWD
    while "adjust" not in asked:
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_others_have_their_turn_while_work_is_sent_to_a_crowd(floor: Floor, asked: list[str]) -> None:
    task = asyncio.create_task(floor.announce())
    floor.work_changed()
    await turns(2)
    assert 0 < len(asked) <= 2 * BREATH
    await turns(2 * CROWD // BREATH)
    assert asked == ["refresh"] * CROWD
    task.cancel()
    await asyncio.wait({task})


async def test_work_that_comes_while_work_is_sent_goes_to_all_again(floor: Floor, asked: list[str]) -> None:
    task = asyncio.create_task(floor.announce())
    floor.work_changed()
    await turns(3)
    floor.work_changed()
    await turns(4 * CROWD // BREATH)
    assert asked == ["refresh"] * (2 * CROWD)
    task.cancel()
    await asyncio.wait({task})
