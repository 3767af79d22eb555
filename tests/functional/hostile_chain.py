"""Everything from the node to the translator, with miners that do nothing wrong beside the hostile ones."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from protocols.sv2.mining import (
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
)
from tests.functional.bystander import GoodMiner, resident_kib
from tests.functional.development import Development
from tests.functional.processes import PATIENCE_S, Daemon, Site
from tests.functional.sv2_peer import Server
from tests.roles.pool.house import Miner
from tests.roles.pool.neighbours import ANY_TARGET, ON_MINING_LINK

LONG = bool(os.environ.get("HASHPOOL_TEST_LONG"))
GROWTH_KIB = 20_000_000 >> 10
"""Over all tests of a module together, and also while channels are held."""
ROUND_TRIP_MS = 250.0
"""The 99th percentile with full counts, of fewer than a hundred the worst; some 50 of it are the pool's pause
before it answers a single share.
"""
HANDSHAKE_S = 2.0


@dataclass
class Chain:
    """The daemons, and a good miner at each of those that serve miners."""

    daemons: dict[str, Daemon]
    servers: dict[str, Server]
    good: dict[str, GoodMiner]
    pids: dict[str, int]
    warm: dict[str, int] = field(default_factory=dict)
    report: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        """Of the translator."""
        return int(self.daemons["translator"].settings["listen_address"].rpartition(":")[2])

    def resident(self) -> dict[str, int]:
        """KiB of memory of each daemon that serves miners."""
        return {name: resident_kib(pid) for name, pid in self.pids.items()}

    async def mark(self) -> None:
        """A test begins."""
        for miner in self.good.values():
            await miner.mark()

    async def check(self, test: str) -> None:
        """It has ended: who was good mined on, and no daemon has died or grown beyond measure."""
        for daemon in self.daemons.values():
            assert daemon.is_running
            assert daemon.process
            assert daemon.process.pid == self.pids[daemon.role]
        trips = {name: sorted(await miner.mark()) for name, miner in self.good.items()}
        resident = self.resident()
        growth = {name: resident[name] - self.warm[name] for name in resident}
        p99 = {name: each[int(len(each) * 0.99)] for name, each in trips.items() if each}
        told = {name: f"{each:.0f}" for name, each in p99.items()}
        grown = {name: f"{each / 1024:.1f}" for name, each in growth.items()}
        self.report.append(f"{test}: p99 ms {told}, grown MiB {grown}")
        for name, each in trips.items():
            assert each, f"{name}: the good miner was not served"
            is_slow = LONG and p99[name] >= ROUND_TRIP_MS
            assert not is_slow, f"{name}: {each[-len(each) // 50 :]}"
        assert max(growth.values()) < GROWTH_KIB, growth


@asynccontextmanager
async def opened_chain(site: Site, warm_up: Callable[[Chain], Awaitable[None]]) -> AsyncIterator[Chain]:
    """The chain, running; `warm_up` does a little of what follows, so that what daemons keep for everybody is
    there. Reports of the tests are printed at the end.
    """
    development = Development(site)
    limits = {
        "limits__handshake_s": str(HANDSHAKE_S),
        "limits__send_buffer_bytes": str(1 << 16),
        "limits__send_stall_s": "2",
    }
    development.daemon("regtest_node")
    development.daemon("mint")
    development.daemon("template_provider")
    pool = development.daemon(
        "pool",
        vardiff__floor_hashes="256",
        vardiff__shares_per_minute="6000",
        # Nothing that is mined here is a block.
        shared__regtest__block_difficulty=str(1 << 40),
        **limits,
    )
    proxy = development.daemon("proxy", **limits)
    translator = development.daemon("translator", start_difficulty="6e-8", verdict_s="20", **limits)
    await development.start()
    keys = development.keys
    servers = {
        "pool": Server.of(pool, "listen_address", keys.pool, "pool"),
        "proxy": Server.of(proxy, "listen_address", keys.proxy, "downstream"),
    }
    daemons = {"pool": pool, "proxy": proxy, "translator": translator}
    pids = {name: daemon.process.pid for name, daemon in daemons.items() if daemon.process}
    good: dict[str, GoodMiner] = {}
    try:
        for name, server in servers.items():
            where = (server.address.host, str(server.address.port), server.authority.hex())
            good[name] = GoodMiner("sv2", *where)
        port = translator.settings["listen_address"].rpartition(":")[2]
        good["translator"] = GoodMiner("sv1", "127.0.0.1", port)
        made = Chain(daemons, servers, good, pids)
        await made.mark()
        await warm_up(made)
        made.warm = made.resident()
        yield made
        print("", *made.report, sep="\n")
    finally:
        for miner in good.values():
            miner.end()


async def open_in_small_numbers(chain: Chain) -> None:
    """What warms daemons up for channels."""
    for server in chain.servers.values():
        for _ in range(20):
            peer = await connected(server)
            await open_channels(peer, 20)
            peer.link.close()


async def connected(server: Server) -> Miner:
    return await server.miner(extensions=True)


async def open_channels(peer: Miner, count: int) -> dict[int, int]:
    """Ask for so many channels at once and read all answers; returns the granted ones' groups."""
    asked = answered = 0
    granted: dict[int, int] = {}
    while answered < count:
        while asked < count and asked - answered < 500:
            peer.say(OpenExtendedMiningChannel(asked, f"m{asked}", 0.0, ANY_TARGET, 8))
            asked += 1
        async with asyncio.timeout(PATIENCE_S):
            for frame in await peer.link.receive_batch():
                message, _ = ON_MINING_LINK.decode(frame)
                if isinstance(message, OpenMiningChannelError | OpenExtendedMiningChannelSuccess):
                    answered += 1
                if isinstance(message, OpenExtendedMiningChannelSuccess):
                    granted[message.channel_id] = message.group_channel_id
    return granted
