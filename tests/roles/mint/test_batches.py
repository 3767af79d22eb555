"""NUT-29 point by point, with the cases of the specification, against the real API."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import quote_signature
from roles.mint.quote import Quote
from tests.roles.mint.house import MINER, Basket
from tests.roles.mint.shop import Shop, open_shop

NUT29: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/cashu/nut29.json").read_text())
OWNER = b"\x71" * 32
SATS = "/v1/mint/bolt11/batch"
EHASH = "/v1/mint/ehash/batch"


def _body(quotes: list[Quote], basket: Basket, **more: object) -> dict[str, Any]:
    return {
        "quotes": [quote.quote_id for quote in quotes],
        "outputs": [output.to_json() for output in basket.outputs],
    } | more


def _signed(quotes: list[Quote], basket: Basket, *secrets: bytes | None) -> list[str | None]:
    return [
        None
        if secret is None
        else quote_signature.sign(secret, quote.quote_id, basket.outputs, bytes(32)).hex()
        for quote, secret in zip(quotes, secrets, strict=True)
    ]


async def _issued(shop: Shop) -> tuple[int, int]:
    """What was issued of sats and of ehash."""
    return (await shop.bank.totals())[0], (await shop.house.totals())[0]


@pytest.mark.parametrize("case", NUT29["cases"], ids=lambda case: str(case["name"]))
async def test_the_cases_of_the_specification(tmp_path: Path, case: dict[str, Any]) -> None:
    async with open_shop(tmp_path) as shop:
        request, expect = case["request"], case["expect"]
        names = list(dict.fromkeys(request["quotes"]))
        amounts = request.get("quote_amounts", [5, 3])
        foreign = case.get("quote_methods", [])
        known: dict[str, str] = {}
        for index, name in enumerate(names):
            if name in {"bogus", "unknown-2", "unknown_quote_id"}:
                known[name] = name
            elif index < len(foreign) and foreign[index] != "bolt11":
                known[name] = (await shop.house.credit(amounts[index]))[0].quote_id
            else:
                known[name] = (await shop.bank.paid(amounts[index % len(amounts)])).quote_id
        outputs = [
            output.to_json()
            for template in request.get("outputs", [{"amount": 8}])
            for output in shop.bank.basket(template["amount"]).outputs
        ]
        body = request | {"quotes": [known[name] for name in request["quotes"]], "outputs": outputs}
        if case.get("endpoint") == "check":
            del body["outputs"]
            status, answer = await shop.post("/v1/mint/quote/bolt11/check", body)
        else:
            status, answer = await shop.post(SATS, body)
        if expect["ok"]:
            assert status == 200
            assert [item["amount"] for item in answer["signatures"]] == [item["amount"] for item in outputs]
        else:
            assert status == 400
            assert answer["code"] == expect.get("code", answer["code"])
            assert await _issued(shop) == (0, 0)


async def test_signatures_come_in_the_order_of_the_outputs_and_quotes_give_what_is_asked(
    tmp_path: Path,
) -> None:
    async with open_shop(tmp_path) as shop:
        quotes = [await shop.bank.paid(5), await shop.bank.paid(3)]
        basket = shop.bank.basket(4, 1, 2)
        status, answer = await shop.post(SATS, _body(quotes, basket, quote_amounts=[5, 2]))
        assert status == 200
        assert [item["amount"] for item in answer["signatures"]] == [4, 1, 2]
        _, told = await shop.post(
            "/v1/mint/quote/bolt11/check", {"quotes": [q.quote_id for q in quotes[::-1]]}
        )
        assert [(item["quote"], item["amount_issued"]) for item in told] == [
            (quotes[1].quote_id, 2),
            (quotes[0].quote_id, 5),
        ]


async def test_locked_and_open_quotes_mix_with_a_signature_for_each_that_is_locked(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        quotes = [await shop.bank.paid(1), await shop.bank.paid(1, pubkey=public_key(OWNER).hex())]
        basket = shop.bank.basket(2)
        wrong: list[list[str | None] | None] = [
            None,
            [None, None],
            _signed(quotes, basket, OWNER, OWNER),
            _signed(quotes, basket, OWNER, None),
            _signed(quotes, basket, None, MINER),
            _signed(quotes, shop.bank.basket(2), None, OWNER),
        ]
        for signatures in wrong:
            status, answer = await shop.post(SATS, _body(quotes, basket, signatures=signatures))
            assert (status, answer["code"]) == (400, 20008)
        assert await _issued(shop) == (0, 0)
        good = _signed(quotes, basket, None, OWNER)
        assert (await shop.post(SATS, _body(quotes, basket, signatures=good)))[0] == 200


async def test_the_older_form_of_the_signature_is_taken_for_each_quote_by_itself(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        quotes, basket = await shop.house.credit(1, 1), shop.house.basket(2)
        first = quote_signature.sign_legacy(MINER, quotes[0].quote_id, basket.outputs, bytes(32)).hex()
        second = quote_signature.sign(MINER, quotes[1].quote_id, basket.outputs, bytes(32)).hex()
        assert (await shop.post(EHASH, _body(quotes, basket, signatures=[first, second])))[0] == 200


async def test_a_quote_that_cannot_be_minted_refuses_the_whole_batch(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        paid, unpaid, empty = await shop.bank.paid(2), await shop.bank.quote(2), await shop.bank.paid(2)
        await shop.bank.teller.mint(shop.bank.claim(empty, shop.bank.basket(2)), "bolt11")
        for other, code in ((unpaid, 20001), (empty, 20002), (replace(paid, quote_id="x" * 200), 0)):
            status, answer = await shop.post(SATS, _body([paid, other], shop.bank.basket(4)))
            assert (status, answer["code"]) == (400, code)
        assert (await shop.bank.teller.quote(paid.quote_id, "bolt11")).amount_issued == 0


async def test_fixed_paths_win_over_quote_ids(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        for path in ("check", "pubkey"):
            status, answer = await shop.post(f"/v1/mint/quote/bolt11/{path}", {})
            assert status == 400
            assert "not known" not in answer["detail"]


async def test_the_information_tells_the_largest_batch_and_the_methods(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        _, info = await shop.get("/v1/info")
        assert info["nuts"]["29"] == {"max_batch_size": 100, "methods": ["ehash", "bolt11"]}
