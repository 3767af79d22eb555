"""Mint processes beside each other on one store of either engine, and a client that insists."""

import asyncio
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.errors import PaymentFailedError
from protocols.ehash.messages import CreditResults
from roles.cli.auditing.sides import audit
from roles.runtime.errors import ConnectionLost
from tests.functional.development import Development
from tests.functional.mint_peer import Issuer, Wallet, mine
from tests.functional.processes import Daemon, Site
from tests.functional.sv2_peer import Server
from tests.postgres_server import PostgresServer

Engine = Literal["sqlite", "postgresql"]
PAUSE_S: Final = 0.02
UNLIMITED: Final = {"http__requests_per_s": "0", "http__connections": "10000"}


def is_pending(answer: Any) -> bool:
    """Whether it is a melt whose payment takes its time."""
    return isinstance(answer, dict) and answer.get("state") == "PENDING"


class MintRow:
    """One mint of one or more processes; `issuers` are the secrets of those that it knows."""

    def __init__(
        self,
        site: Site,
        postgres: PostgresServer | None,
        processes: int,
        issuers: int = 1,
        settings: Mapping[str, str] = UNLIMITED,
    ) -> None:
        self.site = site
        self.postgres = postgres
        self.issuers = [bytes(30) + b"\x61" + bytes((number + 1,)) for number in range(issuers)]
        development = Development(site, issuers=tuple(public_key(each) for each in self.issuers))
        self.authority = development.keys.mint
        chosen = {**UNLIMITED, **settings}
        if postgres is not None:
            site.state.mkdir(parents=True, exist_ok=True)
            file = site.state / "mint.dsn"
            file.write_text(postgres.create_database())
            file.chmod(0o600)
            chosen |= {"store__engine": "postgresql", "store__dsn_file": str(file)}
        self.mints: list[Daemon] = []
        for number in range(processes):
            own = {
                key: site.address(f"mint{number}", key)
                for key in ("http_address", "issuance_address", "health_address")
            }
            self.mints.append(development.daemon("mint", f"mint{number}", **chosen, **own))
        self._ledgers: dict[bytes, Issuer] = {}
        self._turns = itertools.cycle(self.mints)

    async def start(self) -> "MintRow":
        """Start every process at once: they find an empty store."""
        for mint in self.mints:
            mint.start()
        await asyncio.gather(*(mint.ready() for mint in self.mints))
        return self

    def server(self, mint: Daemon) -> Server:
        """Where a process listens for issuers."""
        return Server.of(mint, "issuance_address", self.authority, "issuance")

    def url(self, mint: Daemon) -> str:
        """Where a process serves wallets."""
        return f"http://{mint.settings['http_address']}"

    async def wallet(self, session: aiohttp.ClientSession, issuer: int = 0) -> Wallet:
        """A wallet that knows the keys."""
        return await Wallet(session, self.url(self.mints[0]), public_key(self.issuers[issuer])).begin()

    async def ask(self, session: aiohttp.ClientSession, path: str, body: object) -> Any:
        """The answer to a request that the next process must grant at once."""
        async with session.post(self.url(next(self._turns)) + path, data=json.dumps(body).encode()) as reply:
            assert reply.status == 200, (path, reply.status, await reply.text())
            return await reply.json()

    async def insist(self, session: aiohttp.ClientSession, path: str, body: object) -> Any:
        """The answer to a request that is sent again, to the next process, until it is granted; a payment
        that was never sent, because its mint was killed before, is asked for anew.
        """
        sent = json.dumps(body).encode()
        while True:
            try:
                async with session.post(self.url(next(self._turns)) + path, data=sent) as reply:
                    answer = await reply.json()
                    if reply.status == 200 and not is_pending(answer):
                        return answer
                    if reply.status == 503:
                        assert "Retry-After" in reply.headers, answer
                    elif reply.status != 200:
                        assert answer["code"] == PaymentFailedError.code, (path, answer)
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(PAUSE_S)

    async def fails(self, session: aiohttp.ClientSession, path: str, body: object) -> int:
        """The code with which a request is refused in the end."""
        sent = json.dumps(body).encode()
        while True:
            try:
                async with session.post(self.url(next(self._turns)) + path, data=sent) as reply:
                    answer = await reply.json()
                    if reply.status == 400:
                        return int(answer["code"])
                    assert reply.status == 503 or is_pending(answer), answer
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass
            await asyncio.sleep(PAUSE_S)

    async def credit(self, secret: bytes, amount: int, key: bytes) -> Any:
        """A row that an issuer hands over until it is settled, on whichever process takes it."""
        row = mine(amount, key)
        issuer = self._ledgers.setdefault(secret, Issuer(self.server(self.mints[0]), secret))
        first = issuer.seq
        while True:
            # Its ledger ends behind the row.
            issuer.seq = first + 1
            try:
                async with asyncio.timeout(5):
                    await issuer.begin()
                    results = await issuer.ask(issuer.credits(row, first_seq=first))
                issuer.link.close()
                assert results == CreditResults(first, ()), results
                return row
            except (ConnectionLost, TimeoutError, OSError):
                await asyncio.sleep(PAUSE_S)

    def audit(self) -> None:
        """The mint's books agree."""
        findings = audit(self.site.state, ["mint"], required=True)
        assert findings.ok, (findings.detail(), findings.examples)


@contextmanager
def mint_row(
    directory: Path,
    engine: Engine,
    processes: int,
    issuers: int = 1,
    settings: Mapping[str, str] = UNLIMITED,
) -> Iterator[MintRow]:
    """A row on a store of an engine, with settings besides; neither outlives the context."""
    if engine == "sqlite":
        with Site(directory) as site:
            yield MintRow(site, None, 1, issuers, settings)
        return
    with PostgresServer() as postgres, Site(directory) as site:
        yield MintRow(site, postgres, processes, issuers, settings)
