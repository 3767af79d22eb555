from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import lookup
from protocols.cashu.curve import secret_point
from protocols.cashu.keyset import Keyset
from roles.mint import description
from roles.mint.api import MintApi
from roles.mint.info import MintInfo
from roles.mint.melting.api import MeltApi
from roles.mint.request import Sizes
from roles.runtime.http import HttpBounds, HttpServer
from shared_config.mint import InfoSettings
from tests.roles.mint.house import MINER, NOW, House


@dataclass
class Api:
    house: House
    url: str
    session: aiohttp.ClientSession

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(self.url + path, headers=names) as reply:
            return reply.status, await reply.json()

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        async with self.session.post(self.url + path, data=data) as reply:
            return reply.status, await reply.json()

    async def refused(self, path: str, body: object) -> int:
        """The code of a refusal, which comes with HTTP 400 and a sentence."""
        status, answer = await self.post(path, body)
        assert status == 400
        assert answer["detail"]
        assert set(answer) == {"detail", "code"}
        return int(answer["code"])


@pytest.fixture
async def api(house: House, url: str) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(house, url, session)


async def test_info_names_keys_limits_and_what_is_offered(api: Api) -> None:
    status, info = await api.get("/v1/info")
    assert status == 200
    assert info["pubkey"] == api.house.seed.info_key.hex()
    assert info["quote_key"] == public_key(api.house.seed.quote_secret).hex()
    assert info["max_array_length"] == 1000
    assert info["time"] == NOW
    assert info["version"].startswith("hashpool/")
    assert info["contact"] == [{"method": "email", "info": "operator@example.org"}]
    units = [method["unit"] for method in info["nuts"]["4"]["methods"]]
    assert units == [keyset.unit for keyset in api.house.book]
    assert {method["method"] for method in info["nuts"]["4"]["methods"]} == {"ehash"}
    assert info["nuts"]["5"]["disabled"] is True
    assert info["nuts"]["29"] == {"max_batch_size": 100, "methods": ["ehash"]}
    assert info["nuts"]["XX"]["max_pubkeys"] == 50
    assert info["nuts"]["19"]["ttl"] is None
    assert info["nuts"]["17"]["supported"] == [
        {"method": "ehash", "unit": unit, "commands": ["ehash_mint_quote", "proof_state"]} for unit in units
    ]


async def test_keys_commit_to_their_ids_and_hold_every_power_of_two(api: Api) -> None:
    _, active = await api.get("/v1/keys")
    keysets = [Keyset.from_json(item) for item in active["keysets"]]
    assert list(keysets[0].keys) == [1 << exponent for exponent in range(53)]
    _, one = await api.get(f"/v1/keys/{keysets[0].keyset_id.upper()}")
    assert one["keysets"] == active["keysets"][:1]
    _, heads = await api.get("/v1/keysets")
    assert [head["id"] for head in heads["keysets"]] == [keyset.keyset_id for keyset in keysets]
    assert heads["keysets"][0]["active"] is True
    assert heads["keysets"][0]["final_expiry"] is None
    assert await api.get("/v1/keys/00ff") == (
        400,
        {"detail": "keyset 00ff is not known", "code": 12001},
    )


async def test_a_quote_goes_from_paid_to_token_to_fresh_token_over_http(api: Api) -> None:
    house = api.house
    (quote,) = await house.credit(5)
    _, told = await api.get(f"/v1/mint/quote/ehash/{quote.quote_id}")
    assert told["state"] == "PAID"
    assert (told["amount"], told["amount_paid"], told["amount_issued"]) == (5, 5, 0)
    assert (told["method"], told["unit"], told["expiry"]) == ("ehash", house.unit, None)
    assert told["pubkey"] == public_key(MINER).hex()
    assert len(told["request"]) == 64
    basket = house.basket(1, 4)
    status, minted = await api.post("/v1/mint/ehash", house.claim(quote, basket))
    assert status == 200
    assert [item["amount"] for item in minted["signatures"]] == [1, 4]
    assert set(minted["signatures"][0]["dleq"]) == {"e", "s"}
    _, checked = await api.post("/v1/mint/quote/ehash/check", {"quotes": [quote.quote_id]})
    assert [item["state"] for item in checked] == ["ISSUED"]
    signatures = await house.teller.mint(house.claim(quote, basket))
    proofs = basket.open(signatures, house.book)
    status, swapped = await api.post("/v1/swap", house.swap(proofs))
    assert status == 200
    assert sum(item["amount"] for item in swapped["signatures"]) == 5
    _, states = await api.post("/v1/checkstate", {"Ys": [secret_point(p.secret).hex() for p in proofs]})
    assert [state["state"] for state in states["states"]] == ["SPENT", "SPENT"]
    _, restored = await api.post("/v1/restore", {"outputs": [o.to_json() for o in basket.outputs]})
    assert restored["signatures"] == minted["signatures"]
    assert restored["outputs"] == [output.to_json() for output in basket.outputs]


async def test_the_identical_request_gets_the_identical_bytes(api: Api) -> None:
    house = api.house
    quotes = await house.credit(4, 2)
    requests = [
        ("/v1/mint/ehash", house.claim(quotes[0], house.basket(4))),
        ("/v1/mint/ehash/batch", house.batch(quotes[1:], house.basket(2))),
        ("/v1/swap", house.swap(await house.tokens(8))),
    ]
    for path, body in requests:
        answers = []
        for _ in range(3):
            async with api.session.post(api.url + path, json=body) as reply:
                assert reply.status == 200
                answers.append(await reply.read())
        assert answers[0] == answers[1] == answers[2]


async def test_nobody_makes_an_ehash_quote_over_http(api: Api) -> None:
    body = {"amount": 1, "unit": api.house.unit, "pubkey": public_key(MINER).hex()}
    assert await api.refused("/v1/mint/quote/ehash", body) == 20003
    assert await api.refused("/v1/mint/quote/bolt12", body) == 11013


async def test_refusals_carry_the_codes_of_the_nuts(api: Api) -> None:
    house = api.house
    first, second = await house.credit(4, 4)
    (proof,) = await house.tokens(4)
    other = next(keyset.keyset_id for keyset in house.book if keyset.unit != house.unit)
    good = house.claim(first, house.basket(4))
    output = house.basket(4).outputs[0].to_json()
    twice = {"outputs": [output | {"amount": 2}] * 2}
    mint, batch, swap = "/v1/mint/ehash", "/v1/mint/ehash/batch", "/v1/swap"
    swapping = house.swap([proof])
    many = [f"quote{number}" for number in range(101)]
    refusals: list[tuple[str, object, int]] = [
        (mint, [], 0),
        (mint, good | {"quote": 5}, 0),
        (mint, good | {"quote": "nobody"}, 0),
        (mint, good | {"outputs": [output | {"B_": "02" + "ff" * 32}]}, 20008),
        (mint, good | {"outputs": [output | {"B_": "04" + "ff" * 32}]}, 0),
        (mint, good | {"outputs": [output | {"amount": -4}]}, 0),
        (mint, good | {"outputs": [output | {"amount": 4.0}]}, 0),
        (mint, good | {"outputs": [output | {"amount": 3}]}, 11006),
        (mint, good | {"outputs": [output | {"amount": 1 << 53}]}, 11006),
        (mint, good | {"outputs": [output | {"amount": 8}]}, 11005),
        (mint, good | {"outputs": [output | {"id": "01" + "00" * 32}]}, 12001),
        (mint, good | {"outputs": [output | {"id": other}]}, 11010),
        (mint, good | twice, 11008),
        (mint, good | {"signature": None}, 20008),
        (mint, good | {"signature": "00" * 64}, 20008),
        (mint, good | {"signature": "00"}, 0),
        ("/v1/mint/bolt12", good, 11013),
        (batch, house.batch([first, second], house.basket(8), signatures=None), 20008),
        (batch, house.batch([first, first], house.basket(8)), 11016),
        (batch, {"quotes": many, "outputs": []}, 11017),
        (swap, swapping | {"inputs": []}, 0),
        (swap, swapping | {"inputs": [proof.to_json()] * 2}, 11007),
        (swap, swapping | {"outputs": [output | {"amount": 2}]}, 11005),
        (swap, swapping | {"inputs": [proof.to_json() | {"secret": "x"}]}, 10001),
        (swap, swapping | {"inputs": [proof.to_json() | {"id": other}]}, 11010),
        (swap, {"inputs": [{}] * 1001, "outputs": [output]}, 11014),
        (swap, swapping | {"outputs": [{}] * 1001}, 11015),
        ("/v1/checkstate", {"Ys": ["02"]}, 0),
        ("/v1/restore", {"outputs": []}, 0),
        ("/v1/mint/quote/ehash/check", {"quotes": ["nobody"]}, 0),
        ("/v1/mint/quote/ehash/pubkey", {"pubkeys": [], "pubkey_signatures": []}, 20008),
    ]
    for path, body, code in refusals:
        assert (path, body, await api.refused(path, body)) == (path, body, code)
    assert (await api.post(mint, good))[0] == 200
    assert await api.refused(mint, house.claim(first, house.basket(4))) == 20002
    assert await api.refused(mint, house.claim(second, house.basket(4)) | {"quote": first.quote_id}) == 20002
    assert (await api.post(swap, swapping))[0] == 200
    assert await api.refused(swap, house.swap([proof])) == 11001
    (fresh,) = await house.tokens(4)
    assert await api.refused(swap, swapping | {"inputs": [fresh.to_json()]}) == 11003
    assert house.metric("refusals_total", code="11003") == 1


async def test_a_body_that_is_no_json_too_large_or_nested_without_end_is_refused(api: Api) -> None:
    assert (await api.post("/v1/swap", b"{"))[0] == 400
    assert (await api.post("/v1/swap", b"[" * 40_000))[0] == 400
    status, answer = await api.post("/v1/swap", b" " * 50_001)
    assert status == 413
    assert set(answer) == {"detail", "code"}


async def test_a_quote_whose_name_no_store_could_hold_is_unknown(api: Api) -> None:
    assert (await api.get("/v1/mint/quote/ehash/a%00b"))[0] == 400
    assert (await api.post("/v1/mint/quote/ehash/check", {"quotes": ["a\0b"]}))[0] == 400


async def test_unknown_paths_and_methods_are_told_so_in_json(api: Api) -> None:
    assert (await api.get("/v1/nothing"))[0] == 404
    assert (await api.get("/v1/swap"))[0] == 405
    assert (await api.get("/v1/mint/quote/ehash/nobody")) == (
        400,
        {"detail": "quote nobody is not known", "code": 0},
    )
    assert (await api.get("/v1/mint/quote/ehash/" + "x" * 200))[0] == 400


async def test_shares_are_looked_up_with_the_signature_in_the_headers(api: Api) -> None:
    house = api.house
    row = house.row(1)
    await house.settle(house.frame([row]))
    share = sha256d(row.header).hex()
    path = f"/v1/mint/quote-ids/share?share_hashes={share},{'00' * 32}"
    signature = lookup.sign(MINER, house.seed.info_key, public_key(MINER), NOW, bytes(32)).hex()
    headers = {
        "Ehash_Key": public_key(MINER).hex(),
        "Ehash_Timestamp": str(NOW),
        "Ehash_Signature": signature,
    }
    status, answer = await api.get(path, **headers)
    assert status == 200
    assert list(answer["quote_ids"]) == [share]
    assert (await api.get(path))[1]["code"] == 20008
    for change in (
        {"Ehash_Timestamp": "soon"},
        {"Ehash_Timestamp": "-5"},
        {"Ehash_Timestamp": str(NOW - 400)},
        {"Ehash_Signature": "00" * 64},
        {"Ehash_Key": "00"},
    ):
        assert (await api.get(path, **(headers | change)))[0] == 400
    for query in ("", "?share_hashes=", "?share_hashes=zz", "?share_hashes=" + ",".join(["00" * 32] * 101)):
        assert (await api.get("/v1/mint/quote-ids/share" + query, **headers))[0] == 400


async def test_quotes_are_looked_up_by_key(api: Api) -> None:
    house = api.house
    await house.credit(1, 2, 3)
    signature = lookup.sign(MINER, house.seed.info_key, public_key(MINER), NOW, bytes(32)).hex()
    body = {
        "pubkeys": [public_key(MINER).hex()],
        "pubkey_signatures": [signature],
        "timestamp": NOW,
        "limit": 2,
    }
    _, page = await api.post("/v1/mint/quote/ehash/pubkey", body)
    assert len(page["quotes"]) == 2
    _, rest = await api.post("/v1/mint/quote/ehash/pubkey", body | {"cursor": page["next_cursor"]})
    assert len(rest["quotes"]) == 1
    assert rest["next_cursor"] is None


async def test_a_keyset_that_would_redeem_more_than_it_issued_stops_the_mint(api: Api) -> None:
    house = api.house
    (proof,) = await house.tokens(4)
    await house.database.write(lambda c: c.execute("UPDATE keyset SET issued = 3") and None)
    status, answer = await api.post("/v1/swap", house.swap([proof]))
    assert status == 503
    assert "issued" not in answer["detail"]
    assert house.metric("alarms_total", kind="counters") == 1
    status, answer = await api.post("/v1/swap", house.swap([proof]))
    assert (status, answer["code"]) == (400, 20003)
    assert await house.totals() == (3, 0)


async def test_overload_is_no_fault_of_the_wallet(api: Api) -> None:
    house = api.house
    (proof,) = await house.tokens(4)
    house.signatory.limit = 0
    async with api.session.post(api.url + "/v1/swap", json=house.swap([proof])) as reply:
        assert reply.status == 503
        assert reply.headers["Retry-After"] == "1"


async def test_pages_of_any_origin_may_use_the_mint(api: Api) -> None:
    async with api.session.options(api.url + "/v1/swap") as reply:
        assert reply.status == 204
        assert reply.headers["Access-Control-Allow-Origin"] == "*"


async def test_every_route_under_v1_is_described(house: House) -> None:
    server = HttpServer(HttpBounds(), CollectorRegistry())
    settings = InfoSettings()
    info = MintInfo(settings, "http://mint", house.seed.info_key, house.seed.info_key, Sizes())
    MintApi(house.teller, house.book, info).add_routes(server)
    MeltApi(None).add_routes(server)
    served = {route for route in server.routes if route[1].startswith("/v1/")}
    assert served - description.ROUTES.keys() == {("GET", description.PATH)}
