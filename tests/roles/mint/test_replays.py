"""NUT-19 from the store: the same request gets the same answer, whatever has happened since."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.lock import Lock
from protocols.cashu.unlocking import Keyring, unlock
from tests.roles.mint.house import NOW
from tests.roles.mint.lightning.bank import foreign_invoice
from tests.roles.mint.shop import Shop, open_shop

OWNER = b"\x71" * 32
Make = Callable[[Shop], Awaitable[dict[str, Any]]]


async def _swap(shop: Shop) -> dict[str, Any]:
    return shop.house.swap(await shop.house.tokens(1, 2))


async def _locked_swap(shop: Shop) -> dict[str, Any]:
    proofs = await shop.house.tokens(1, secrets=[Lock((public_key(OWNER),)).secret(bytes(32))])
    return shop.house.swap(unlock(proofs, Keyring((OWNER,)), now=NOW, aux=bytes(32)))


async def _mint(shop: Shop) -> dict[str, Any]:
    (quote,) = await shop.house.credit(3)
    return shop.house.claim(quote, shop.house.basket(1, 2))


async def _part_of_a_quote(shop: Shop) -> dict[str, Any]:
    (quote,) = await shop.house.credit(3)
    return shop.house.claim(quote, shop.house.basket(1))


async def _batch(shop: Shop) -> dict[str, Any]:
    return shop.house.batch(await shop.house.credit(1, 2), shop.house.basket(1, 2))


async def _sats(shop: Shop) -> dict[str, Any]:
    return shop.bank.claim(await shop.bank.paid(3), shop.bank.basket(1, 2))


async def _melt(shop: Shop) -> dict[str, Any]:
    quote = await shop.bank.melt_quote(foreign_invoice(8_000))
    return shop.bank.melt(quote, await shop.bank.tokens(8, 2), shop.bank.basket(1))


ROUTES: list[tuple[str, Make]] = [
    ("/v1/swap", _swap),
    ("/v1/swap", _locked_swap),
    ("/v1/mint/ehash", _mint),
    ("/v1/mint/ehash", _part_of_a_quote),
    ("/v1/mint/ehash/batch", _batch),
    ("/v1/mint/bolt11", _sats),
    ("/v1/melt/bolt11", _melt),
]


async def _later(shop: Shop) -> None:
    """A year later all keysets are over and the mint issues nothing."""
    shop.house.clock.now += 31_536_000
    for keyset in list(shop.house.book):
        shop.house.book.add(replace(keyset, active=False, final_expiry=NOW + 1))
    await shop.bank.halts.stop("issuing", "a test")


@pytest.mark.parametrize(("path", "make"), ROUTES, ids=[make.__name__ for _, make in ROUTES])
async def test_a_request_that_was_carried_out_is_answered_again_the_same_for_ever(
    tmp_path: Path, path: str, make: Make
) -> None:
    async with open_shop(tmp_path) as shop:
        body = await make(shop)
        first = await shop.post(path, body)
        assert first[0] == 200
        before = await shop.house.totals(), await shop.bank.totals()
        assert await shop.post(path, body) == first
        await _later(shop)
        assert await shop.post(path, body) == first
        assert await shop.post(path, dict(reversed(body.items()))) == first
        assert (await shop.house.totals(), await shop.bank.totals()) == before
    async with open_shop(tmp_path) as shop:
        assert await shop.post(path, body) == first


@pytest.mark.parametrize(("path", "make"), ROUTES, ids=[make.__name__ for _, make in ROUTES])
async def test_a_request_that_asks_for_anything_else_is_another_request(
    tmp_path: Path, path: str, make: Make
) -> None:
    async with open_shop(tmp_path) as shop:
        body = await make(shop)
        assert (await shop.post(path, body))[0] == 200
        fresh = shop.bank.basket if "bolt11" in path else shop.house.basket
        others = fresh(*(output["amount"] for output in body["outputs"])).outputs
        status, answer = await shop.post(path, body | {"outputs": [output.to_json() for output in others]})
        assert (status, answer["code"]) in {(400, 11001), (400, 20002), (400, 20006), (400, 20008)}


async def test_a_wallet_that_signs_its_request_anew_gets_its_answer_too(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        body = await _locked_swap(shop)
        first = await shop.post("/v1/swap", body)
        anew = dict(body["inputs"][0])
        del anew["witness"]
        assert await shop.post("/v1/swap", body | {"inputs": [anew]}) == first


async def test_what_was_refused_is_judged_anew(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        quote = await shop.bank.quote(1)
        body = shop.bank.claim(quote, shop.bank.basket(1))
        assert (await shop.post("/v1/mint/bolt11", body))[0] == 400
        shop.bank.pay(quote)
        assert (await shop.post("/v1/mint/bolt11", body))[0] == 200


async def test_the_information_lists_every_path_whose_answers_are_kept(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        _, info = await shop.get("/v1/info")
        told = info["nuts"]["19"]
        assert told["ttl"] is None
        assert {each["method"] for each in told["cached_endpoints"]} == {"POST"}
        kept = {path for path, _ in ROUTES} | {"/v1/mint/bolt11/batch"}
        assert kept <= {each["path"] for each in told["cached_endpoints"]}
