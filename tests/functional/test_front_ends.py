"""A pool of two processes has one ledger and one address; whichever dies, nothing is lost or doubled."""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.ehash.messages import QuoteNotice
from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from roles.cli.auditing.sides import audit
from roles.cli.stores import PoolStore
from roles.runtime.errors import ConnectionLost
from roles.runtime.storage import open_readonly
from tests.functional.development import Development
from tests.functional.processes import PATIENCE_S, Site
from tests.functional.sv2_peer import Server
from tests.roles.pool.house import Channel, Miner

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")

BLOCK_HASHES = 1 << 14
KEEPER, BRANCH, BOTH = "0", "1", "both"
KILLS = 100 if os.environ.get("HASHPOOL_TEST_LONG") else 6
SEED = int(os.environ.get("HASHPOOL_TEST_SEED") or 20_261_122)
KEY = public_key(b"\x77" * 32)

pytestmark = [
    pytest.mark.functional,
    pytest.mark.timeout(60 + 20 * KILLS),
    pytest.mark.asyncio(loop_scope="module"),
]


class TwoProcesses:
    """The pool's side, with a pool of two processes, and miners on both."""

    def __init__(self, site: Site) -> None:
        self.development = Development(site)
        self.development.daemon("regtest_node")
        self.development.daemon("template_provider")
        self.development.daemon("mint")
        self.pool = self.development.daemon(
            "pool",
            processes="2",
            vardiff__floor_hashes="256",
            vardiff__shares_per_minute="6000",
            shared__regtest__block_difficulty=str(BLOCK_HASHES),
        )
        self.state = site.state
        self.server = Server.of(self.pool, "listen_address", self.development.keys.pool, "pool")
        self._keys = 0

    @property
    def keeper(self) -> int:
        """The process that keeps the books."""
        assert self.pool.process is not None
        return self.pool.process.pid

    def branch(self) -> int | None:
        """The process that only serves miners, if it lives."""
        children = Path(f"/proc/{self.keeper}/task/{self.keeper}/children").read_text().split()
        return int(children[0]) if children else None

    async def miner_on(self, process: str, lost: Channel | None = None) -> Channel:
        """A miner that the kernel has given to a process, with a channel and a key of its own.

        Or the miner of a channel that was `lost`, which asks for it again.
        """
        spared: list[Miner] = []
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    before = self._connections()
                    miner = await self.server.miner(extensions=True)
                    (where,) = (name for name, held in self._connections().items() if held - before[name])
                    if where == process:
                        self._keys += lost is None
                        key = public_key(self._keys.to_bytes(32, "big"))
                        return await miner.open(key=key, token=lost.miner.token if lost else None)
                    spared.append(miner)
        finally:
            for miner in spared:
                miner.link.close()

    def rows(self) -> list[tuple[int, int]]:
        """Number and time of each row of the ledger."""
        with open_readonly(self.state / "pool" / PoolStore.FILE) as store:
            return [tuple(row) for row in store.execute("SELECT seq, time FROM audit_share ORDER BY seq")]

    def blocks(self) -> dict[bytes, str]:
        """The pool's blocks and what became of them."""
        with open_readonly(self.state / "pool" / PoolStore.FILE) as store:
            return dict(map(tuple, store.execute("SELECT hash, status FROM audit_block")))

    def _connections(self) -> dict[str, set[str]]:
        """The sockets by which each process serves miners, as the kernel knows."""
        pids = {KEEPER: self.keeper, BRANCH: self.branch()}
        port = f":{self.server.address.port:04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        served = {f"socket:[{line[9]}]" for line in lines if line[1].endswith(port) and line[3] == "01"}
        return {name: _held(pid, served) for name, pid in pids.items()}


def _held(pid: int | None, sockets: set[str]) -> set[str]:
    held = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir() if pid else ():
        with contextlib.suppress(OSError):
            held.add(os.readlink(descriptor))
    return held & sockets


async def mined(channel: Channel, target: int | None = None) -> bytes:
    """The hash of a share that is mined and accepted; where a new tip comes in between, of the next."""
    while True:
        share = channel.mine(target=target)
        share_hash = channel.hash_of(share)
        channel.submit(share)
        while True:
            answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
            if isinstance(answer, SubmitSharesError):
                assert answer.error_code == "stale-share"
                break
            if answer.last_sequence_number == share.sequence_number:
                return share_hash


async def noticed(channel: Channel, share_hash: bytes) -> None:
    """The miner is told of the quote for its share."""
    while (await channel.miner.hear(QuoteNotice)).share_hash != share_hash:
        pass


async def is_gone(pid: int) -> None:
    """Wait until a process has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while Path(f"/proc/{pid}").exists() and "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text():
            await asyncio.sleep(0.02)


async def until_sound(two: TwoProcesses) -> None:
    """Pool and mint agree on every row, and each row is there."""
    async for _ in two.pool.polls("to have every row settled"):
        if await two.server.count("hashpool_ledger_acked_seq") == len(two.rows()):
            break
    findings = audit(two.state, ("pool", "mint"), required=True)
    assert findings.ok, (findings.detail(), findings.examples)
    rows = two.rows()
    assert [seq for seq, _ in rows] == list(range(1, len(rows) + 1))
    assert [time for _, time in rows] == sorted(time for _, time in rows)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def two(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TwoProcesses]:
    with Site(tmp_path_factory.mktemp("two")) as site:
        made = TwoProcesses(site)
        await made.development.start()
        yield made


async def test_shares_of_both_processes_are_one_sequence_and_each_miner_hears_of_its_quotes(
    two: TwoProcesses,
) -> None:
    miners = [await two.miner_on(process) for process in (KEEPER, BRANCH, KEEPER, BRANCH)]
    assert len({miner.prefix for miner in miners}) == len(miners)

    async def mine(channel: Channel) -> None:
        for _ in range(20):
            await noticed(channel, await mined(channel))

    before = await two.server.count("hashpool_pool_shares_accepted_total")
    await asyncio.gather(*map(mine, miners))
    await until_sound(two)
    assert len(two.rows()) == 80
    async for _ in two.pool.polls("to add up what its processes count"):
        if await two.server.count("hashpool_pool_shares_accepted_total") == before + 80:
            break
    assert await two.server.count('hashpool_pool_process_shares_accepted{process="1"}') == 40
    assert await two.server.count("hashpool_pool_connections") == 4
    for miner in miners:
        miner.miner.link.close()


@pytest.mark.parametrize("process", [KEEPER, BRANCH])
async def test_a_block_that_either_process_finds_is_stored_and_comes_into_the_chain(
    two: TwoProcesses, process: str
) -> None:
    channel = await two.miner_on(process)
    block = await mined(channel, from_work(BLOCK_HASHES))
    async for _ in two.pool.polls("to have its block in the chain"):
        if two.blocks().get(block) == "in_chain":
            break
    await until_sound(two)
    channel.miner.link.close()


async def test_a_branch_that_is_killed_takes_nobody_elses_miners_with_it_and_comes_back(
    two: TwoProcesses,
) -> None:
    here, there = await two.miner_on(KEEPER), await two.miner_on(BRANCH)
    await mined(there)
    rows, branch = len(two.rows()), two.branch()
    assert branch is not None
    os.kill(branch, signal.SIGKILL)
    await there.miner.closed()
    await mined(here)
    async for _ in two.pool.polls("to start the branch again"):
        if two.branch() not in {None, branch} and (await two.pool.health("/ready"))[0] == 200:
            break
    back = await two.miner_on(BRANCH)
    await mined(back)
    await until_sound(two)
    assert len(two.rows()) == rows + 2
    assert await two.server.count('hashpool_pool_process_ends_total{process="1"}') == 1
    for channel in (here, back):
        channel.miner.link.close()


async def test_a_keeper_that_is_killed_takes_its_branch_with_it_and_both_come_back(two: TwoProcesses) -> None:
    channels = [await two.miner_on(process) for process in (KEEPER, BRANCH)]
    for channel in channels:
        await mined(channel)
    rows, branch = len(two.rows()), two.branch()
    assert branch is not None
    os.kill(two.keeper, signal.SIGKILL)
    assert two.pool.process is not None
    two.pool.process.wait(PATIENCE_S)
    await two.pool.started()
    await is_gone(branch)
    granted = {channel.prefix for channel in channels}
    for process in (KEEPER, BRANCH):
        channel = await two.miner_on(process)
        assert channel.prefix not in granted
        await mined(channel)
        channel.miner.link.close()
    await until_sound(two)
    assert len(two.rows()) == rows + 2


async def goes_on(two: TwoProcesses, lost: Channel, process: str) -> None:
    """The miner of a channel has it again at a process, and its share in flight is accepted once."""
    share = lost.mine(low=from_work(BLOCK_HASHES) + 1)
    rows = len(two.rows())
    channel = await two.miner_on(process, lost)
    assert channel.prefix == lost.prefix
    for _ in range(2):
        channel.submit(replace(share, channel_id=channel.id))
        answer = await channel.miner.hear(SubmitSharesSuccess, SubmitSharesError)
        assert isinstance(answer, SubmitSharesSuccess), answer
    assert len(two.rows()) == rows + 1
    for each in (lost, channel):
        each.miner.link.close()


@pytest.mark.parametrize("there", [KEEPER, BRANCH])
@pytest.mark.parametrize("here", [KEEPER, BRANCH])
async def test_whichever_process_a_miner_comes_back_to_it_has_its_channel_again(
    two: TwoProcesses, here: str, there: str
) -> None:
    await goes_on(two, await two.miner_on(here), there)
    await until_sound(two)


@pytest.mark.parametrize("victim", [KEEPER, BRANCH])
async def test_a_miner_has_its_channel_again_when_the_process_is_gone_that_it_was_of(
    two: TwoProcesses, victim: str
) -> None:
    lost = await two.miner_on(BRANCH)
    branch = two.branch()
    assert branch is not None
    if victim == BRANCH:
        os.kill(branch, signal.SIGKILL)
        await lost.miner.closed()
        async for _ in two.pool.polls("to start the branch again"):
            if two.branch() not in {None, branch} and (await two.pool.health("/ready"))[0] == 200:
                break
    else:
        os.kill(two.keeper, signal.SIGKILL)
        assert two.pool.process is not None
        two.pool.process.wait(PATIENCE_S)
        await two.pool.started()
        await is_gone(branch)
    await goes_on(two, lost, KEEPER if victim == BRANCH else BRANCH)
    await until_sound(two)


async def test_a_pool_that_is_told_to_stop_leaves_no_process_behind(two: TwoProcesses) -> None:
    branch = two.branch()
    assert branch is not None
    assert await two.pool.stop() == 0
    await is_gone(branch)
    await two.pool.started()
    await until_sound(two)


async def test_kills_of_both_while_miners_mine_lose_no_share_and_double_none(two: TwoProcesses) -> None:
    accepted: set[bytes] = set()

    async def mine(stop: asyncio.Event) -> None:
        while not stop.is_set():
            with contextlib.suppress(ConnectionLost, TimeoutError):
                channel = await (await two.server.miner(extensions=True)).open(key=KEY)
                while not stop.is_set():
                    accepted.add(await mined(channel))
            await asyncio.sleep(0.05)

    stop = asyncio.Event()
    miners = [asyncio.create_task(mine(stop)) for _ in range(6)]
    print(f"seed {SEED}: {KILLS} kills")
    victims = random.Random(SEED).choices((BRANCH, KEEPER, BOTH), k=KILLS)
    for victim in victims:
        count = len(accepted)
        async for _ in two.pool.polls("to accept shares"):
            branch = two.branch()
            if len(accepted) >= count + 30 and branch is not None:
                break
        if victim != KEEPER:
            assert branch is not None
            os.kill(branch, signal.SIGKILL)
        if victim != BRANCH:
            os.kill(two.keeper, signal.SIGKILL)
            assert two.pool.process is not None
            two.pool.process.wait(PATIENCE_S)
            two.pool.start()
        await two.pool.ready()
    stop.set()
    await asyncio.gather(*miners)
    await until_sound(two)
    with open_readonly(two.state / "pool" / PoolStore.FILE) as store:
        stored = [row["share_hash"] for row in store.execute("SELECT share_hash FROM audit_share")]
    assert accepted <= set(stored)
    assert len(stored) == len(set(stored))
