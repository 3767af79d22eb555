import asyncio

import pytest

from roles.stratum.parking import Parking


def make(keep_s: float = 60.0, limit: int = 3) -> tuple[Parking[str], list[str]]:
    released: list[str] = []
    return Parking(keep_s=keep_s, limit=limit, release=released.append), released


async def test_what_is_kept_is_given_back_once() -> None:
    parking, released = make()
    assert parking.put("a", "rig", "A")
    assert parking.get("a") == "A"
    assert parking.take("a") == "A"
    assert parking.take("a") is parking.get("a") is None
    assert (len(parking), released) == (0, [])
    parking.close()


async def test_the_oldest_makes_room_for_the_newest() -> None:
    parking, released = make()
    for name in "abcde":
        parking.put(name, "rig", name.upper())
    assert list(parking) == ["C", "D", "E"]
    assert (released, parking.evicted) == (["A", "B"], 2)
    parking.close()
    assert released == ["A", "B", "C", "D", "E"]


@pytest.mark.parametrize(("keep_s", "limit"), [(0.0, 3), (60.0, 0)])
async def test_nothing_is_kept_where_nothing_is_to_be(keep_s: float, limit: int) -> None:
    parking, released = make(keep_s, limit)
    assert not parking.put("a", "rig", "A")
    assert (len(parking), released) == (0, [])


async def test_each_is_let_go_when_its_time_is_over() -> None:
    parking, released = make(0.05)
    began = asyncio.get_running_loop().time()
    parking.put("a", "rig", "A")
    await asyncio.sleep(0.02)
    parking.put("b", "rig", "B")
    assert released == []
    async with asyncio.timeout(30):
        while len(released) < 2:
            await asyncio.sleep(0.001)
    assert released == ["A", "B"]
    assert asyncio.get_running_loop().time() - began >= 0.07
    assert (len(parking), parking.expired, parking.evicted) == (0, 2, 0)


async def test_who_came_back_without_its_session_has_the_oldest_of_its_name_let_go() -> None:
    parking, released = make()
    parking.put("a", "rig", "A")
    parking.put("b", "other", "B")
    parking.put("c", "rig", "C")
    parking.came_back_anew("rig")
    parking.came_back_anew("stranger")
    assert released == ["A"]
    parking.came_back_anew("rig")
    parking.came_back_anew("rig")
    assert released == ["A", "C"]
    parking.close()


async def test_other_bounds_hold_at_once() -> None:
    parking, released = make()
    for name in "abc":
        parking.put(name, "rig", name.upper())
    parking.bind(60.0, 1)
    assert released == ["A", "B"]
    parking.bind(0.0, 1)
    assert not parking.put("d", "rig", "D")
    parking.bind(60.0, 2)
    assert parking.put("d", "rig", "D")
    assert list(parking) == ["C", "D"]
    parking.close()


async def test_one_that_is_dropped_is_let_go_at_once_and_after_the_end_nothing_is_kept() -> None:
    parking, released = make()
    parking.put("a", "rig", "A")
    parking.drop("a")
    parking.drop("a")
    assert released == ["A"]
    parking.put("b", "rig", "B")
    parking.close()
    assert not parking.put("c", "rig", "C")
    assert released == ["A", "B"]
