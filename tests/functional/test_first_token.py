"""`hashpool up` as a newcomer runs it: from a hash to ehash in a wallet, again, and from the seed alone.

A whole minute of it with HASHPOOL_TEST_LONG=1.
"""

import json
import os
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from roles.cli.stores import PoolStore, open_store
from tests.functional.system import System, daemon, free_offset, run_cli

pytestmark = [pytest.mark.functional, pytest.mark.timeout(400)]

LONG: Final = bool(os.environ.get("HASHPOOL_TEST_LONG"))
SHARES: Final = 30 if LONG else 10


def has_mined(state: Path) -> bool:
    """Whether there are shares enough, and a block."""
    connection = open_store(state, "pool", PoolStore.FILE)
    assert connection is not None
    with connection:
        shares, blocks = (
            int(connection.execute(f"SELECT count(*) FROM {view}").fetchone()[0])
            for view in ("audit_share", "audit_block")
        )
    return shares >= SHARES and blocks >= 1


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("system") / "state"


@pytest.fixture(scope="module")
def first(state: Path) -> dict[str, Any]:
    with System(state, *(["--for", "60"] if LONG else []), "--json") as system:
        if not LONG:
            system.wait_ready()
            for _ in system.polls("shares and a block"):
                if has_mined(state):
                    break
            system.process.send_signal(signal.SIGTERM)
        result = system.result()
    print(json.dumps(result))
    return result


def test_mining_ends_as_tokens_in_the_wallet(first: dict[str, Any]) -> None:
    assert first["shares"]["accepted"] >= SHARES
    assert first["quotes"]["issued"] + first["quotes"]["pending"] >= SHARES
    assert first["tokens"]["minted"] > 0
    assert first["tokens"]["balance"] == first["tokens"]["minted"]
    assert first["tokens"]["unit"].startswith("hash_")


def test_no_share_is_left_behind_when_it_stops(first: dict[str, Any]) -> None:
    assert first["quotes"]["pending"] == 0
    assert first["shares"]["unknown"] == 0


def test_a_block_that_the_pool_found_is_in_the_chain(first: dict[str, Any]) -> None:
    assert first["blocks"]["found"] >= 1
    assert first["blocks"]["in_chain"] >= 1
    assert first["blocks"]["height"] >= first["blocks"]["in_chain"]


def test_the_audit_of_the_run_is_ok(first: dict[str, Any], state: Path) -> None:
    assert first["audit"]["ok"], first["audit"]["detail"]
    done = run_cli("audit", "--json", "--state", str(state))
    assert done.returncode == 0
    assert json.loads(done.stdout)["counts"]["attributed shares"] == first["quotes"]["issued"]


def test_a_second_run_goes_on_and_the_seed_alone_restores_the_same_balance(
    first: dict[str, Any], state: Path, tmp_path: Path
) -> None:
    with System(state, "--json") as system:
        system.wait_ready()
        for _ in system.polls("new tokens"):
            if system.balance() > first["tokens"]["balance"]:
                break
        system.process.send_signal(signal.SIGTERM)
        second = system.result()
    assert second["audit"]["ok"], second["audit"]["detail"]
    assert second["tokens"]["balance"] == first["tokens"]["balance"] + second["tokens"]["minted"]
    assert second["tokens"]["minted"] > 0
    offset = free_offset()
    with daemon("mint", state, offset):
        restored = run_cli(
            "wallet", "restore", "--json", "--state", str(tmp_path / "empty"),
            "--mint", f"http://127.0.0.1:{3338 + offset}",
            "--words", str(state / "proxy" / "seed.words"),
        )  # fmt: skip
        asked = run_cli(
            "audit",
            "--wallet",
            "--mint",
            f"http://127.0.0.1:{3338 + offset}",
            "--json",
            "--state",
            str(state),
        )
    assert asked.returncode == 0, asked.stdout
    assert json.loads(asked.stdout)["counts"]["quotes asked of the mint"] > 0
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["balance"] == second["tokens"]["balance"]


@pytest.mark.parametrize(("one", "other"), [("--pool", "--mint"), ("--mint", "--pool")])
def test_pool_and_mint_audit_each_other_by_signed_summaries(
    first: dict[str, Any], state: Path, tmp_path: Path, one: str, other: str
) -> None:
    summary = str(tmp_path / "summary.json")
    assert run_cli("audit", one, "--export", summary, "--state", str(state)).returncode == 0
    compared = run_cli("audit", other, "--against", summary, "--json", "--state", str(state))
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert (
        json.loads(compared.stdout)["counts"]["rows compared with the other side"]
        >= first["quotes"]["issued"]
    )
