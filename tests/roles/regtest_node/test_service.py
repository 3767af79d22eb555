"""The node as a whole: starting, failing, stopping."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from roles.regtest_node.errors import (
    IN_WARMUP,
    NOT_CONNECTED,
    KernelFault,
    KernelMissing,
    RpcError,
    StateInUse,
)
from roles.regtest_node.mining import Mining
from roles.regtest_node.service import service
from roles.regtest_node.thread import Node, NodeThread
from roles.regtest_node.tip_watch import TipWatch
from roles.runtime import sysexits
from roles.runtime.daemon import Daemon
from roles.runtime.errors import PortInUse
from shared_config.pool_side import PoolSide
from shared_config.regtest_node import RegtestNodeSettings
from tests.roles.regtest_node.client import Client
from tests.roles.regtest_node.forge import Clock, Forge

ROOT = Path(__file__).parents[3]
WITHOUT_KERNEL = """
import sys
sys.modules["pbk"] = None
from roles.regtest_node.__main__ import main
sys.exit(main())
"""


def twin(settings: RegtestNodeSettings, state: Path) -> Daemon[RegtestNodeSettings, PoolSide]:
    return Daemon("regtest_node", settings, cast("PoolSide", None), state)


async def test_a_second_node_on_the_same_state_leaves_the_first_ones_cookie(
    client: Client, daemon: Daemon[RegtestNodeSettings, PoolSide]
) -> None:
    with pytest.raises(StateInUse) as caught:
        await service(twin(daemon.config, daemon.state))
    assert caught.value.exit_code == sysexits.TEMPORARY
    assert await client.call("getblockcount") == 0


async def test_a_taken_port_is_named_with_its_setting(
    client: Client, daemon: Daemon[RegtestNodeSettings, PoolSide], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(PortInUse, match=str(client.port)) as caught:
        await service(twin(daemon.config, other))
    assert "rpc_address" in caught.value.hint
    assert not (other / ".cookie").exists()


async def test_a_damaged_chain_is_told_and_leaves_no_cookie(
    tmp_path: Path, settings: RegtestNodeSettings
) -> None:
    (tmp_path / "chain").write_text("not a directory")
    with pytest.raises(KernelFault, match="cannot be opened"):
        await service(twin(settings, tmp_path))
    assert not (tmp_path / ".cookie").exists()


async def test_a_stop_while_the_chain_loads_is_obeyed(tmp_path: Path, settings: RegtestNodeSettings) -> None:
    node = twin(settings, tmp_path)
    node.stopping.set()
    async with asyncio.timeout(30):
        await service(node)
    assert not node.readiness.ready


async def test_calls_before_the_chain_is_there_are_told_to_wait() -> None:
    thread = NodeThread()
    with pytest.raises(RpcError) as caught:
        await thread.call(lambda _node: None)
    assert caught.value.code == IN_WARMUP
    await thread.close()


async def test_after_a_fault_of_the_kernel_nothing_more_is_answered(tmp_path: Path, clock: Clock) -> None:
    thread, state = NodeThread(), Forge(tmp_path, clock).state
    await thread.open(lambda: Node(state, Mining(state)))

    def fail(_node: Node) -> None:
        raise KernelFault("the disk is gone")

    for work in (fail, lambda _node: None):
        with pytest.raises(RpcError) as caught:
            await thread.call(work)
        assert caught.value.code == NOT_CONNECTED
    with pytest.raises(KernelFault):
        await thread.failed
    await thread.close()


async def test_a_checkpoint_is_made_after_an_answer(tmp_path: Path, clock: Clock) -> None:
    thread, forge = NodeThread(), Forge(tmp_path, clock)
    await thread.open(lambda: Node(forge.state, Mining(forge.state)))
    await thread.call(lambda _node: forge.mine(1_000))
    async with asyncio.timeout(30):
        while forge.state.directory.journal.stat().st_size:
            assert await thread.call(lambda node: node.state.tip.height) == 1_000
    await thread.close()


async def test_a_checkpoint_that_fails_ends_the_node_and_keeps_the_journal(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread, forge = NodeThread(), Forge(tmp_path, clock)

    def reopen() -> bool:
        forge.state.kernel._flush()
        raise KernelFault("no more")

    monkeypatch.setattr(forge.state, "_checkpoint_blocks", 2)
    monkeypatch.setattr(forge.state.kernel, "reopen", reopen)
    await thread.open(lambda: Node(forge.state, Mining(forge.state)))
    tip = await thread.call(lambda _node: forge.mine(2))
    with pytest.raises(KernelFault):
        await thread.failed
    await thread.close()
    after = Forge(tmp_path, clock)
    assert after.state.tip == tip
    after.state.close()


async def test_a_watch_wakes_everyone_and_forgets_nobody() -> None:
    watch = TipWatch()
    watch.publish(b"a")
    waiters = [asyncio.ensure_future(watch.wait(b"a", 5)) for _ in range(3)]
    await asyncio.sleep(0)
    watch.publish(b"b")
    async with asyncio.timeout(30):
        await asyncio.gather(*waiters)
        await watch.wait(b"a", 5)
        await watch.wait(b"b", 0.001)
    watch.close()
    async with asyncio.timeout(30):
        await watch.wait(b"b", 5)


def test_a_machine_without_the_kernel_is_told_what_to_do(tmp_path: Path) -> None:
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT_KERNEL,
            "--state",
            str(tmp_path),
            "--set",
            "health_address=127.0.0.1:0",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == sysexits.UNAVAILABLE
    assert "hashpool[node]" in run.stderr
    assert "bitcoin.rpc_url" in run.stderr
    assert "Traceback" not in run.stderr


def test_the_missing_kernel_is_an_operators_error() -> None:
    error = KernelMissing("No module named 'pbk'")
    assert "No module named 'pbk'" in error.text
