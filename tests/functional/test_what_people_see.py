"""What daemons tell people is what stands in the ledger; and what they take over while they run."""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from protocols.bitcoin.target import work
from protocols.sv2.mining import CloseChannel, OpenExtendedMiningChannel, OpenMiningChannelError
from roles.cli.stores import PoolStore
from roles.runtime.storage import open_readonly
from tests.functional.development import Development
from tests.functional.processes import ROOT, Daemon, Site
from tests.functional.sv2_peer import Server, goes_on
from tests.openapi import check_all
from tests.roles.pool.house import Channel
from tests.roles.pool.neighbours import ANY_TARGET
from tests.roles.translator.fake_miners import FakeMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")

SHARES = {"alice.rig": 13, "bob<b>\x1b": 6}

pytestmark = [
    pytest.mark.functional,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]


class System:
    """A pool of two processes with what belongs to it, and a proxy with its translator."""

    def __init__(self, root: Path) -> None:
        self.site = Site(root)
        self.development = Development(self.site)
        for role in ("regtest_node", "template_provider", "mint"):
            self.development.daemon(role)
        easy = {"vardiff__floor_hashes": "256", "vardiff__shares_per_minute": "6000"}
        self.pool = self.development.daemon("pool", processes="2", **easy)
        self.proxy = self.development.daemon("proxy", wallet__recovery_s="1")
        self.translator = self.development.daemon("translator", start_difficulty="0.0000003")
        self.server = Server.of(self.pool, "listen_address", self.development.keys.pool, "pool")
        # The pool reads a file of its own, which tests may change.
        self.config = root / "pool.toml"
        shutil.copy(ROOT / "config" / "pool.toml", self.config)
        self.config.write_text("# ours\n" + self.config.read_text())

    async def start(self) -> None:
        self.pool.start("-c", str(self.config))
        await self.development.start()

    def ledger(self) -> list[tuple[int, int, int]]:
        """Of each key in the ledger: its shares, their amounts, and the work that they took."""
        found: dict[bytes, list[tuple[int, int]]] = {}
        with open_readonly(self.pool.state / PoolStore.FILE) as connection:
            for row in PoolStore(connection).rows():
                found.setdefault(row.key, []).append((row.amount, work(row.target)))
        return sorted(
            (len(rows), sum(a for a, _ in rows), sum(w for _, w in rows)) for rows in found.values()
        )


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    made = System(tmp_path_factory.mktemp("people"))
    with made.site:
        try:
            await made.start()
            yield made
        except BaseException:
            for title, text in made.site.log_tails():
                print(title, text, sep="\n")
            raise


async def answers(daemon: Daemon) -> dict[str, Any]:
    """Everything that a daemon tells, which must be what it describes."""
    return await check_all(daemon.health)


def hashes(figures: dict[str, Any]) -> float:
    """The work that a hash rate over a day stands for."""
    rate = figures["hash_rate"]["24h"]
    return float(rate["hashes_per_s"] * rate["seconds"])


async def test_every_daemon_tells_of_the_miners_what_the_ledger_holds(system: System) -> None:
    miners: list[FakeMiner] = []
    for user, count in SHARES.items():
        miner = FakeMiner()
        miner.user = user
        await miner.connect(int(system.translator.settings["listen_address"].rpartition(":")[2]))
        await miner.start()
        miners.append(miner)
        for _ in range(count):
            assert (await miner.mine())["result"] is True
    rows = system.ledger()
    assert [count for count, _, _ in rows] == sorted(SHARES.values())
    by_worker = dict(zip(sorted(SHARES, key=SHARES.__getitem__), rows, strict=True))

    async for _ in system.proxy.polls("to know of its tokens"):
        _, body = await system.proxy.health("/api/v1/summary")
        if json.loads(body)["ehash"] == sum(amount for _, amount, _ in rows):
            break
    for daemon in (system.translator, system.proxy):
        told = await answers(daemon)
        shown = {miner["worker"]: miner for miner in told["/api/v1/miners"]["miners"]}
        assert shown.keys() == SHARES.keys()
        for worker, (count, amount, taken) in by_worker.items():
            assert shown[worker]["shares"]["accepted"] == count
            assert shown[worker]["shares"]["rejected"] == shown[worker]["shares"]["unknown"] == 0
            assert hashes(shown[worker]) == pytest.approx(taken, rel=1e-6)
            assert shown[worker]["ehash"] == (amount if daemon is system.proxy else None)
            assert shown[worker]["hash_rate"]["1m"]["shares"] == count
        assert told["/api/v1/summary"]["shares"]["accepted"] == sum(SHARES.values())
        assert told["/api/v1/upstream"]["channels"] == len(SHARES)
        assert told["/api/v1/upstream"]["knows_ehash"] is True
        assert told["/api/v1/upstream"]["verdicts"]["count"] == sum(SHARES.values())
    async for _ in system.pool.polls("to hear of its branch"):
        told = await answers(system.pool)
        summary = told["/api/v1/summary"]
        if summary["shares"]["accepted"] == sum(SHARES.values()) and summary["last_share"]:
            break
    channels = {miner["worker"]: miner for miner in told["/api/v1/miners"]["miners"]}
    assert (summary["processes"], summary["channels"]) == (2, len(SHARES))
    assert hashes(summary) == pytest.approx(sum(taken for _, _, taken in rows), rel=1e-6)
    for worker, (count, _, taken) in by_worker.items():
        assert channels[worker]["shares"]["accepted"] == count
        assert hashes(channels[worker]) == pytest.approx(taken, rel=1e-6)
    for miner in miners:
        await miner.close()


async def mallory_is_turned_away(system: System) -> None:
    """By every process: the kernel gives connections to either."""
    for _ in range(6):
        miner = await system.server.miner()
        miner.say(OpenExtendedMiningChannel(1, "mallory.rig", 0.0, ANY_TARGET, 8))
        assert (await miner.hear(OpenMiningChannelError)).error_code == "banned-by-operator"
        await miner.open(user="carol")
        miner.link.close()


async def farm(system: System) -> tuple[Channel, Channel]:
    """Two miners of one connection, the first of them mallory's."""
    miner = await system.server.miner()
    bad, good = await miner.open(user="mallory.rig"), await miner.open(user="carol")
    await goes_on(bad)
    return bad, good


async def mallory_is_let_go(farms: list[tuple[Channel, Channel]]) -> None:
    """And who shares her connections goes on."""
    for bad, good in farms:
        closed = await bad.miner.hear(CloseChannel)
        assert (closed.channel_id, closed.reason_code) == (bad.id, "banned-by-operator")
        await goes_on(good)
        good.miner.link.close()


async def test_sighup_has_every_process_take_over_what_can_be_and_a_wrong_file_nothing(
    system: System,
) -> None:
    pool = system.pool
    assert pool.process is not None
    sound = system.config.read_text()
    banned = system.config.with_name("bans.txt")
    banned.write_text("mallory  # and all of its workers\n")
    changed = sound.replace('coinbase_tag = "hashpool"', 'coinbase_tag = "other"')
    assert changed != sound
    farms = [await farm(system) for _ in range(6)]
    system.config.write_text(f'{changed}\n[log]\nformat = "json"\n\n[ban]\nfile = "{banned}"\n')
    pool.process.send_signal(signal.SIGHUP)
    await pool.logged('"a changed setting needs a restart", "setting": "coinbase_tag"')
    await pool.logged('"daemon": "pool/1", "msg": "the configuration was read again"')
    await mallory_is_let_go(farms)
    await mallory_is_turned_away(system)
    # A branch that is started later has what was taken over, too.
    keeper = pool.process.pid
    [branch] = Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()
    os.kill(int(branch), signal.SIGKILL)
    await pool.logged("a front end has ended")
    await pool.ready()
    await mallory_is_turned_away(system)

    system.config.write_text(f"{sound}\nprocessors = 3\n")
    pool.process.send_signal(signal.SIGHUP)
    await pool.logged("nothing was changed.*processors")
    banned.write_text("192.0.2.1/24\n")
    system.config.write_text(f'{sound}\n[ban]\nfile = "{banned}"\n')
    pool.process.send_signal(signal.SIGHUP)
    await pool.logged("nothing was changed.*is no network")
    miner = await system.server.miner()
    miner.say(OpenExtendedMiningChannel(1, "mallory", 0.0, ANY_TARGET, 8))
    assert (await miner.hear(OpenMiningChannelError)).error_code == "banned-by-operator"

    banned.write_text("")
    pool.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(60):
        while True:
            miner = await system.server.miner()
            miner.say(OpenExtendedMiningChannel(1, "mallory", 0.0, ANY_TARGET, 8))
            answer = await miner.receive()
            miner.link.close()
            if not isinstance(answer, OpenMiningChannelError):
                break
    _, metrics = await pool.health("/metrics")
    assert 'hashpool_reloads_total{result="refused"} 2.0' in metrics
    assert 'hashpool_reloads_total{result="taken"} 2.0' in metrics
