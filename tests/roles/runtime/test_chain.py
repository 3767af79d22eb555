"""The stores that hold what is worth money are of one chain."""

from pathlib import Path
from typing import Any

import pytest
import tomli
from prometheus_client import CollectorRegistry

from protocols.bitcoin.networks import Network
from roles.credit.issuance import open_issuance
from roles.mint.store import open_store
from roles.pool.schema import MIGRATIONS as POOL
from roles.runtime.errors import ChainMismatch
from roles.runtime.storage import Migration
from roles.sv1_proxy.schema import MIGRATIONS as SV1_PROXY
from shared_config.mint_store import StoreSettings
from shared_config.pool_side import PoolSide

CONFIG = Path(__file__).parents[3] / "config"


def shared(network: Network) -> PoolSide:
    raw: dict[str, Any] = tomli.loads((CONFIG / "shared" / "pool.toml").read_text())
    return PoolSide.model_validate(raw).model_copy(update={"network": network})


@pytest.mark.parametrize("migrations", [POOL, SV1_PROXY], ids=["pool", "sv1_proxy"])
async def test_a_ledger_takes_no_shares_of_another_chain(
    tmp_path: Path, migrations: tuple[Migration, ...]
) -> None:
    async with open_issuance(tmp_path, shared(Network.MAIN), migrations, CollectorRegistry()):
        pass
    with pytest.raises(ChainMismatch):
        async with open_issuance(tmp_path, shared(Network.REGTEST), migrations, CollectorRegistry()):
            pass
    async with open_issuance(tmp_path, shared(Network.MAIN), migrations, CollectorRegistry()):
        pass


async def test_a_mint_does_not_open_the_tokens_of_another_chain(tmp_path: Path) -> None:
    async def begin(network: Network) -> None:
        database, _ = await open_store(
            StoreSettings(), network, tmp_path, lambda path: path, CollectorRegistry()
        )
        database.close()

    await begin(Network.MAIN)
    with pytest.raises(ChainMismatch):
        await begin(Network.SIGNET)
    await begin(Network.MAIN)
