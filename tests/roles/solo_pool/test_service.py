"""The solo pool as a daemon: what it takes over while it runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roles.runtime.daemon import Daemon
from roles.solo_pool.service import LISTENER, SoloDaemon, service
from shared_config.loader import load
from shared_config.pool_side import PoolSide
from shared_config.solo_pool import SoloPoolSettings
from tests.reload_page import told_of

CONFIG = Path(__file__).parents[3] / "config"


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[SoloDaemon]:
    """One that listens, and whose node is away."""
    overrides = ("listen_address=127.0.0.1:0", "shared.bitcoin.rpc_url=http://127.0.0.1:1")
    loaded = load(
        SoloPoolSettings,
        CONFIG / "solo_pool.toml",
        PoolSide,
        CONFIG / "shared" / "pool.toml",
        overrides=overrides,
    )
    made = Daemon("solo_pool", loaded.config, loaded.shared, tmp_path / "solo_pool")
    serving = asyncio.create_task(service(made))
    async with asyncio.timeout(30):
        while not made.readiness.reasons or LISTENER in made.readiness.reasons:
            assert not serving.done(), serving
            await asyncio.sleep(0.005)
    yield made
    made.stopping.set()
    async with asyncio.timeout(30):
        await serving


async def test_the_settings_that_a_reload_takes_over_are_those_of_the_page(daemon: SoloDaemon) -> None:
    assert daemon.reloads.keys == told_of("solo_pool")


async def test_how_long_a_node_may_be_away_changes_while_it_runs(daemon: SoloDaemon) -> None:
    daemon.take(daemon.config.model_copy(update={"node_away_s": None}), daemon.shared)
    assert daemon.config.node_away_s is None
