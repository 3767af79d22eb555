"""Full disks, read-only disks and disks that do not sync, under each daemon of a system that is mined at: no
wrong verdict, no lost share, blocks still submitted, and all is well again without a restart.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import pytest

from roles.cli.auditing.sides import audit
from roles.cli.run_report import settled
from roles.cli.stores import PoolStore, open_store
from tests.chaos.witness import Witness
from tests.functional.development import Development
from tests.functional.failing_disk import FailingDisk, Fault, build
from tests.functional.processes import Daemon, Site

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.timeout(300)]

STORES: Final = ("pool", "mint", "proxy")
SHARE_HASHES: Final = 1 << 12
BLOCK_HASHES: Final = 1 << 16
HASHES_PER_S: Final = 60_000
PATIENCE_S: Final = 60.0
REFUSED: Final = {"share-not-stored", "Stale", "Job not found"}


@dataclass
class Mined:
    """A system with a miner at its translator, whose stores stand on disks that can be made to fail."""

    development: Development
    disks: dict[str, FailingDisk]
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
        before = await self.sample(role, name)
        async for _ in self.daemon(role).polls(f"to count {name}", PATIENCE_S):
            if await self.sample(role, name) >= before + by:
                return

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
async def mined(site: Site, library: Path | None = None) -> AsyncIterator[Mined]:
    """The whole system; at the end everything is settled, stopped and audited."""
    development = Development(site)
    rules = {"shared__regtest__block_difficulty": str(BLOCK_HASHES)}
    development.daemon("regtest_node")
    development.daemon("template_provider", **rules)
    development.daemon("mint", **rules)
    development.daemon(
        "pool", vardiff__floor_hashes=str(SHARE_HASHES), vardiff__shares_per_minute="6000", **rules
    )
    development.daemon("proxy", wallet__recovery_s="2")
    translator = development.daemon("translator", start_difficulty=f"{SHARE_HASHES / 2**32:.12f}")
    disks = {}
    if library is not None:
        disks = {role: FailingDisk(library, development.daemons[role]) for role in STORES}
    for role, daemon in development.daemons.items():
        daemon.start(**(disks[role].environment if role in disks else {}))
    await development.start()
    port = int(translator.settings["listen_address"].rpartition(":")[2])
    state = site.state
    with Witness(port, hashes_per_s=HASHES_PER_S) as witness:
        system = Mined(development, disks, witness)
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
    async with mined(site, build(tmp_path)) as system:
        for role in STORES:
            process = system.daemon(role).process
            system.disks[role].fail(fault)
            await system.grows(role, 'hashpool_storage_failures_total{reason="commit"}', 2)
            # Blocks go to the node whatever becomes of the ledger.
            await system.grows("regtest_node", "hashpool_node_height", 2)
            if role != "pool":
                await system.acknowledges(10)
            system.disks[role].mend()
            await system.works()
            assert system.daemon(role).process is process
            assert system.daemon(role).is_running
    assert set(system.witness.refused) <= REFUSED, system.witness.refused


@pytest.mark.parametrize("role", STORES)
async def test_a_daemon_killed_while_its_disk_does_not_sync_comes_back_with_all_that_was_acknowledged(
    site: Site, tmp_path: Path, role: str
) -> None:
    async with mined(site, build(tmp_path)) as system:
        system.disks[role].fail("fsync")
        await system.grows(role, 'hashpool_storage_failures_total{reason="commit"}', 2)
        process = system.daemon(role).process
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        await system.daemon(role).ended()
        system.disks[role].mend()
        system.daemon(role).start(**system.disks[role].environment)
        await system.daemon(role).ready()
