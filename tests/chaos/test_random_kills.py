"""Random daemons die at random moments while miners mine: no acknowledged share is lost, none is doubled."""

import os
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest

from roles.cli.stores import PoolStore, open_store
from tests.chaos.witness import Witness
from tests.functional.system import HEALTH_PORTS, HOME, System, answers

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")

IS_LONG: Final = bool(os.environ.get("HASHPOOL_TEST_LONG"))
KILLS, SPAN_S = (500, 1200.0) if IS_LONG else (20, 40.0)
SEED: Final = int(os.environ.get("HASHPOOL_TEST_SEED") or 20_261_122)
HASHES_PER_S: Final = 100_000

pytestmark = [pytest.mark.functional, pytest.mark.timeout(SPAN_S + 300)]


def credited_only(directory: Path) -> Path:
    """A configuration with which the witness is told "accepted" of nothing but what the pool credits."""
    shutil.copytree(HOME / "config", directory)
    translator = directory / "translator.toml"
    translator.write_text(f"shown_shares_per_minute = 0\n{translator.read_text()}")
    return directory


def recorded(state: Path) -> list[bytes]:
    """The hashes of all shares in the ledger."""
    connection = open_store(state, "pool", PoolStore.FILE)
    assert connection is not None
    with connection:
        return [row.share_hash for row in PoolStore(connection).rows()]


def kill_at_random(system: System) -> Counter[str]:
    """Kill one daemon after another, on average at even times; tells how often each."""
    chance = random.Random(SEED)
    victims: Counter[str] = Counter()
    while victims.total() < KILLS:
        time.sleep(chance.uniform(0, 2 * SPAN_S / KILLS))
        role = chance.choice(sorted(HEALTH_PORTS))
        process = system.children().get(role)
        if process is not None:
            os.kill(process, signal.SIGKILL)
            victims[role] += 1
        assert system.process.poll() is None, system.tail()
    return victims


def test_daemons_killed_at_random_lose_no_acknowledged_share_and_double_none(tmp_path: Path) -> None:
    print(f"seed {SEED}: {KILLS} kills in {SPAN_S:g} s")
    state = tmp_path / "state"
    config = credited_only(tmp_path / "config")
    with System(state, "--json", "--config", str(config)) as system:
        system.wait_ready()
        with Witness(34255 + system.offset, hashes_per_s=HASHES_PER_S) as witness:
            victims = kill_at_random(system)
            for role, port in HEALTH_PORTS.items():
                for _ in system.polls(f"{role} to be ready"):
                    if answers(f"http://127.0.0.1:{port + system.offset}/ready"):
                        break
            balance, seen = system.balance(), len(witness.acknowledged)
            for _ in system.polls("new tokens and an acknowledged share"):
                if system.balance() > balance and len(witness.acknowledged) > seen:
                    break
        system.process.send_signal(signal.SIGTERM)
        result = system.result()
    shares = recorded(state)
    print(f"killed {dict(victims)}")
    print(f"{len(shares)} shares in the ledger, {len(witness.acknowledged)} acknowledged to the witness;")
    print(f"{witness.unanswered} unanswered, refused {witness.refused}, {witness.connections} connections")
    assert result["audit"]["ok"], result["audit"]["detail"]
    assert len(shares) == len(set(shares))
    assert witness.acknowledged
    assert witness.acknowledged <= set(shares)
