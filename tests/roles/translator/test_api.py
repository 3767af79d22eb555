"""What the translator tells of its miners is what happened to their shares, and is what it describes."""

import json
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from roles.runtime.api import Api
from roles.runtime.readiness import Readiness
from roles.runtime.redaction import Shown, shown
from roles.stratum.reception_pages import ReceptionPages
from roles.stratum.upstream_overview import upstreams
from tests.openapi import check_all
from tests.roles.translator.fake_miners import FakeMiner

Build = Callable[..., Any]
Eventually = Callable[[Callable[[], object]], Awaitable[None]]


class Reader:
    """Reads the API of a translator."""

    def __init__(self, house: Any, show_peer: Callable[[str], str | None] = str) -> None:
        self._api = Api("translator")
        told = partial(upstreams, house.client)
        pages = ReceptionPages(
            "translator", house.translator, Readiness(), show_peer, told, purpose="The proxy."
        )
        pages.serve(self._api)

    async def ask(self, path: str) -> tuple[int, str]:
        path, _, query = path.partition("?")
        answer = await self._api.answer(path, query)
        assert answer is not None, path
        return answer[0].value, answer[1].decode()

    async def read(self, path: str) -> Any:
        status, body = await self.ask(f"/api/v1/{path}")
        assert status == 200, body
        return json.loads(body)


async def test_a_miners_figures_are_what_became_of_its_shares(build: Build) -> None:
    house = await build()
    began = time.time()
    miner = await house.miner(user="alice.rig", agent="tester/2")
    await house.miner(user='<b>"\x1b\\é')
    codes = iter(["", "", "stale-share", "", "invalid-share"])
    house.proxy.verdict = lambda _: next(codes) or None
    for _ in range(5):
        await miner.mine()
    assert (await miner.submit(miner.find(await miner.job(), good=False)))["error"][0] == 23
    answers = await check_all(Reader(house).ask)
    shown, other = answers["/api/v1/miners"]["miners"]
    assert (shown["worker"], shown["user_agent"]) == ("alice.rig", "tester/2")
    assert other["worker"] == '<b>"\x1b\\é'
    assert shown["shares"] == {
        "accepted": 3, "local": 0, "rejected": 3, "stale": 1, "unknown": 0,
        "rejected_by_reason": {"stale": 1, "invalid": 1, "low": 1},
    }  # fmt: skip
    assert other["shares"]["accepted"] == 0
    difficulty = float(miner.jobs[-1].difficulty)
    assert shown["difficulty"] == pytest.approx(difficulty)
    assert shown["best_share"] >= difficulty
    assert began - 1 <= shown["connected_since"] <= shown["last_share"] <= time.time() + 1
    rate = shown["hash_rate"]["1m"]
    assert rate["shares"] == 3
    assert rate["hashes_per_s"] * rate["seconds"] == pytest.approx(3 * difficulty * 2**48 / 65_535)
    assert rate["low"] < rate["hashes_per_s"] < rate["high"]
    assert other["hash_rate"]["24h"]["hashes_per_s"] == 0
    summary = answers["/api/v1/summary"]
    assert (summary["miners"], summary["shares"]) == (2, shown["shares"])
    assert summary["best_share"] == shown["best_share"] == house.count("translator_best_share")
    assert house.count("translator_hashrate") > 0
    upstream = answers["/api/v1/upstream"]
    assert (upstream["channels"], upstream["failovers"], upstream["knows_ehash"]) == (2, 0, True)
    assert upstream["verdicts"]["count"] == 5


async def test_a_difficulty_that_was_rounded_up_counts_with_the_hashes_that_it_takes(build: Build) -> None:
    house = await build()
    miner = await house.miner(agent="bitaxe/BM1366/v2.4.0")
    assert miner.difficulty == 1
    # A share for a millionth of it, as the target allows, would not be sent by this firmware.
    [served] = house.translator
    assert served.session.hashes == pytest.approx(2**48 / 65_535)


async def test_figures_survive_a_reconnect_of_the_same_worker(build: Build, eventually: Eventually) -> None:
    house = await build()
    reader = Reader(house)
    first = await house.miner()
    await first.mine()
    before = (await reader.read("miners"))["miners"][0]
    await first.close()
    await eventually(lambda: not len(house.translator))
    assert (await reader.read("summary"))["remembered"] == 1
    second = await house.miner()
    await second.mine()
    after = await reader.read(f"miners/{before['id']}")
    assert after["shares"]["accepted"] == 2
    assert after["known_since"] == pytest.approx(before["known_since"], abs=0.01)
    assert after["hash_rate"]["1h"]["shares"] == 2


async def test_many_miners_are_read_page_by_page(build: Build) -> None:
    house = await build()
    for number in range(7):
        await house.miner(FakeMiner, user=f"rig.{number}")
    reader = Reader(house)
    seen, after = [], ""
    while True:
        page = await reader.read(f"miners?limit=3{after}")
        seen += page["miners"]
        assert page["total"] == 7
        assert len(page["miners"]) <= 3
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert [miner["worker"] for miner in seen] == [f"rig.{number}" for number in range(7)]
    for wrong in ("after=x", "after=1.2.3.4.5", "limit=501", "after=²"):
        assert (await reader.ask(f"/api/v1/miners?{wrong}"))[0] == 400


async def test_a_lost_upstream_shows_in_its_state(build: Build, eventually: Eventually) -> None:
    house = await build()
    reader = Reader(house)
    house.proxy.restart()
    await eventually(lambda: house.client.upstreams[0].turns == 2)
    told = await reader.read("upstream")
    assert told["upstreams"][0]["turns"] == 2
    assert told["failovers"] == 0


async def test_addresses_are_shown_as_the_setting_says(build: Build) -> None:
    house = await build()
    await house.miner()
    cases: list[tuple[Shown, str | None]] = [("subnet", "127.0.0.0/24"), ("hidden", None)]
    for how, told in cases:
        reader = Reader(house, partial(shown, how=how))
        address = (await reader.read("miners"))["miners"][0]["address"]
        assert address == told
