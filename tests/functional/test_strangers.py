"""A stranger mines through somebody else's proxy with a key of its own, and alone gets the tokens."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from roles.cli.auditing.sides import audit
from tests.functional.development import Development
from tests.functional.processes import Daemon, Site
from tests.functional.system import run_cli
from tests.roles.translator.fake_miners import FakeMiner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")
pytestmark = [pytest.mark.functional, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

SHARES = 5


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("strangers")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def development(site: Site) -> AsyncIterator[Development]:
    made = Development(site)
    for role in ("regtest_node", "template_provider", "mint", "translator"):
        made.daemon(role)
    made.daemon("proxy", wallet__recovery_s="1")
    made.daemon(
        "pool",
        vardiff__floor_hashes="256",
        vardiff__shares_per_minute="600",
        shared__regtest__block_difficulty=str(1 << 40),
    )
    await made.start()
    yield made


def told(*arguments: str, state: Path) -> dict[str, object]:
    """What a command of the wallet prints."""
    done = run_cli("wallet", *arguments, "--json", "--state", str(state))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert isinstance(answer, dict)
    return answer


def port_of(daemon: Daemon, setting: str = "listen_address") -> int:
    return int(daemon.settings[setting].rpartition(":")[2])


@pytest.mark.parametrize("by", ["user name", "password"])
async def test_a_stranger_with_a_key_alone_gets_what_it_has_mined(
    development: Development, tmp_path: Path, by: str
) -> None:
    daemons, state = development.daemons, development.site.state
    key = str(told("key", "rig", state=tmp_path)["key"])
    miner = FakeMiner()
    name = by.replace(" ", "-")
    if by == "user name":
        miner.user = f"{key}.{name}"
    else:
        miner.user, miner.password = name, f"x,k={key}"
    await (await miner.connect(port_of(daemons["translator"]))).start()
    for _ in range(SHARES):
        answer = await miner.mine()
        assert answer["result"] is True, answer
    mint = f"http://127.0.0.1:{port_of(daemons['mint'], 'http_address')}"

    earned = 0
    async for _ in daemons["proxy"].polls("to have heard of the stranger's quotes"):
        listed = told("list", state=state)
        strangers = [each for each in listed["strangers"] if each["name"] == name]  # type: ignore[attr-defined]
        if strangers and strangers[0]["shares"] == SHARES:
            assert strangers[0]["key"] == key
            earned = strangers[0]["ehash"]
            break
    assert earned > 0
    assert listed["balance"] == 0, "the proxy's wallet holds what is not its own"
    assert listed["waiting"] == {"quotes": 0, "ehash": 0}

    claimed = await asyncio.to_thread(told, "claim", "--mint", mint, state=tmp_path)
    assert (claimed["found"], claimed["minted"], claimed["balance"]) == (SHARES, earned, earned)
    again = await asyncio.to_thread(told, "claim", "--mint", mint, state=tmp_path)
    assert (again["found"], again["minted"], again["balance"]) == (0, 0, earned)
    await miner.close()
    findings = await asyncio.to_thread(audit, state, required=True)
    assert findings.ok, findings.problems
