"""cashu-ts, the library of most web wallets, against our mint: every scene of tests/clients is a test."""

from collections.abc import AsyncIterator, Awaitable, Callable
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
LATER = {
    "a_spent_proof_is_told_at_once_to_who_waits_for_it",
    "a_quote_that_is_asked_for_until_it_is_paid_is_minted",
}
"""Scenes that need what the mint does not offer yet."""
AMOUNTS = {64: 12, 100: 12, 128: 12}
"""Quotes for the scenes: how many of which amount."""


class Mint:
    """A mint with an issuer of its own."""

    def __init__(self, site: Site) -> None:
        self._development = Development(site, issuers=(public_key(ISSUER),))
        unbounded = {f"http__{kind}_per_s": "0" for kind in ("requests", "quotes", "exchanges", "checks")}
        sats = {
            "bolt11__backend": "fake",
            "bolt11__input_fee_ppk": "100",
            "bolt11__fake__pays_after_s": "0.3",
        }
        self.daemon: Daemon = self._development.daemon("mint", **unbounded | sats)

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

    @property
    def sat(self) -> dict[str, Any]:
        """What a script is told for sats."""
        return {"url": self.url, "unit": "sat", "method": "bolt11"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def mint(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Mint]:
    with Site(tmp_path_factory.mktemp("cashu_ts")) as site:
        made = Mint(site)
        await made.daemon.started()
        yield made


Playing = Callable[[str, dict[str, Any]], Awaitable[Played]]


def named(script: str) -> list[str]:
    """The scenes of a script that are played."""
    return [scene for scene in scenes(script) if scene not in LATER]


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Playing:
    """Plays all scenes of a script."""

    async def playing(script: str, told: dict[str, Any]) -> Played:
        return await play(tmp_path_factory.mktemp("play"), script, told, named(script))

    return playing


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def on_ehash(mint: Mint, playing: Playing) -> Played:
    return await playing("any_unit", await mint.ehash())


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def on_sat(mint: Mint, playing: Playing) -> Played:
    return await playing("any_unit", mint.sat)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def of_sats(mint: Mint, playing: Playing) -> Played:
    return await playing("sat", mint.sat)


@pytest.mark.parametrize("scene", named("any_unit"))
def test_on_ehash(on_ehash: Played, scene: str) -> None:
    on_ehash.check(scene)


@pytest.mark.parametrize("scene", named("any_unit"))
def test_on_sat(on_sat: Played, scene: str) -> None:
    on_sat.check(scene)


@pytest.mark.parametrize("scene", named("sat"))
def test_of_sats(of_sats: Played, scene: str) -> None:
    of_sats.check(scene)
