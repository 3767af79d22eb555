"""The development system with two pools, and SV1 miners that mine on and on at its translator."""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

from roles.cli.keys import public_halves
from roles.cli.stores import PoolStore
from roles.runtime.storage import open_readonly
from tests.functional.development import Development
from tests.functional.processes import PATIENCE_S, Daemon, Site
from tests.roles.translator.fake_miners import FakeMiner

NO_VERDICT = 20


class Restless(FakeMiner):
    """Mines on and on, and begins its extranonce anew with each clean job, as Bitaxe does."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: Counter[str] = Counter()
        self.sent = 0

    def _take(self, raw: bytes) -> None:
        super()._take(raw)
        line = self.lines.pop()
        if line.get("method") == "mining.notify" and line["params"][-1]:
            self.counter = 0

    async def submit(self, params: list[Any]) -> dict[str, Any]:
        self.sent += 1
        answer = await super().submit(params)
        self.replies.clear()
        self.raw.clear()
        if answer["result"] is True:
            self.answers["accepted"] += 1
        else:
            code = answer["error"][0]
            self.answers["unknown" if code == NO_VERDICT else f"rejected {code}"] += 1
        return answer

    async def mine_on(self, stop: asyncio.Event) -> None:
        """Mine until it is told to stop."""
        while not stop.is_set():
            await self.mine()
            await asyncio.sleep(0.02)


def issuer_of(site: Site) -> bytes:
    """The identity of the pool of a site."""
    return bytes.fromhex(public_halves(site.state).issuer)


def pool_beside(development: Development, site: Site, **settings: str) -> Daemon:
    """A second pool, with a state of its own, at the first one's node, template provider and mint."""
    node, provider, mint = (
        development.daemons[role] for role in ("regtest_node", "template_provider", "mint")
    )
    return Development(site).daemon(
        "pool",
        server_id="2",
        shared__bitcoin__rpc_url=f"http://{node.settings['rpc_address']}",
        shared__bitcoin__rpc_cookie_file=str(node.state / ".cookie"),
        shared__mint__url=f"http://{mint.settings['http_address']}",
        shared__mint__issuance_address=mint.settings["issuance_address"],
        shared__mint__authority_key=development.keys.mint,
        shared__template_provider__address=provider.settings["listen_address"],
        shared__template_provider__authority_key=development.keys.template_provider,
        **settings,
    )


def as_upstream(pool: Daemon, name: str) -> str:
    """A pool as a proxy's configuration names it."""
    where, key = pool.settings["listen_address"], public_halves(pool.site.state).pool
    return f'{{address = "{where}", authority_key = "{key}", name = "{name}"}}'


class TwoPools:
    """The development system with a second pool, which has a state directory of its own."""

    def __init__(self, root: Path, **proxy: str) -> None:
        self.sites = (Site(root / "first"), Site(root / "second"))
        here, there = self.sites
        development = Development(here, issuers=(issuer_of(there),))
        development.daemon("regtest_node")
        development.daemon("template_provider")
        development.daemon("mint")
        easy = {"vardiff__floor_hashes": "256", "vardiff__shares_per_minute": "6000"}
        self.first = development.daemon("pool", **easy)
        self.second = pool_beside(development, there, **easy)
        self.proxy = development.daemon(
            "proxy",
            failback_s="0.5",
            wallet__recovery_s="1",
            shared__upstreams=f"[{as_upstream(self.second, 'second')}]",
            **proxy,
        )
        self.translator = development.daemon("translator", start_difficulty="0.0000003")
        self.development = development

    def pools(self) -> tuple[Daemon, Daemon]:
        return self.first, self.second

    def rows(self) -> list[bytes]:
        """The hashes of all shares in both ledgers."""
        found: list[bytes] = []
        for pool in self.pools():
            with open_readonly(pool.state / PoolStore.FILE) as store:
                found += [row["share_hash"] for row in store.execute("SELECT share_hash FROM audit_share")]
        return found

    async def count(self, daemon: Daemon, name: str, *labels: str) -> float:
        """The sum of a metric's samples that have all of these labels."""
        _, text = await daemon.health("/metrics")
        lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines if all(each in line for each in labels))


async def accepts(miners: list[Restless], since: float) -> float:
    """Wait until every miner has had another share accepted; returns how long after `since`."""
    before = [miner.answers["accepted"] for miner in miners]
    async with asyncio.timeout(PATIENCE_S):
        while any(miner.answers["accepted"] <= count for miner, count in zip(miners, before, strict=True)):
            assert not any(miner.is_gone for miner in miners), "a miner's socket was closed"
            await asyncio.sleep(0.01)
    return time.monotonic() - since


async def is_mined_at(two: TwoPools, upstream: str) -> None:
    """Wait until the proxy mines at a pool."""
    async for _ in two.proxy.polls(f"to mine at {upstream}"):
        if await two.count(two.proxy, "hashpool_upstreams_state", f'"{upstream}"', '"active"') == 1:
            return
