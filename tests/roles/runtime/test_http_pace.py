import ipaddress
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from roles.runtime.http import HttpBounds, HttpServer, Operation, Pace, json_reply
from roles.runtime.http_pace import ForwardedFor, HttpPace
from shared_config.address import Address

PROXIES = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::1"))


def test_an_address_may_ask_so_often_at_once_and_then_at_its_rate() -> None:
    pace = HttpPace(2.0, 3)
    assert [pace.take("a", 10.0) for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 0.5]
    assert pace.take("a", 10.4) == pytest.approx(0.1)
    assert pace.take("a", 10.5) == 0.0
    assert pace.take("a", 10.5) == 0.5
    assert [pace.take("a", 100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_one_address_does_not_slow_another() -> None:
    pace = HttpPace(1.0, 1)
    assert pace.take("a", 0.0) == 0.0
    assert pace.take("a", 0.0) > 0
    assert pace.take("b", 0.0) == 0.0


def test_all_addresses_of_a_customer_of_ipv6_are_one() -> None:
    pace = HttpPace(1.0, 1)
    assert pace.take("2001:db8:1:1::1", 0.0) == 0.0
    assert pace.take("2001:db8:1:1:ffff::2", 0.0) > 0
    assert pace.take("2001:db8:1:2::1", 0.0) == 0.0


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    pace = HttpPace(1.0, 1, addresses=10)
    for number in range(1000):
        assert pace.take(str(number), 0.0) == 0.0
    assert len(pace) == 10
    assert pace.take("999", 0.0) > 0
    assert pace.take("1", 0.0) == 0.0


@pytest.mark.parametrize("pace", [HttpPace(0.0, 5), HttpPace(5.0, 0)])
def test_without_a_rate_nothing_is_bounded_or_remembered(pace: HttpPace) -> None:
    assert [pace.take("a", 0.0) for _ in range(100)] == [0.0] * 100
    assert len(pace) == 0


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("203.0.113.5", [], "203.0.113.5"),
        ("203.0.113.5", ["198.51.100.1"], "203.0.113.5"),
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8::1", ["2001:db8:5::7"], "2001:db8:5::7"),
        ("192.0.2.1", ["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
        ("192.0.2.1", ["10.9.9.9", "198.51.100.1, 192.0.2.44"], "198.51.100.1"),
        ("192.0.2.1", ["198.51.100.1, unknown"], "192.0.2.1"),
        ("192.0.2.1", ["192.0.2.2"], "192.0.2.2"),
        ("", ["198.51.100.1"], ""),
    ],
)
def test_only_a_trusted_proxy_is_believed_about_who_asks(peer: str, headers: list[str], client: str) -> None:
    assert ForwardedFor(PROXIES).client(peer, headers) == client


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert ForwardedFor().client("192.0.2.1", ["198.51.100.1"]) == "192.0.2.1"


async def hello(_: web.Request) -> web.Response:
    return json_reply({"hello": True})


@pytest.fixture
def metrics() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def url(metrics: CollectorRegistry) -> AsyncIterator[str]:
    bounds = HttpBounds(
        pace=Pace(0.01, 3),
        paces={"spells": Pace(0.05, 1)},
        trusted_proxies=(ipaddress.ip_network("127.0.0.0/8"),),
    )
    server = HttpServer(bounds, metrics, cors=True)
    server.route("GET", "/hello", hello)
    for path in ("charm", "curse"):
        server.route("GET", f"/{path}", hello, Operation(path, "spells"))
    address = await server.start(Address("127.0.0.1", 0))
    yield f"http://{address}/hello"
    await server.close()


async def test_a_request_beyond_the_pace_is_answered_429_with_when_to_come_back(
    url: str, metrics: CollectorRegistry
) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.get(url) as reply:
                assert reply.status == 200
        async with session.get(url) as reply:
            assert reply.status == 429
            assert 90 <= int(reply.headers["Retry-After"]) <= 100
            assert await reply.json() == {"detail": "too many requests from this address", "code": 429}
            # Pages of another origin must be able to read it.
            assert reply.headers["Access-Control-Allow-Origin"] == "*"
        async with session.get(url, headers={"X-Forwarded-For": "198.51.100.9"}) as reply:
            assert reply.status == 200
    assert metrics.get_sample_value("hashpool_http_too_fast_total", {"pace": "all"}) == 1
    assert metrics.get_sample_value("hashpool_http_addresses") == 2


async def test_operations_that_share_a_pace_are_bounded_together_and_apart_from_others(
    url: str, metrics: CollectorRegistry
) -> None:
    root = url.removesuffix("/hello")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{root}/charm") as reply:
            assert reply.status == 200
        async with session.get(f"{root}/curse") as reply:
            assert reply.status == 429
            assert 15 <= int(reply.headers["Retry-After"]) <= 20
            assert await reply.json() == {"detail": "too many spells from this address", "code": 429}
        async with session.get(url) as reply:
            assert reply.status == 200
        # Reverse proxies that are trusted name another client, who has a pace of his own.
        async with session.get(f"{root}/curse", headers={"X-Forwarded-For": "198.51.100.9"}) as reply:
            assert reply.status == 200
    assert metrics.get_sample_value("hashpool_http_too_fast_total", {"pace": "spells"}) == 1
    errors = {"operation": "curse", "code": "429"}
    assert metrics.get_sample_value("hashpool_http_operation_errors_total", errors) == 1
    assert metrics.get_sample_value("hashpool_http_operation_seconds_count", {"operation": "curse"}) == 2
