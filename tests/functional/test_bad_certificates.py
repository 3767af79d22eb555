"""Servers that cannot prove who they are, as the daemons that connect to them meet them.

For every link between daemons the test plays the server, on one address: first with a key that nobody
vouches for, then with a certificate that has run out, at last as it should be. The daemon says what is wrong
with whom and how to mend it, talks to neither impostor, and connects by itself when the server is mended.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio

from protocols.noise.authority import encode_public, public_of
from protocols.sv2.codec import MINING
from protocols.sv2.limits import FrameLimits
from roles.runtime.sv2_connection import Sv2Connection, serve
from shared_config.address import Address
from tests.functional.development import Development
from tests.functional.processes import PATIENCE_S, Daemon, Site

pytestmark = [pytest.mark.functional, pytest.mark.asyncio(loop_scope="module")]

DAY = 86_400


@dataclass
class Impostor:
    """A server on one address that changes who it is."""

    address: Address
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    served: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def become(self, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        """Stop, and serve with the certificates of an authority at the time of a clock."""
        await self.stop()
        server = serve(
            self.address,
            secret,
            self._serve,
            limit=FrameLimits(MINING),
            setting="test",
            certificate_s=3600,
            clock=clock,
        )
        self._task = asyncio.create_task(server.run())

    async def stop(self) -> None:
        """Listen no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _serve(self, connection: Sv2Connection) -> None:
        await connection.receive()
        self.served.set()


@dataclass(frozen=True)
class Link:
    """A link of a daemon, and where it tells of it: a condition of readiness, or its log if that is empty."""

    daemon: Daemon
    impostor: Impostor
    condition: str

    async def told(self, text: str) -> str:
        """Wait until the daemon says a text of this link, and return the whole reason."""
        if not self.condition:
            return (await self.daemon.logged(f'reason="[^"]*{self.impostor.address}[^"]*{text}[^"]*"'))[0]
        async for _ in self.daemon.polls(f"to say {text!r}"):
            status, _ = await self.daemon.health("/ready")
            reason = (await self.daemon.reasons()).get(self.condition, "") if status else ""
            if text in reason:
                return reason
        raise AssertionError


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("certificates")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def links(site: Site) -> AsyncIterator[dict[str, Link]]:
    development = Development(site)

    def impostor(role: str, key: str) -> Impostor:
        host, _, port = site.address(role, key).rpartition(":")
        return Impostor(Address(host, int(port)))

    def trust(impostor: Impostor) -> str:
        return encode_public(public_of(impostor.secret))

    provider = impostor("template_provider", "listen_address")
    mint = impostor("mint", "issuance_address")
    pool = impostor("pool", "listen_address")
    proxy = impostor("proxy", "listen_address")
    miners = impostor("pool", "server of miners")
    pooling = development.daemon(
        "pool",
        shared__template_provider__authority_key=trust(provider),
        shared__mint__authority_key=trust(mint),
    )
    proxying = development.daemon(
        "proxy",
        listen_address=site.address("proxy", "its own"),
        shared__pool__authority_key=trust(pool),
    )
    translating = development.daemon("translator", shared__proxy__authority_key=trust(proxy))
    mining = development.daemon(
        "cpu_miner", protocol="sv2", address=str(miners.address), authority_key=trust(miners)
    )
    for daemon in (pooling, proxying, translating, mining):
        daemon.start()
    made = {
        "pool to template provider": Link(pooling, provider, "templates"),
        "pool to mint": Link(pooling, mint, ""),
        "proxy to pool": Link(proxying, pool, "upstream"),
        "translator to proxy": Link(translating, proxy, "proxy"),
        "miner to its server": Link(mining, miners, "work"),
    }
    yield made
    for link in made.values():
        await link.impostor.stop()


@pytest.mark.parametrize(
    "name",
    [
        "pool to template provider",
        "pool to mint",
        "proxy to pool",
        "translator to proxy",
        "miner to its server",
    ],
)
async def test_a_server_that_cannot_prove_who_it_is_is_named_and_not_talked_to(
    links: dict[str, Link], name: str
) -> None:
    link = links[name]
    impostor = link.impostor
    await impostor.become(secrets.token_bytes(32))
    told = await link.told("not signed by the expected authority key")
    assert str(impostor.address) in told
    assert "hashpool keys show" in told
    await impostor.become(impostor.secret, lambda: time.time() - 2 * DAY)
    told = await link.told("the certificate ran out")
    assert str(impostor.address) in told
    assert "see that the clocks of both machines are right" in told
    await impostor.become(impostor.secret, lambda: time.time() + 2 * DAY)
    told = await link.told("the certificate begins to be valid in")
    assert "see that the clocks of both machines are right" in told
    assert not impostor.served.is_set()
    await impostor.become(impostor.secret)
    async with asyncio.timeout(PATIENCE_S):
        await impostor.served.wait()
    assert link.daemon.is_running
