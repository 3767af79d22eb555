"""A mint on either engine is killed at each of its crash points, and again when it recovers; who insists on
the identical request gets its signatures.
"""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from functools import partial
from typing import Any, Final

import aiohttp
import pytest

from protocols.cashu.errors import PaymentFailedError
from roles.runtime.crash import POINTS, VARIABLE
from tests.functional.mint_peer import Wallet
from tests.functional.mint_row import MintRow, mint_row
from tests.functional.sat_wallet import SatWallet, points

pytestmark = pytest.mark.functional

APART: Final = ("mint.invoice", "mint.melt", "mint.compaction")
MINE: Final = tuple(name for name in POINTS if name.startswith("mint.") and not name.startswith(APART))
"""Those of ehash and swaps; what time alone brings has tests of its own."""
SATS: Final = tuple(name for name in POINTS if name.startswith(("mint.invoice-", "mint.melt-")))
"""Those of Lightning."""
SETTINGS: Final = {
    # How long a payment that a killed process may have sent is waited for.
    "bolt11__call_s": "0.3",
    "bolt11__pay_s": "0.3",
    "bolt11__fake__pays_after_s": "3600",
    # A payment passes its own point then, and not that of its minting.
    "bolt11__count_after_s": "0",
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def row(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MintRow]:
    directory = tmp_path_factory.mktemp(request.param)
    with mint_row(directory, request.param, 1, len(MINE), SETTINGS) as made:
        asyncio.run(made.start())
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as opened:
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


async def sat_life(row: MintRow, session: aiohttp.ClientSession, wallet: SatWallet, name: str) -> list[Any]:
    """Sats paid in and out, each request insisted on; the last one is that which passes the point."""
    tokens = await wallet.tokens(4, 8)
    fails = name == "mint.melt-given-up"
    if name == "mint.melt-own-durable":
        own = await wallet.send("/v1/mint/quote/bolt11", {"amount": 10, "unit": "sat"})
        asked = {"unit": "sat", "request": own["request"]}
        quote = await wallet.send("/v1/melt/quote/bolt11", asked)
    else:
        quote = await wallet.melt_quote(10, "fake: failed" if fails else "")
    basket = wallet.wallet.basket(1, 1)
    body = wallet.wallet.swap(tokens, basket) | {"quote": quote["quote"]}
    if fails:
        assert await row.fails(session, "/v1/melt/bolt11", body) == PaymentFailedError.code
        answer = await wallet.send("/v1/checkstate", {"Ys": points(tokens)})
        assert {each["state"] for each in answer["states"]} == {"UNSPENT"}
        return [("/v1/checkstate", {"Ys": points(tokens)}, answer)]
    answer = await wallet.send("/v1/melt/bolt11", body)
    assert answer["state"] == "PAID"
    assert sum(proof.amount for proof in wallet.change(basket, answer)) in {1, 2}
    return [("/v1/melt/bolt11", body, answer)]


@pytest.mark.parametrize("name", SATS)
async def test_a_mint_killed_while_it_is_paid_or_pays_does_it_once(
    row: MintRow, session: aiohttp.ClientSession, name: str
) -> None:
    (mint,) = row.mints
    if not mint.is_running:
        await mint.started()
    wallet = await SatWallet.begin(row, session, partial(row.insist, session))
    await survive(row, session, name, sat_life(row, session, wallet, name))
    paid = [json.loads(line) for line in (mint.state / "fake_lightning.jsonl").read_text().splitlines()]
    hashes = [each["hash"] for each in paid if not each["fails"]]
    assert len(set(hashes)) == len(hashes), "an invoice was paid twice"


@pytest.mark.parametrize("name", MINE)
async def test_a_mint_killed_there_answers_whoever_insists(
    row: MintRow, session: aiohttp.ClientSession, name: str
) -> None:
    (mint,) = row.mints
    if not mint.is_running:
        await mint.started()
    wallet = await row.wallet(session, MINE.index(name))
    await survive(row, session, name, life(row, session, wallet, MINE.index(name)))


async def survive(
    row: MintRow, session: aiohttp.ClientSession, name: str, life: Coroutine[Any, Any, list[Any]]
) -> None:
    """A life through a kill at a point, and another where it is passed again."""
    (mint,) = row.mints
    mint.kill()
    seen = len(mint.log)
    mint.start(**{VARIABLE: name})
    living = asyncio.create_task(life)
    assert await mint.ended(20) == -signal.SIGKILL
    assert mint.log.count(f"crash point {name}\n", seen) == 1
    # What is done already does not pass the point again.
    mint.start(**{VARIABLE: name})
    dying = asyncio.create_task(mint.ended(20))
    await asyncio.wait({living, dying}, return_when=asyncio.FIRST_COMPLETED)
    if not living.done():
        mint.start()
    async with asyncio.timeout(60):
        answered = await living
    dying.cancel()
    for path, body, answer in answered:
        assert await row.insist(session, path, body) == answer
    row.audit()
