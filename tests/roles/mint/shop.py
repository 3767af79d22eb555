"""A mint with ehash and sats behind its HTTP API, as wallets meet it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from prometheus_client import CollectorRegistry

from protocols.bitcoin.secp256k1 import public_key
from roles.mint.api import MintApi, Refusals
from roles.mint.info import MintInfo
from roles.mint.melting.api import MeltApi
from roles.runtime.http import HttpBounds, HttpServer
from shared_config.address import Address
from shared_config.mint import InfoSettings
from tests.roles.mint.house import House, open_house
from tests.roles.mint.lightning.bank import Bank, open_bank


@dataclass
class Shop:
    """The API at `url`, what stands behind it, and a client."""

    bank: Bank
    url: str
    session: aiohttp.ClientSession

    @property
    def house(self) -> House:
        return self.bank.house

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        """Status and answer of a request; bytes go as they are, all else as JSON."""
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.session.post(self.url + path, data=data) as reply:
            return reply.status, await reply.json()

    async def get(self, path: str) -> tuple[int, Any]:
        async with self.session.get(self.url + path) as reply:
            return reply.status, await reply.json()


@asynccontextmanager
async def open_shop(directory: Path) -> AsyncIterator[Shop]:
    """The shop of a directory, without any bound on pace."""
    house = await open_house(directory)
    bank = await open_bank(house, directory)
    info = MintInfo(
        InfoSettings(),
        "http://mint.example",
        house.seed.info_key,
        public_key(house.seed.quote_secret),
        house.sizes,
        house.clock,
        methods=tuple(bank.teller.methods.values()),
    )
    server = HttpServer(HttpBounds(), CollectorRegistry(), translate=Refusals(house.meters))
    MintApi(bank.teller, house.book, info).add_routes(server)
    MeltApi(bank.desk).add_routes(server)
    where = await server.start(Address("127.0.0.1", 0))
    try:
        async with aiohttp.ClientSession() as session:
            yield Shop(bank, f"http://{where}", session)
    finally:
        await server.close()
        await bank.lightning.backend.close()
        house.signatory.close()
        await asyncio.to_thread(house.database.close)
