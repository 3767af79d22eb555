"""A mint on either engine is killed at each of its crash points, and again when it recovers; who insists on
the identical request gets its signatures.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import aiohttp
import pytest

from roles.runtime.crash import POINTS, VARIABLE
from tests.functional.mint_peer import Wallet
from tests.functional.mint_row import MintRow, mint_row

pytestmark = pytest.mark.functional

MINE: Final = tuple(
    name for name in POINTS if name.startswith("mint.") and not name.startswith(("mint.invoice", "mint.melt"))
)
"""Those of ehash and swaps; what Lightning adds has tests of its own."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def row(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MintRow]:
    directory = tmp_path_factory.mktemp(request.param)
    with mint_row(directory, request.param, 1, issuers=len(MINE)) as made:
        asyncio.run(made.start())
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as opened:
        yield opened


async def life(row: MintRow, session: aiohttp.ClientSession, wallet: Wallet, issuer: int) -> list[Any]:
    """A share, its tokens, and a swap of them, each insisted on; gives requests with their answers."""
    share = await row.credit(row.issuers[issuer], 8, wallet.key)
    minted = wallet.basket(4, 4)
    claim = wallet.claim(wallet.quote(share), minted)
    tokens = await row.insist(session, "/v1/mint/ehash", claim)
    fresh = wallet.basket(8)
    swap = wallet.swap(wallet.open(minted, tokens), fresh)
    swapped = await row.insist(session, "/v1/swap", swap)
    assert len(wallet.open(fresh, swapped)) == 1
    return [("/v1/mint/ehash", claim, tokens), ("/v1/swap", swap, swapped)]


@pytest.mark.parametrize("name", MINE)
async def test_a_mint_killed_there_answers_whoever_insists(
    row: MintRow, session: aiohttp.ClientSession, name: str
) -> None:
    (mint,) = row.mints
    if not mint.is_running:
        await mint.started()
    wallet = await row.wallet(session, MINE.index(name))
    mint.kill()
    seen = len(mint.log)
    mint.start(**{VARIABLE: name})
    living = asyncio.create_task(life(row, session, wallet, MINE.index(name)))
    assert await mint.ended(20) == -signal.SIGKILL
    assert mint.log.count(f"crash point {name}\n", seen) == 1
    # What is done already does not pass the point again.
    mint.start(**{VARIABLE: name})
    dying = asyncio.create_task(mint.ended(20))
    await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
    if not living.done():
        mint.start()
    async with asyncio.timeout(20):
        answered = await living
    dying.cancel()
    for path, body, answer in answered:
        assert await row.insist(session, path, body) == answer
    row.audit()
