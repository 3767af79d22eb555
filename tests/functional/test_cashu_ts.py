"""cashu-ts, the library of most web wallets, against our mint: every scene of tests/clients is a test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from protocols.bitcoin.secp256k1 import public_key
from tests.functional.development import Development
from tests.functional.foreign import Played, play, scenes
from tests.functional.mint_peer import Issuer, Wallet, mine
from tests.functional.processes import Daemon, Site
from tests.functional.sv2_peer import Server

pytestmark = pytest.mark.functional

ISSUER = bytes(31) + b"\x51"
LATER = {"a_spent_proof_is_told_at_once_to_who_waits_for_it"}
"""Scenes that need what the mint does not offer yet."""
AMOUNTS = {64: 12, 100: 12, 128: 12}
"""Quotes for the scenes: how many of which amount."""


class Mint:
    """A mint with an issuer of its own."""

    def __init__(self, site: Site) -> None:
        self._development = Development(site, issuers=(public_key(ISSUER),))
        unbounded = {f"http__{kind}_per_s": "0" for kind in ("requests", "quotes", "exchanges", "checks")}
        self.daemon: Daemon = self._development.daemon("mint", **unbounded)

    @property
    def url(self) -> str:
        """Where wallets are served."""
        return f"http://{self.daemon.settings['http_address']}"

    async def ehash(self) -> dict[str, Any]:
        """What a script is told for the issuer's unit: quotes that shares have made, and the key to them."""
        server = Server.of(self.daemon, "issuance_address", self._development.keys.mint, "issuance")
        issuer = await Issuer(server, ISSUER).begin()
        async with aiohttp.ClientSession() as session:
            wallet = await Wallet(session, self.url, issuer.identity).begin()
            rows = [
                (amount, mine(amount, wallet.key)) for amount, count in AMOUNTS.items() for _ in range(count)
            ]
            assert not (await issuer.credit(*(row for _, row in rows))).results
            quotes = [{"quote": wallet.quote(row), "amount": amount} for amount, row in rows]
        issuer.link.close()
        return {
            "url": self.url,
            "unit": wallet.keyset.unit,
            "method": "ehash",
            "privkey": wallet.secret.hex(),
            "quotes": quotes,
        }


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def mint(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mint]:
    with Site(tmp_path_factory.mktemp("cashu_ts")) as site:
        made = Mint(site)
        await made.daemon.started()
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def on_ehash(mint: Mint, tmp_path_factory: pytest.TempPathFactory) -> Played:
    place: Path = tmp_path_factory.mktemp("play")
    wanted = [scene for scene in scenes("any_unit") if scene not in LATER]
    return await play(place, "any_unit", await mint.ehash(), wanted)


@pytest.mark.parametrize("scene", [scene for scene in scenes("any_unit") if scene not in LATER])
def test_on_ehash(on_ehash: Played, scene: str) -> None:
    on_ehash.check(scene)
