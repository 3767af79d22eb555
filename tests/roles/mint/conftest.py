import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from protocols.bitcoin.secp256k1 import public_key
from roles.mint.api import MintApi, Refusals
from roles.mint.info import MintInfo
from roles.mint.request import Sizes
from roles.runtime.http import HttpBounds, HttpServer
from roles.runtime.storage import Server
from shared_config.address import Address
from shared_config.mint import InfoSettings
from tests.postgres_server import PostgresServer
from tests.roles.mint.house import House, open_house


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """A mint on each engine."""
    server = None
    if request.param == "postgresql":
        running: PostgresServer = request.getfixturevalue("postgres")
        server = Server(running.create_schema(), writers=2, readers=1)
    opened = await open_house(tmp_path, server=server)
    yield opened
    opened.signatory.close()
    await asyncio.to_thread(opened.database.close)


@pytest.fixture
async def url(house: House) -> AsyncIterator[str]:
    """Where the house serves HTTP."""
    info = MintInfo(
        InfoSettings(name="a mint", description="for tests", contact_email="operator@example.org"),
        "http://mint.example",
        house.seed.info_key,
        public_key(house.seed.quote_secret),
        Sizes(),
        house.clock,
    )
    server = HttpServer(
        HttpBounds(body_bytes=50_000), house.registry, translate=Refusals(house.meters), cors=True
    )
    MintApi(house.teller, house.book, info).add_routes(server)
    where = await server.start(Address("127.0.0.1", 0))
    yield f"http://{where}"
    await server.close()
