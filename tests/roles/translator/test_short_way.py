"""A share is told the same whichever way it takes through the translator."""

from collections.abc import Callable
from typing import Any

import pytest

from roles.stratum.share_desk import ShareDesk

House = Any
Miner = Any
Answer = list[Any] | None


class Ways:
    """Counts the shares of the short way, and closes it if it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, is_open: bool) -> None:
        self.short = 0
        self.is_open = is_open
        take = ShareDesk.take

        def count(desk: ShareDesk, *args: Any) -> bool:
            taken = is_open and take(desk, *args)
            self.short += taken
            return taken

        monkeypatch.setattr(ShareDesk, "take", count)


@pytest.fixture(params=["short", "long"])
def ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ways:
    return Ways(monkeypatch, is_open=request.param == "short")


def good(miner: Miner) -> list[Any]:
    found: list[Any] = miner.find(miner.jobs[-1])
    return found


def rolled(miner: Miner) -> list[Any]:
    found: list[Any] = miner.find(miner.jobs[-1], bits=miner.mask & 0x6000)
    return found


def with_room(miner: Miner) -> list[Any]:
    return [*good(miner)[:5], ""]


def low(miner: Miner) -> list[Any]:
    found: list[Any] = miner.find(miner.jobs[-1], good=False)
    return found


def short_hex(miner: Miner) -> list[Any]:
    user, job, extranonce2, ntime, nonce, *bits = good(miner)
    return [user, job, extranonce2, ntime.lstrip("0"), nonce.lstrip("0") or "0", *bits]


def upper_case(miner: Miner) -> list[Any]:
    user, job, *rest = good(miner)
    return [user, job, *(text.upper() for text in rest)]


def early(miner: Miner) -> list[Any]:
    return [*good(miner)[:3], "00000001", *good(miner)[4:]]


def late(miner: Miner) -> list[Any]:
    return [*good(miner)[:3], "ffffffff", *good(miner)[4:]]


def unknown_job(miner: Miner) -> list[Any]:
    return ["a", "ffff", *good(miner)[2:]]


def wrong_size(miner: Miner) -> list[Any]:
    return [*good(miner)[:2], "00", *good(miner)[3:]]


@pytest.mark.parametrize(
    ("make", "answer", "is_plain"),
    [
        (good, None, True),
        (rolled, None, True),
        (with_room, None, True),
        (upper_case, None, True),
        (short_hex, None, None),
        (low, [23, "Above target", None], False),
        (early, [20, "Ntime out of range", None], False),
        (late, [20, "Ntime out of range", None], False),
        (unknown_job, [21, "Job not found", None], False),
        (wrong_size, [20, "Wrong extranonce2 size", None], False),
    ],
)
async def test_each_kind_of_share_hears_the_same(
    house: House,
    ways: Ways,
    bitaxe: Any,
    make: Callable[[Miner], list[Any]],
    answer: Answer,
    is_plain: bool | None,
) -> None:
    miner = await house.miner(bitaxe)
    told = await miner.submit(make(miner))
    assert told == {"id": miner.last_id, "result": None if answer else True, "error": answer}
    if is_plain is not None:
        assert ways.short == (is_plain and ways.is_open)
    assert (await miner.mine())["result"] is True
    accepted = 1 + (answer is None)
    assert house.count("translator_shares_total", result="accepted") == accepted
    assert house.count("translator_shares_total", result="rejected") == 2 - accepted


@pytest.mark.parametrize(
    ("verdict", "error", "result"),
    [
        ("stale-share", [21, "Stale", None], "rejected"),
        ("duplicate-share", [22, "Duplicate share", None], "rejected"),
        ("no-verdict", [20, "No verdict from pool", None], "unknown"),
    ],
)
async def test_the_word_of_the_upstream_is_passed_on(
    house: House, ways: Ways, verdict: str, error: Answer, result: str
) -> None:
    miner = await house.miner()
    house.proxy.verdict = lambda _share: verdict
    assert (await miner.submit(good(miner)))["error"] == error
    assert ways.short == ways.is_open
    assert house.count("translator_shares_total", result=result) == 1


async def test_a_repetition_is_refused_here(house: House, ways: Ways) -> None:
    miner = await house.miner()
    share = good(miner)
    assert (await miner.submit(share))["result"] is True
    assert (await miner.submit(share))["error"] == [22, "Duplicate share", None]
    assert ways.short == ways.is_open
    assert len(house.proxy.opened[0].shares) == 1


async def test_the_next_tip_makes_work_stale(house: House, ways: Ways) -> None:
    miner = await house.miner()
    share = good(miner)
    house.proxy.new_tip()
    await miner.until(lambda: len(miner.jobs) == 1 and miner.jobs[0].id != share[1])
    assert (await miner.submit(share))["error"] == [21, "Stale", None]


@pytest.mark.parametrize("id", [0, -1, 1 << 40, 1 << 70, "x", None, 1.5, True])
async def test_any_id_is_echoed(house: House, ways: Ways, id: Any) -> None:
    miner = await house.miner()
    miner.write({"id": id, "method": "mining.submit", "params": good(miner)})
    assert (await miner.reply(id))["result"] is True
