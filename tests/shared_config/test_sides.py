"""The pool side and the miner side share no configuration (they meet on the wire only)."""

import re
from pathlib import Path

import pytest

from shared_config.errors import ConfigInvalid
from shared_config.explain import known_keys
from shared_config.loader import load
from shared_config.miner_side import MinerSide
from shared_config.pool_side import PoolSide
from shared_config.roster import ROLES, models

CONFIG = Path(__file__).parents[2] / "config"
MINER_ROLES = [role for role in ROLES if models(role).own.side == "miner"]
POOL_ROLES = [role for role in ROLES if models(role).own.side == "pool"]
POOL_SERVICES = re.compile(
    r"bitcoin|rpc|template|regtest|issu|ledger|coinbase|reward|server_id|minimum_difficulty|valuation|keyless"
    r"|vardiff|network|database|jd_|declar"
)
MINER_SERVICES = re.compile(r"proxy|translator|wallet|hold|faucet|identities|downstream|miner")


def test_every_daemon_is_on_one_side() -> None:
    assert POOL_ROLES == ["pool", "mint", "template_provider", "regtest_node", "solo_pool", "sv1_proxy_pool"]
    assert MINER_ROLES == ["proxy", "translator", "sv1_proxy_miner", "cpu_miner"]


@pytest.mark.parametrize("role", MINER_ROLES)
def test_services_of_the_pool_side_are_not_expressible_in_miner_side_configuration(role: str) -> None:
    own, shared = models(role)
    assert shared is MinerSide
    keys = [*known_keys(own), *known_keys(shared)]
    assert [key for key in keys if POOL_SERVICES.search(key)] == []


@pytest.mark.parametrize("role", POOL_ROLES)
def test_services_of_the_miner_side_are_not_expressible_in_pool_side_configuration(role: str) -> None:
    own, shared = models(role)
    assert shared is PoolSide
    keys = [*known_keys(own), *known_keys(shared)]
    assert [key for key in keys if MINER_SERVICES.search(key)] == []


def test_all_that_the_miner_side_knows_of_the_pool_side_is_where_it_is_and_its_key() -> None:
    assert [key for key in known_keys(MinerSide) if key.startswith(("pool.", "mint."))] == [
        "pool.address",
        "pool.authority_key",
        "mint.url",
    ]


@pytest.mark.parametrize("role", MINER_ROLES)
@pytest.mark.parametrize("key", list(known_keys(PoolSide)))
def test_a_key_of_the_pool_sides_file_is_refused_in_the_miner_sides(role: str, key: str) -> None:
    if key in known_keys(MinerSide):
        return
    own, shared = models(role)
    with pytest.raises(ConfigInvalid) as caught:
        load(
            own,
            CONFIG / f"{role}.toml",
            shared,
            CONFIG / "shared" / "miner.toml",
            overrides=[f"shared.{key}=1"],
        )
    assert {problem.reason for problem in caught.value.problems} <= {"unknown key", "is obsolete"}


@pytest.mark.parametrize("role", ROLES)
def test_a_daemon_refuses_the_shared_file_of_the_other_side(role: str) -> None:
    own, shared = models(role)
    other = "miner" if own.side == "pool" else "pool"
    with pytest.raises(ConfigInvalid):
        load(own, CONFIG / f"{role}.toml", shared, CONFIG / "shared" / f"{other}.toml")
