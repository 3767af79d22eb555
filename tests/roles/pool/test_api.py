"""What the pool tells of its channels, whom it turns away, and what it takes over while it runs."""

import asyncio
import json
from functools import partial
from typing import Any

import pytest

from protocols.bitcoin.target import work
from protocols.sv2.mining import (
    OpenExtendedMiningChannel,
    OpenMiningChannelError,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from roles.credit.issuer_key import LEDGER_NAME
from roles.pool.api import Overview
from roles.pool.figures import Figures
from roles.pool.inquiry import Clerk, Inquiries
from roles.pool.intercom import Garbled, Word, pack_json
from roles.runtime.errors import ConnectFailed
from roles.runtime.readiness import Readiness
from roles.runtime.storage import open_readonly
from roles.stratum.miner_pages import Key, Pages, page
from roles.stratum.overview import Miner, MinerPage, hash_rates, shares
from roles.stratum.tally import Tally
from tests.openapi import check_all
from tests.reload_page import told_of
from tests.roles.pool.house import Channel, House
from tests.roles.pool.neighbours import ANY_TARGET, soon


async def read(house: House, path: str) -> tuple[int, str]:
    assert house.daemon
    path, _, query = path.partition("?")
    answer = await house.daemon.api.answer(path, query)
    assert answer is not None
    return answer[0].value, answer[1].decode()


async def mine(channel: Channel, count: int) -> None:
    for _ in range(count):
        channel.submit(channel.mine())
        await channel.miner.hear(SubmitSharesSuccess)


async def test_a_channels_figures_are_those_of_the_ledger(house: House) -> None:
    house.settings["peer_addresses"] = "subnet"
    await house.start()
    alice = await (await house.miner(extensions=True)).open(user="alice\x1b.rig", key=KEY)
    await (await house.miner()).open(user="bob")
    await mine(alice, 5)
    alice.submit(alice.mine(low=alice.target + 1, target=(1 << 256) - 1))
    await alice.miner.hear(SubmitSharesError)
    answers = await check_all(partial(read, house))
    shown, other = answers["/api/v1/miners"]["miners"]
    assert (shown["worker"], shown["address"], shown["user_agent"]) == ("alice\x1b.rig", "127.0.0.0/24", None)
    with open_readonly(house.state / LEDGER_NAME) as ledger:
        [(rows, units)] = ledger.execute("SELECT count(*), sum(amount) FROM audit_share").fetchall()
    assert shown["shares"]["accepted"] == rows == 5
    assert shown["shares"]["rejected_by_reason"] == {"difficulty-too-low": 1}
    rate = shown["hash_rate"]["1h"]
    assert (rate["shares"], other["hash_rate"]["1h"]["shares"]) == (rows, 0)
    assert rate["hashes_per_s"] * rate["seconds"] == pytest.approx(5 * work(alice.target), rel=1e-3)
    summary = answers["/api/v1/summary"]
    assert (summary["processes"], summary["channels"], units > 0) == (1, 2, True)
    assert summary["shares"]["accepted"] == rows
    assert summary["shares"]["rejected_by_reason"] == {"difficulty-too-low": 1}
    assert summary["hash_rate"]["5m"]["shares"] == rows


KEY = bytes.fromhex("0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")


async def test_figures_survive_a_reconnect_of_the_same_worker(house: House) -> None:
    await house.start()
    first = await house.miner()
    await mine(await first.open(user="alice"), 2)
    [before] = json.loads((await read(house, "/api/v1/miners"))[1])["miners"]
    first.link.close()
    await soon(lambda: house.metric("hashpool_pool_figures_remembered") == 1)
    await mine(await (await house.miner()).open(user="alice"), 1)
    [after] = json.loads((await read(house, "/api/v1/miners"))[1])["miners"]
    assert after["shares"]["accepted"] == 3
    assert after["id"] != before["id"]
    assert (await read(house, f"/api/v1/miners/{before['id']}"))[0] == 404


async def test_a_miner_keeps_its_id_over_a_channel_that_is_resumed(house: House) -> None:
    await house.start()
    lost = await house.miner(extensions=True)
    await lost.open(user="alice", key=KEY)
    [before] = json.loads((await read(house, "/api/v1/miners"))[1])["miners"]
    again = await house.miner(extensions=True)
    await again.open(user="alice", key=KEY, token=lost.token)
    lost.link.close()
    await soon(lambda: house.metric("hashpool_pool_connections") == 1)
    [after] = json.loads((await read(house, "/api/v1/miners"))[1])["miners"]
    assert after["id"] == before["id"]


async def test_who_is_banned_opens_no_channel(house: House) -> None:
    house.settings["ban"] = {"names": ["mallory"]}
    await house.start()
    miner = await house.miner()
    miner.say(OpenExtendedMiningChannel(9, "mallory.1", 0.0, ANY_TARGET, 8))
    assert (await miner.hear(OpenMiningChannelError)).error_code == "banned-by-operator"
    await mine(await miner.open(user="alice"), 1)
    assert house.metric("hashpool_pool_opens_refused_total", code="banned-by-operator") == 1


async def test_limits_and_the_wanted_pace_are_taken_over_while_it_runs(house: House) -> None:
    await house.start()
    daemon = house.daemon
    assert daemon
    limits = daemon.config.limits.model_copy(update={"channels_per_connection": 1})
    vardiff = daemon.config.vardiff.model_copy(update={"shares_per_minute": 600.0})
    changes = {"limits": limits, "vardiff": vardiff, "coinbase_tag": "other"}
    daemon.take(daemon.config.model_copy(update=changes), daemon.shared)
    assert daemon.config.limits.channels_per_connection == 1
    assert daemon.config.vardiff.shares_per_minute == 600
    assert daemon.config.coinbase_tag != "other"
    miner = await house.miner()
    await miner.open(user="alice")
    miner.say(OpenExtendedMiningChannel(9, "alice", 0.0, ANY_TARGET, 8))
    assert (await miner.hear(OpenMiningChannelError)).error_code == "channel-capacity-exhausted"


# A pool of several processes


class Crowd:
    """Miners of one process."""

    def __init__(self, process: int, count: int) -> None:
        self._keys = [(process, number) for number in range(1, count + 1)]

    def present(self) -> dict[Key, int]:
        return {key: key[1] for key in self._keys}

    def describe(self, key: Key, miner: int) -> Miner:
        tally = Tally(miner)
        return Miner(
            id=".".join(map(str, key)),
            worker=f"w{key}",
            user_agent=None,
            address=None,
            connected_since=1.0,
            known_since=1.0,
            difficulty=1.0,
            hash_rate=hash_rates(tally.rate, 5.0),
            shares=shares(tally),
            best_share=None,
            last_share=None,
            ehash=None,
            worker_ehash=None,
        )


def overview(own: int, *others: int) -> Overview:
    tallies: Any = None
    hall: Any = Crowd(0, own)
    pages: dict[int, Pages] = {
        number: partial(page, Crowd(number, count)) for number, count in enumerate(others, 1)
    }
    return Overview(hall, Figures(0, lambda: 1.0), tallies, Readiness(), lambda: pages)


@pytest.mark.parametrize("sizes", [(0,), (3,), (3, 4, 2), (0, 5), (4, 0, 4), (0, 0, 0), (1, 1, 1, 1)])
@pytest.mark.parametrize("limit", [1, 2, 4, 100])
async def test_pages_go_through_all_miners_of_all_processes_once(sizes: tuple[int, ...], limit: int) -> None:
    pool, seen = overview(*sizes), []
    after: Key = ()
    for _ in range(100):
        told = await pool.pages(after, limit)
        assert told.total == sum(sizes)
        assert len(told.miners) <= limit
        seen += [miner.id for miner in told.miners]
        if told.next is None:
            break
        assert told.miners
        after = tuple(map(int, told.next.split(".")))
    wanted = [f"{process}.{each}" for process, size in enumerate(sizes) for each in range(1, size + 1)]
    assert seen == wanted


async def test_a_branch_answers_for_its_miners_or_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[tuple[Word, bytes]] = []

    class Line:
        def say(self, word: Word, payload: bytes = b"") -> None:
            said.append((word, payload))
            if word is Word.MINERS_WANTED and is_there:
                clerk.ask(payload)
            elif word is Word.MINERS:
                inquiries.answered(payload)

    line: Any = Line()
    is_there = True
    inquiries, clerk = Inquiries(line), Clerk(line.say, partial(page, Crowd(7, 3)))
    told = await inquiries.page((7, 1), 5)
    assert [miner.id for miner in told.miners] == ["7.2", "7.3"]
    assert told.total == 3
    is_there = False
    monkeypatch.setattr("roles.pool.inquiry.ANSWER_S", 0.01)
    with pytest.raises(TimeoutError):
        await inquiries.page((7, 1), 5)
    inquiries.answered(pack_json([2, None]))
    inquiries.close()
    garbled = Inquiries(line)
    task = asyncio.ensure_future(garbled.page((), 1))
    await asyncio.sleep(0)
    with pytest.raises(Garbled):
        garbled.answered(pack_json([1, {"miners": 3}]))
    garbled.close()
    assert await task == MinerPage(miners=[], next=None, total=0)


@pytest.mark.parametrize("bound", ["host", "subnet"])
async def test_a_host_and_a_subnet_have_bounded_numbers_of_connections(house: House, bound: str) -> None:
    house.settings["limits"] = {f"connections_per_{bound}": 1}
    await house.start()
    first = await house.miner()
    with pytest.raises(ConnectFailed):
        await house.dial()
    ended = partial(house.metric, "hashpool_pool_connections_ended_total", reason=f"too-many-of-{bound}")
    await soon(lambda: ended() == 1)
    await mine(await first.open(user="alice"), 1)


async def test_the_page_names_just_the_settings_that_are_taken_over(house: House) -> None:
    await house.start()
    assert house.daemon
    assert house.daemon.reloads.keys == told_of("pool")
