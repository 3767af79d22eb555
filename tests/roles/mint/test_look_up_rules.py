"""The newest draft of the look-up by key, point by point, against the real API."""

from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key, schnorr_sign
from protocols.cashu import lookup
from tests.roles.mint.house import MINER, NOW
from tests.roles.mint.shop import Shop, open_shop

OTHER = b"\x77" * 32
PATH = "/v1/mint/quote/ehash/pubkey"


def _ask(shop: Shop, *secrets: bytes, at: int = NOW, **changes: object) -> dict[str, Any]:
    mint_key = shop.house.seed.info_key
    return {
        "pubkeys": [public_key(secret).hex() for secret in secrets],
        "pubkey_signatures": [
            lookup.sign(secret, mint_key, public_key(secret), at, bytes(32)).hex() for secret in secrets
        ],
        "timestamp": at,
    } | changes


async def test_the_signed_text_is_that_of_the_draft(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        await shop.house.credit(1)
        _, info = await shop.get("/v1/info")
        key = public_key(MINER).hex()
        text = f"Cashu_MintQuoteLookup_v1{info['pubkey']}{key}{NOW}"
        signature = schnorr_sign(MINER, sha256(text.encode()), bytes(32)).hex()
        body = {"pubkeys": [key], "pubkey_signatures": [signature], "timestamp": NOW}
        status, answer = await shop.post(PATH, body)
        assert status == 200
        assert [quote["pubkey"] for quote in answer["quotes"]] == [key]
        assert answer["next_cursor"] is None
        older = schnorr_sign(
            MINER, sha256(f"Cashu_MintQuoteLookup_v1{info['pubkey']}{key}".encode()), bytes(32)
        )
        status, answer = await shop.post(PATH, body | {"pubkey_signatures": [older.hex()]})
        assert (status, answer["code"]) == (400, 20008)


@pytest.mark.parametrize(
    ("timestamp", "words"),
    [
        (None, "no timestamp"),
        (-1, "not a non-negative integer"),
        (1.5, "not a non-negative integer"),
        (str(NOW), "not a non-negative integer"),
        (True, "not a non-negative integer"),
        (NOW - 301, "more than 300 s"),
        (NOW + 301, "more than 300 s"),
    ],
)
async def test_a_timestamp_that_will_not_do_is_named(tmp_path: Path, timestamp: object, words: str) -> None:
    async with open_shop(tmp_path) as shop:
        status, answer = await shop.post(PATH, _ask(shop, MINER, timestamp=timestamp))
        assert (status, answer["code"]) == (400, 20008)
        assert words in answer["detail"]


async def test_the_window_includes_both_of_its_ends(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        for at in (NOW - 300, NOW + 300):
            assert (await shop.post(PATH, _ask(shop, MINER, at=at)))[0] == 200


async def test_shapes_are_refused_before_any_signature_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_shop(tmp_path) as shop:
        good = _ask(shop, MINER, OTHER)
        wrong: list[tuple[dict[str, Any], int]] = [
            ({"pubkeys": [], "pubkey_signatures": []}, 0),
            ({"pubkey_signatures": good["pubkey_signatures"][:1]}, 0),
            ({"pubkeys": good["pubkeys"][:1] * 2}, 11017),
            ({"pubkeys": good["pubkeys"] * 26, "pubkey_signatures": good["pubkey_signatures"] * 26}, 11017),
            ({"limit": 0}, 0),
            ({"limit": -1}, 0),
            ({"limit": 1.5}, 0),
            ({"limit": "5"}, 0),
            ({"limit": True}, 0),
            ({"cursor": "no cursor"}, 0),
            ({"timestamp": NOW - 301}, 20008),
        ]

        def no_signature(*_: object) -> bool:
            pytest.fail("a signature was checked")

        monkeypatch.setattr(lookup, "verify", no_signature)
        for change, code in wrong:
            status, answer = await shop.post(PATH, good | change)
            assert (change, status, answer["code"]) == (change, 400, code)


async def test_one_signature_that_fails_fails_the_whole_request(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        await shop.house.credit(1)
        good = _ask(shop, MINER, OTHER)
        swapped = good["pubkey_signatures"][::-1]
        status, answer = await shop.post(PATH, good | {"pubkey_signatures": swapped})
        assert (status, answer["code"]) == (400, 20008)
        assert "quotes" not in answer


async def test_every_state_is_told_and_expiry_excludes_nothing(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        bank, key = shop.bank, public_key(OTHER).hex()
        await bank.quote(1, pubkey=key)
        await bank.paid(1, pubkey=key)
        issued = await bank.paid(1, pubkey=key)
        await bank.teller.mint(bank.claim(issued, bank.basket(1), OTHER), "bolt11")
        shop.house.clock.now += 1_000_000
        body = _ask(shop, OTHER, at=NOW + 1_000_000)
        _, answer = await shop.post("/v1/mint/quote/bolt11/pubkey", body)
        assert sorted(quote["state"] for quote in answer["quotes"]) == ["ISSUED", "PAID", "UNPAID"]
        _, other_method = await shop.post(PATH, body)
        assert other_method == {"quotes": [], "next_cursor": None}
        _, mintable = await shop.post("/v1/mint/quote/bolt11/pubkey", body | {"only_mintable": True})
        assert [quote["state"] for quote in mintable["quotes"]] == ["PAID"]


async def test_pages_follow_the_order_of_ids_and_every_one_needs_a_fresh_signature(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        quotes = await shop.house.credit(*[1] * 5)
        found: list[str] = []
        cursor: str | None = None
        for number in range(5):
            shop.house.clock.now = NOW + 400 * number
            body = _ask(shop, MINER, at=NOW + 400 * number, limit=1, cursor=cursor)
            _, page = await shop.post(PATH, body)
            found += [quote["quote"] for quote in page["quotes"]]
            cursor = page["next_cursor"]
            assert (cursor is None) == (number == 4)
        assert found == sorted(quote.quote_id for quote in quotes)
        status, answer = await shop.post(PATH, _ask(shop, MINER, at=NOW, cursor=None))
        assert (status, answer["code"]) == (400, 20008)


async def test_a_cursor_is_bound_to_its_method_and_keys_and_opens_nothing_by_itself(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        await shop.house.credit(1, 1)
        _, page = await shop.post(PATH, _ask(shop, MINER, limit=1))
        cursor = page["next_cursor"]
        for path, body in (
            ("/v1/mint/quote/bolt11/pubkey", _ask(shop, MINER, cursor=cursor)),
            (PATH, _ask(shop, OTHER, cursor=cursor)),
            (PATH, _ask(shop, MINER, OTHER, cursor=cursor)),
            (PATH, _ask(shop, MINER, cursor=cursor + "A")),
        ):
            status, answer = await shop.post(path, body)
            assert (status, answer["code"]) == (400, 0)
        status, answer = await shop.post(
            PATH, _ask(shop, MINER, cursor=cursor) | {"pubkey_signatures": ["00" * 64]}
        )
        assert (status, answer["code"]) == (400, 20008)


async def test_a_signature_of_a_look_up_mints_nothing(tmp_path: Path) -> None:
    async with open_shop(tmp_path) as shop:
        (quote,) = await shop.house.credit(1)
        claim = shop.house.claim(quote, shop.house.basket(1))
        claim["signature"] = _ask(shop, MINER)["pubkey_signatures"][0]
        status, answer = await shop.post("/v1/mint/ehash", claim)
        assert (status, answer["code"]) == (400, 20008)
