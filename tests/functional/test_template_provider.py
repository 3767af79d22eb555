"""The template provider as a process beside the regtest node, with a client of its own making."""

import asyncio
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import aiohttp
import pytest

from protocols.bitcoin.address import address_from_script
from protocols.bitcoin.coinbase import CoinbaseTemplate, add_witness, coinbase_parts
from protocols.bitcoin.hashing import display, sha256, sha256d
from protocols.bitcoin.header import Header, parse_block
from protocols.bitcoin.merkle import root_from_path
from protocols.bitcoin.networks import Network
from protocols.bitcoin.script import witness_program
from protocols.bitcoin.target import meets
from protocols.bitcoin.transaction import Transaction, TxIn, TxOut
from protocols.noise.authority import decode_public
from protocols.sv2.codec import TEMPLATE_DISTRIBUTION, encode
from protocols.sv2.connection import SetupConnection, SetupConnectionSuccess
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.template_distribution import (
    CoinbaseOutputConstraints,
    NewTemplate,
    RequestTransactionData,
    RequestTransactionDataSuccess,
    SetNewPrevHash,
    SubmitSolution,
)
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from roles.runtime.sv2_connection import Sv2Connection, connect
from shared_config.address import Address

pytestmark = pytest.mark.functional

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
ANYONE = b"\x51"
"""A script that anyone can spend, behind a P2WSH output."""

M = TypeVar("M", bound=Message)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Daemon:
    """A process of ours, and what it has logged."""

    def __init__(self, role: str, state: Path, *settings: str) -> None:
        self._command = [
            sys.executable, "-m", f"roles.{role}",
            "-c", str(ROOT / "config" / f"{role}.toml"),
            "-g", str(ROOT / "config" / "shared" / "pool.toml"),
            "--state", str(state), "--set", f"health_address=127.0.0.1:{free_port()}",
        ]  # fmt: skip
        for setting in settings:
            self._command += ["--set", setting]
        self._log = state / f"{role}.log"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*self._command, cwd=ROOT, stderr=log)

    async def logged(self, pattern: str) -> re.Match[str]:
        """The last line that matches, once there is one."""
        async with asyncio.timeout(PATIENCE):
            while not (found := list(re.finditer(pattern, self._log.read_text()))):
                assert self.process is not None
                assert self.process.returncode is None, self._log.read_text()
                await asyncio.sleep(0.02)
        return found[-1]

    async def reasons(self) -> dict[str, str]:
        health = (await self.logged(r"health=(\S+)"))[1]
        async with aiohttp.ClientSession() as session, session.get(f"{health}/ready") as response:
            answer = await response.json()
            assert (response.status == 200) == (answer["reasons"] == {})
            reasons: dict[str, str] = answer["reasons"]
            return reasons

    async def ready(self, *, is_ready: bool = True) -> None:
        async with asyncio.timeout(PATIENCE):
            while (await self.reasons() == {}) != is_ready:
                await asyncio.sleep(0.02)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(PATIENCE):
            return await self.process.wait()


class Client:
    """A template client: what a pool does, without miners."""

    def __init__(self, connection: Sv2Connection) -> None:
        self.connection = connection

    @classmethod
    async def dial(cls, provider: Daemon) -> "Client":
        said = await provider.logged(r"address=127\.0\.0\.1:(\d+) authority_key=(\S+)")
        address = Address("127.0.0.1", int(said[1]))
        limit = FrameLimits(TEMPLATE_DISTRIBUTION)
        client = cls(await connect(address, decode_public(said[2]), limit=limit))
        client.say(SetupConnection(2, 2, 2, 0, "127.0.0.1", address.port, "test", "", "1", ""))
        await client.hear(SetupConnectionSuccess)
        client.say(CoinbaseOutputConstraints(100, 4))
        return client

    def say(self, message: Message) -> None:
        self.connection.send(encode(message))

    async def hear(self, kind: type[M]) -> M:
        async with asyncio.timeout(PATIENCE):
            message, _ = TEMPLATE_DISTRIBUTION.decode(await self.connection.receive())
        assert isinstance(message, kind), message
        return message

    async def hear_tip(self) -> tuple[NewTemplate, SetNewPrevHash]:
        template, tip = await self.hear(NewTemplate), await self.hear(SetNewPrevHash)
        assert template.future_template
        assert template.template_id == tip.template_id
        return template, tip

    async def hear_height(self, height: int) -> tuple[NewTemplate, SetNewPrevHash]:
        """The template of a height; tips in between may come or not."""
        while True:
            template, tip = await self.hear_tip()
            if template.coinbase_tx_locktime == height - 1:
                return template, tip

    def solve(self, template: NewTemplate, tip: SetNewPrevHash, script: bytes) -> bytes:
        """Submit a block that pays `script`, and return its hash."""
        fields = CoinbaseTemplate(
            template.coinbase_tx_version,
            template.coinbase_prefix,
            template.coinbase_tx_input_sequence,
            template.coinbase_tx_value_remaining,
            template.coinbase_tx_outputs_count,
            template.coinbase_tx_outputs,
            template.coinbase_tx_locktime,
        )
        parts = coinbase_parts(fields, [TxOut(fields.value, script)], tag=b"test", extranonce_size=4)
        root = root_from_path(sha256d(bytes(4).join(parts)), template.merkle_path)
        header = Header(template.version, tip.prev_hash, root, tip.header_timestamp, tip.nbits, 0)
        while not meets(header.hash(), tip.target):
            header = replace(header, nonce=header.nonce + 1)
        whole = bytes(4).join(add_witness(*parts))
        self.say(SubmitSolution(template.template_id, header.version, header.time, header.nonce, whole))
        return header.hash()


class System:
    """Both daemons, not started yet, and a client of the node's own."""

    def __init__(self, state: Path, rpc: int, node: NodeClient) -> None:
        self.node = Daemon("regtest_node", state, f"rpc_address=127.0.0.1:{rpc}")
        self.provider = Daemon(
            "template_provider",
            state,
            "listen_address=127.0.0.1:0",
            f"shared.bitcoin.rpc_url=http://127.0.0.1:{rpc}",
            "fee_check_s=0.5",
        )
        self.rpc = node


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    port = free_port()
    cookie = CookieFile(tmp_path / "regtest_node" / ".cookie")
    async with NodeClient(f"http://127.0.0.1:{port}", cookie) as client:
        made = System(tmp_path, port, client)
        yield made
        for daemon in (made.provider, made.node):
            if daemon.process is not None:
                await daemon.stop(signal.SIGKILL)


async def test_a_provider_waits_for_its_node_serves_it_and_outlives_its_death(system: System) -> None:
    await system.provider.start()
    await system.provider.logged("serving templates")
    assert list(await system.provider.reasons()) == ["node"]
    await system.node.start()
    await system.provider.ready()

    client = await Client.dial(system.provider)
    template, tip = await client.hear_height(1)
    solved = client.solve(template, tip, ANYONE)
    following, tip = await client.hear_height(2)
    assert tip.prev_hash == solved
    await system.provider.logged(f'msg="block accepted" hash={display(solved)} height=1')

    await system.node.stop(signal.SIGKILL)
    await system.provider.ready(is_ready=False)
    second = client.solve(following, tip, ANYONE)
    await system.provider.logged("a block waits for the node")
    await system.node.start()
    await system.provider.logged(f'msg="block accepted" hash={display(second)}')
    assert (await client.hear_height(3))[1].prev_hash == second
    await system.provider.ready()
    info = await system.rpc.block_info(second)
    assert info is not None
    assert (info.height, info.in_active_chain) == (2, True)

    assert await system.provider.stop() == 0
    assert await system.node.stop() == 0


async def test_a_transaction_is_offered_mined_and_handed_out(system: System) -> None:
    await system.node.start()
    await system.provider.start()
    await system.provider.ready()
    client = await Client.dial(system.provider)
    await client.hear_height(1)

    locked = witness_program(0, sha256(ANYONE))
    address = address_from_script(locked, Network.REGTEST)
    await system.rpc.call("generatetoaddress", 101, address)
    template, tip = await client.hear_height(102)
    first = parse_block(await system.rpc.block(await system.rpc.block_hash(1)))[1][0]
    paid = TxOut(first.outputs[0].value - 5_000, locked)
    spent = TxIn(first.txid, 0)
    spending = Transaction(2, (spent,), (paid,), ((ANYONE,),))
    await system.rpc.call("sendrawtransaction", spending.serialize().hex())

    better = await client.hear(NewTemplate)
    assert not better.future_template
    assert better.coinbase_tx_value_remaining == template.coinbase_tx_value_remaining + 5_000
    assert better.merkle_path == (spending.txid,)
    client.say(RequestTransactionData(better.template_id))
    data = await client.hear(RequestTransactionDataSuccess)
    assert data.transaction_list == (spending.serialize(),)

    solved = client.solve(better, tip, locked)
    assert (await client.hear_height(103))[1].prev_hash == solved
    mined = parse_block(await system.rpc.block(solved))[1]
    assert [each.txid for each in mined[1:]] == [spending.txid]
    assert mined[0].outputs[0].value == better.coinbase_tx_value_remaining
