"""Full disks, read-only disks and disks that do not sync, under each daemon of a system that is mined at: no
wrong verdict, no lost share, blocks still submitted, and all is well again without a restart.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import pytest

from roles.cli.auditing.sides import audit
from roles.cli.run_report import settled
from roles.cli.stores import PoolStore, open_store
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from roles.runtime import sysexits
from tests.chaos.witness import Witness
from tests.functional.development import REWARD, Development
from tests.functional.preloaded import FailingDisk, Fault, ShiftedClock, build
from tests.functional.processes import Daemon, Site

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
GONE_S: Final = 600.0 if os.environ.get("HASHPOOL_TEST_LONG") else 10.0
pytestmark = [pytest.mark.functional, pytest.mark.timeout(GONE_S + 300)]

STORES: Final = ("pool", "mint", "proxy")
SHARE_HASHES: Final = 1 << 12
BLOCK_HASHES: Final = 1 << 16
HASHES_PER_S: Final = 60_000
PATIENCE_S: Final = 60.0
COMMITS_FAILED: Final = 'hashpool_storage_failures_total{reason="commit"}'
HOUR_S: Final = 3_600
DAY_S: Final = 86_400
DEPTH: Final = 6
REFUSED: Final = {"share-not-stored", "Stale", "Job not found"}


@dataclass
class Mined:
    """A system with a miner at its translator."""

    development: Development
    witness: Witness

    async def sample(self, role: str, name: str) -> float:
        """A sample of a daemon's metrics, 0 where there is none."""
        _, text = await self.daemon(role).health("/metrics")
        lines = (line for line in text.splitlines() if line.startswith(f"{name} "))
        return float(next(lines, "0").rpartition(" ")[2])

    def daemon(self, role: str) -> Daemon:
        return self.development.daemons[role]

    async def grows(self, role: str, name: str, by: float = 1) -> None:
        """Wait until a sample has grown."""
        await self.until_sample(role, name, await self.sample(role, name) + by)

    async def until_sample(self, role: str, name: str, least: float) -> None:
        """Wait until a sample has become so much."""
        async for _ in self.daemon(role).polls(f"to count {name}", PATIENCE_S):
            if await self.sample(role, name) >= least:
                return

    async def replace(
        self, role: str, between: Callable[[], None] = lambda: None, environment: dict[str, str] | None = None
    ) -> None:
        """Kill a daemon and start it again."""
        daemon = self.daemon(role)
        daemon.kill()
        between()
        daemon.start(**(environment or {}))
        await daemon.ready()

    async def until(self, what: str, done: Callable[[], bool]) -> None:
        """Wait for something that is not a daemon's own word."""
        async for _ in self.daemon("pool").polls(f"to {what}", PATIENCE_S):
            if done():
                return

    async def acknowledges(self, shares: int) -> None:
        """Wait for so many further acknowledged shares."""
        wanted = len(self.witness.acknowledged) + shares
        await self.until("acknowledge shares", lambda: len(self.witness.acknowledged) >= wanted)

    async def works(self) -> None:
        """Wait until shares are acknowledged, tokens are minted, blocks found, and everything is ready."""
        await self.acknowledges(5)
        await self.grows("proxy", "hashpool_wallet_quotes_minted_total", 5)
        await self.grows("regtest_node", "hashpool_node_height")
        await asyncio.gather(*(daemon.ready() for daemon in self.development.daemons.values()))


@asynccontextmanager
async def mined(
    site: Site, environment: Callable[[Daemon], dict[str, str]] = lambda _: {}
) -> AsyncIterator[Mined]:
    """The whole system, each daemon with variables of its own; in the end settled, stopped and audited."""
    development = Development(site)
    rules = {"shared__regtest__block_difficulty": str(BLOCK_HASHES)}
    development.daemon("regtest_node")
    development.daemon("template_provider", **rules)
    development.daemon("mint", **rules)
    development.daemon(
        "pool", vardiff__floor_hashes=str(SHARE_HASHES), vardiff__shares_per_minute="6000", **rules
    )
    development.daemon("proxy", wallet__recovery_s="2")
    # What the witness hears of is what the pool credits.
    easy = f"{SHARE_HASHES / 2**32:.12f}"
    translator = development.daemon("translator", start_difficulty=easy, shown_shares_per_minute="0")
    for daemon in development.daemons.values():
        daemon.start(**environment(daemon))
    await development.start()
    port = int(translator.settings["listen_address"].rpartition(":")[2])
    state = site.state
    with Witness(port, hashes_per_s=HASHES_PER_S) as witness:
        system = Mined(development, witness)
        await system.works()
        yield system
        await system.works()
    print(f"{len(witness.acknowledged)} shares acknowledged, refused {witness.refused}")
    await system.until("have everything minted", lambda: settled(state))
    for daemon in [*development.daemons.values()][::-1]:
        assert await daemon.stop() == 0
    findings = audit(state)
    assert findings.ok, findings.detail()
    shares = ledger(state)
    assert len(shares) == len(set(shares))
    assert witness.acknowledged <= set(shares)


async def test_a_reorganisation_of_six_blocks_and_more_while_mining_costs_no_share(
    site: Site, tmp_path: Path
) -> None:
    async with mined(site) as system:
        await system.until_sample("regtest_node", "hashpool_node_height", DEPTH)
        with Site(tmp_path / "elsewhere") as elsewhere:
            other = await elsewhere.daemon("regtest_node").started()
            async with client_of(system.daemon("regtest_node")) as ours, client_of(other) as theirs:
                # Longer than ours is even when all of it has been handed over.
                longer = int(await ours.call("getblockcount")) + 2 * DEPTH
                await theirs.call("generatetoaddress", longer, REWARD)
                for height in range(1, longer + 1):
                    name = await theirs.call("getblockhash", height)
                    await ours.call("submitblock", await theirs.call("getblock", name, 0))
                assert await ours.call("getblockhash", longer) == await theirs.call("getbestblockhash")
            await system.works()
            assert set(system.witness.refused) <= {"Stale", "Job not found"}, system.witness.refused
    told = statuses(site.state)
    print(f"blocks {told}")
    assert set(told) <= {"in_chain", "orphaned"}, told
    assert told["orphaned"] >= DEPTH


def statuses(state: Path) -> Counter[str]:
    """How many blocks the pool has found, by what became of them."""
    connection = open_store(state, "pool", PoolStore.FILE)
    assert connection is not None
    with connection:
        return Counter(row[0] for row in connection.execute("SELECT status FROM audit_block"))


def client_of(node: Daemon) -> NodeClient:
    """RPC of a node."""
    return NodeClient(f"http://{node.settings['rpc_address']}", CookieFile(node.state / ".cookie"))


def newest_ms(state: Path) -> int:
    """The time of the ledger's last row."""
    connection = open_store(state, "pool", PoolStore.FILE)
    assert connection is not None
    with connection:
        return max(row.time for row in PoolStore(connection).rows())


def ledger(state: Path) -> list[bytes]:
    """The hashes of all shares in the pool's ledger."""
    connection = open_store(state, "pool", PoolStore.FILE)
    assert connection is not None
    with connection:
        return [row.share_hash for row in PoolStore(connection).rows()]


@pytest.mark.parametrize("fault", get_args(Fault))
async def test_a_disk_that_fails_under_one_daemon_after_the_other_loses_nothing(
    site: Site, tmp_path: Path, fault: Fault
) -> None:
    library = build("failing_disk", tmp_path)
    async with mined(site, lambda daemon: FailingDisk(library, daemon).environment) as system:
        for role in STORES:
            daemon = system.daemon(role)
            process, disk = daemon.process, FailingDisk(library, daemon)
            disk.fail(fault)
            await system.grows(role, COMMITS_FAILED, 2)
            async for _ in daemon.polls("to say that its store fails"):
                if "store" in await daemon.reasons():
                    break
            # Blocks go to the node whatever becomes of the ledger.
            await system.grows("regtest_node", "hashpool_node_height", 2)
            if role != "pool":
                await system.acknowledges(10)
            disk.mend()
            await system.works()
            assert daemon.log.count("the store fails") == daemon.log.count("the store works again") > 0
            assert daemon.process is process
            assert daemon.is_running
    assert set(system.witness.refused) <= REFUSED, system.witness.refused


async def test_a_daemon_killed_while_its_disk_does_not_sync_comes_back_with_all_that_was_acknowledged(
    site: Site, tmp_path: Path
) -> None:
    library = build("failing_disk", tmp_path)
    async with mined(site, lambda daemon: FailingDisk(library, daemon).environment) as system:
        for role in STORES:
            disk = FailingDisk(library, system.daemon(role))
            disk.fail("fsync")
            await system.grows(role, COMMITS_FAILED, 2)
            await system.replace(role, disk.mend, disk.environment)
            await system.works()


async def test_a_node_that_cannot_write_a_block_says_so_and_goes_on_where_it_was_when_it_is_started_again(
    site: Site, tmp_path: Path
) -> None:
    library = build("failing_disk", tmp_path)
    async with mined(site, lambda daemon: FailingDisk(library, daemon).environment) as system:
        node = system.daemon("regtest_node")
        disk = FailingDisk(library, node)
        faults: tuple[Fault, ...] = ("full", "readonly")
        for count, fault in enumerate(faults, 1):
            disk.fail(fault)
            assert await node.ended() == sysexits.IO
            assert node.log.count("a block cannot be written") >= count
            await system.acknowledges(10)
            await system.replace("regtest_node", disk.mend, disk.environment)
            await system.works()


async def test_a_clock_that_jumps_an_hour_back_and_a_day_forward_stops_nothing(
    site: Site, tmp_path: Path
) -> None:
    clock = ShiftedClock(build("shifted_clock", tmp_path), tmp_path)
    began = time.time()
    async with mined(site, lambda _: clock.environment) as system:
        for shift in (-HOUR_S, DAY_S):
            clock.set(shift)
            await system.works()
            assert set(system.witness.refused) <= {"Stale", "Job not found"}, system.witness.refused
            # Certificates are judged when connections are made.
            for role in ("translator", "proxy", "template_provider"):
                await system.replace(role, environment=clock.environment)
            await system.works()
            system.witness.refused.clear()
    assert newest_ms(site.state) >= 1_000 * (began + DAY_S)


async def test_while_the_node_is_gone_shares_count_and_blocks_wait_for_it(site: Site) -> None:
    print(f"the node is gone for {GONE_S:g} s")
    async with mined(site) as system:
        node = system.daemon("regtest_node")
        height = await system.sample("regtest_node", "hashpool_node_height")
        node.kill()
        found = await system.sample("pool", "hashpool_pool_blocks_found_total")
        gone_until = time.monotonic() + GONE_S
        # Until then a share may have been on its way when the last block came, and be stale indeed.
        await system.acknowledges(10)
        refused = dict(system.witness.refused)
        while time.monotonic() < gone_until:
            await system.acknowledges(10)
        assert system.witness.refused == refused
        await system.until_sample("pool", "hashpool_pool_blocks_found_total", found + 2)
        await node.started()
        await system.until_sample("regtest_node", "hashpool_node_height", height + 1)
    told = statuses(site.state)
    assert set(told) <= {"in_chain", "orphaned"}, told
    print(f"blocks {told}")
