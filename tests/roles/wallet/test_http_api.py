import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from roles.wallet import http_description
from roles.wallet.http_api import KEY_FILE, WalletApi
from roles.wallet.wallet import Wallet
from shared_config.address import Address
from shared_config.wallet_api import FaucetSettings, WalletApiSettings
from tests.openapi import check_answer
from tests.roles.wallet.conftest import Clock, Home, Told, clock, home, mint, tell
from tests.roles.wallet.fake_mint import UNIT

__all__ = ["clock", "home", "mint", "tell"]

DOCUMENT = http_description.describe()
FAUCET = FaucetSettings(enabled=True, amount=4, client_gifts=2, daily_total=12)


@dataclass
class Client:
    """Asks the API as a program does; what is given replaces its headers."""

    session: aiohttp.ClientSession
    url: str
    secret: str

    async def ask(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, dict[str, Any]]:
        given = {"Authorization": f"Bearer {self.secret}"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        async with self.session.request(method, self.url + path, json=body, headers=given) as reply:
            text = await reply.text()
            route = path.partition("?")[0]
            if route in DOCUMENT["paths"] and reply.status != 415:
                check_answer(DOCUMENT, route, reply.status, text, method.lower())
            told: dict[str, Any] = json.loads(text)
            return reply.status, told


@pytest.fixture
async def wallet(home: Home, tell: Told, clock: Clock) -> Wallet:
    clock.ms = time.time_ns() // 1_000_000
    opened = await home.open("proxy")
    await tell(opened, 1, 21)
    await opened.minter.mint_due()
    return opened


Open = Callable[..., Awaitable[Client]]


@pytest.fixture
async def open_api(wallet: Wallet, home: Home, tmp_path: Path) -> AsyncIterator[Open]:
    opened: list[WalletApi] = []
    async with aiohttp.ClientSession() as session:

        async def open_api(**settings: Any) -> Client:
            api = WalletApi(wallet, WalletApiSettings(**settings), tmp_path / "proxy", home.registry)
            opened.append(api)
            where = await api.start(Address("127.0.0.1", 0))
            secret = (tmp_path / "proxy" / KEY_FILE).read_text().strip()
            return Client(session, f"http://{where}", secret)

        yield open_api
        for api in opened:
            await api.close()


async def test_a_program_with_the_secret_sees_the_balance_and_makes_tokens(
    open_api: Open, wallet: Wallet, tmp_path: Path
) -> None:
    client = await open_api()
    assert (tmp_path / "proxy" / KEY_FILE).stat().st_mode & 0o777 == 0o600
    status, told = await client.ask("GET", "/v1/balance")
    assert (status, told["balance"]) == (200, {"ehash": 21})
    assert told["units"] == [{"unit": UNIT, "amount": 21, "proofs": 3}]
    status, told = await client.ask("POST", "/v1/tokens", {"amount": 6, "memo": "rent"})
    assert (status, told["amount"], told["balance"]) == (200, 6, {"ehash": 15})
    token = told["tokens"][0]["token"]
    status, told = await client.ask("GET", "/v1/tokens")
    assert [(item["state"], item["token"]) for item in told["tokens"]] == [("open", token)]
    status, told = await client.ask("POST", "/v1/receive", {"token": token})
    assert (status, told["amount"]) == (200, 6)
    status, told = await client.ask("GET", "/v1/history?limit=2")
    assert [(event["kind"], event["amount"]) for event in told["events"]] == [("return", 6), ("send", -6)]
    status, told = await client.ask("GET", f"/v1/history?before={told['events'][-1]['number']}")
    assert [event["kind"] for event in told["events"]] == ["mint"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": ""}, 401),
        ({"Host": "evil.example:8083"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
    ],
)
async def test_neither_strangers_nor_web_pages_get_anything(
    open_api: Open, headers: dict[str, str], status: int
) -> None:
    client = await open_api(faucet=FAUCET)
    found, told = await client.ask("POST", "/v1/tokens", {"amount": 1}, **headers)
    assert found == status
    assert "token" not in told
    if status != 401:
        assert (await client.ask("POST", "/v1/faucet", {}, **headers))[0] == status
    assert (await client.ask("GET", "/v1/balance"))[1]["balance"] == {"ehash": 21}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "amount: field required"),
        ({"amount": "5"}, "amount: input should be a valid integer"),
        ({"amount": 0}, "amount: "),
        ({"amount": 5, "unti": "sat"}, "unti: extra inputs are not permitted"),
        ({"amount": 22}, "22 ehash are to be sent, 21 can be"),
        ({"amount": 5, "to": ["x"]}, "not a locking key"),
        ([], "the body: "),
    ],
)
async def test_what_cannot_be_done_is_said(open_api: Open, body: object, text: str) -> None:
    client = await open_api()
    status, told = await client.ask("POST", "/v1/tokens", body)
    assert status == 400
    assert text in told["detail"]
    assert (await client.ask("GET", "/v1/history?limit=x"))[0] == 400
    assert (await client.ask("GET", "/v1/nothing"))[0] == 404


async def test_there_is_no_faucet_unless_it_is_configured(open_api: Open) -> None:
    assert (await (await open_api()).ask("POST", "/v1/faucet", {}))[0] == 404


async def test_the_faucet_gives_to_each_and_to_all_within_limits(open_api: Open) -> None:
    client = await open_api(faucet=FAUCET, trusted_proxies=["127.0.0.1"])

    async def ask(address: str) -> int:
        status, told = await client.ask("POST", "/v1/faucet", {}, Authorization="", X_Forwarded_For=address)
        assert (status == 200) is ("token" in told)
        return status

    assert [await ask("192.0.2.1") for _ in range(3)] == [200, 200, 429]
    assert [await ask(f"2001:db8::{n}") for n in range(1, 3)] == [200, 503]
    assert await ask("192.0.2.9") == 503
    assert (await client.ask("GET", "/v1/balance"))[1]["balance"] == {"ehash": 9}


async def test_an_empty_faucet_says_so(open_api: Open) -> None:
    client = await open_api(faucet=FaucetSettings(enabled=True, amount=50, client_gifts=9))
    statuses = [(await client.ask("POST", "/v1/faucet", {}))[0] for _ in range(2)]
    assert statuses == [503, 503]


async def test_the_description_names_every_path_and_every_answer_is_like_it(open_api: Open) -> None:
    client = await open_api(faucet=FAUCET)
    status, told = await client.ask("GET", "/v1/openapi.json", Authorization="")
    assert status == 200
    assert told == http_description.describe()
    served = {(path, method) for path, methods in told["paths"].items() for method in methods}
    for path, method in served:
        status, _ = await client.ask(method.upper(), path, {"amount": 1, "token": "x"})
        assert status not in {404, 405}
    schemas = told["components"]["schemas"]
    assert {"TokenForm", "Sent", "Balance", "Fault", "Token"} <= schemas.keys()
    await asyncio.sleep(0)


def test_the_api_is_for_this_machine_only() -> None:
    settings = WalletApiSettings.model_validate({"address": "0.0.0.0:8083"})
    assert [finding.key for finding in settings.review()] == ["wallet_api.address"]
    faucet = FaucetSettings(amount=5, daily_total=4)
    assert [finding.key for finding in WalletApiSettings(faucet=faucet).review()] == [
        "wallet_api.faucet.daily_total"
    ]
