"""The complete SV1 system: a pool that knows no ehash, both instances of sv1_proxy, tokens in the wallet."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import pytest

from roles.cli.auditing.sides import audit
from roles.cli.stores import WalletStore
from roles.runtime.crash import POINTS, VARIABLE
from roles.runtime.storage import open_readonly
from tests.functional.development import Development
from tests.functional.processes import Daemon, Site
from tests.functional.system import System

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.timeout(300)]

BOUND_S: Final = 60.0
POLL_S: Final = 0.05
# Shares of some 8,192 hashes, and blocks of the upstream among them.
BLOCK: Final = {"shared__regtest__block_difficulty": "65536"}
SETTINGS: Final[dict[str, dict[str, str]]] = {
    "regtest_node": {},
    "mint": {},
    "solo_pool": BLOCK | {"start_difficulty": "0.0000019", "shares_per_minute": "300"},
    "sv1_proxy_pool": BLOCK
    | {
        "vardiff__shares_per_minute": "240",
        "vardiff__floor_hashes": "8192",
        "start_difficulty": "0.0000019",
    },
    "sv1_proxy_miner": {
        "start_difficulty": "0.0000019",
        "wallet__batch_delay_ms": "50",
        "wallet__recovery_s": "2",
        "news_s": "0.5",
    },
    "cpu_miner": {"hashes_per_s": "100000"},
}


def test_up_with_the_sv1_profile_brings_tokens_blocks_and_books_that_agree(tmp_path: Path) -> None:
    with System(tmp_path / "state", "--profile", "sv1", "--json") as system:
        system.wait_ready()
        for _ in system.polls("tokens"):
            if system.balance():
                break
        system.process.send_signal(signal.SIGTERM)
        result = system.result()
    assert result["audit"]["ok"], result["audit"]
    assert result["shares"]["accepted"] > 0
    assert result["quotes"] == {"issued": result["shares"]["accepted"], "pending": 0}
    assert result["tokens"]["minted"] == result["tokens"]["balance"] > 0
    assert result["blocks"]["in_chain"] == result["blocks"]["found"]


class Farm:
    """The system, mining; single daemons of it are killed and started again."""

    def __init__(self, site: Site) -> None:
        self.site = site
        development = Development(site, sv1=True)
        for role, settings in SETTINGS.items():
            development.daemon(role, **settings)
        serving = site.address("sv1_proxy_miner", "listen_address")
        development.daemons["cpu_miner"].settings["address"] = serving
        self.daemons: dict[str, Daemon] = development.daemons
        asyncio.run(development.start())

    def await_(self, what: str, condition: Callable[[], Any]) -> None:
        deadline = time.monotonic() + BOUND_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain: {what}"
            time.sleep(POLL_S)

    def balance(self) -> int:
        """What the wallet holds, in ehash."""
        path = self.site.state / "sv1_proxy-miner" / WalletStore.FILE
        if not path.exists():
            return 0
        with open_readonly(path) as store:
            return WalletStore(store).balance()[0]

    def grows(self) -> None:
        """Wait for new tokens, and look into all books."""
        before = self.balance()
        self.await_("new tokens", lambda: self.balance() > before)
        findings = audit(self.site.state, required=True)
        assert findings.ok, (findings.detail(), findings.examples)


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with Site(tmp_path_factory.mktemp("farm")) as site:
        made = Farm(site)
        made.await_("the first tokens", made.balance)
        yield made


@pytest.mark.parametrize("name", [name for name in POINTS if name.startswith("sv1_proxy.")])
def test_an_instance_that_is_killed_there_loses_and_doubles_nothing(farm: Farm, name: str) -> None:
    daemon = farm.daemons["sv1_proxy_pool"]
    daemon.kill()
    seen = len(daemon.log)
    daemon.start(**{VARIABLE: name})
    farm.await_(f"{name} to kill", lambda: not daemon.is_running)
    assert daemon.process is not None
    assert daemon.process.returncode == -signal.SIGKILL
    assert f"crash point {name}\n" in daemon.log[seen:]
    daemon.start()
    farm.grows()


def test_every_header_of_the_ledger_that_went_to_the_pool_follows_from_a_logged_job(farm: Farm) -> None:
    farm.await_("a share that the pool has judged", lambda: _forwarded(farm.site.state))
    for job, share in _forwarded(farm.site.state):
        coinbase = job["coinbase1"] + job["extranonce1"] + share["extranonce2"] + job["coinbase2"]
        root = _twice(coinbase)
        for place in range(0, len(job["branches"]), 32):
            root = _twice(root + job["branches"][place : place + 32])
        assert share["header"][4:36] == job["previous"]
        assert share["header"][36:68] == root
        assert _twice(share["header"]) == share["hash"]
        assert len(share["extranonce2"]) == job["extranonce2_size"]


def _forwarded(state: Path) -> list[tuple[Any, Any]]:
    with open_readonly(state / "sv1_proxy-pool" / "ledger.sqlite") as store:
        jobs = {row["content"]: row for row in store.execute("SELECT * FROM upstream_job")}
        return [(jobs[row["content"]], row) for row in store.execute("SELECT * FROM upstream_share")]


def _twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()
