import pytest
from aiohttp import web

from roles.runtime.http_paths import PathTable


async def _handle(_: web.Request) -> web.Response:
    raise AssertionError


def _table(*paths: str) -> PathTable:
    table, router = PathTable(), web.Application().router
    for path in paths:
        table.add("GET", path, router.add_route("GET", path, _handle))
    return table


def test_a_path_is_found_with_what_its_names_match() -> None:
    found = _table("/v1/keys", "/v1/quote/{method}/{quote_id}").find("GET", "/v1/quote/bolt11/7")
    assert found is not None
    assert found[0].resource is not None
    assert found[0].resource.canonical == "/v1/quote/{method}/{quote_id}"
    assert found[1] == {"method": "bolt11", "quote_id": "7"}


@pytest.mark.parametrize(
    "path", ["/v1/keys/", "/v1", "/v1/other", "/v1/quote//7", "/v1/quote/a%2Fb/7", "/v1/quote/a/7/8", "*"]
)
def test_what_is_not_plainly_one_route_is_left_to_others(path: str) -> None:
    assert _table("/v1/keys", "/v1/quote/{method}/{quote_id}").find("GET", path) is None


def test_a_path_of_two_routes_and_another_method_are_left_to_others() -> None:
    table = _table("/v1/{name}", "/v1/keys")
    assert table.find("GET", "/v1/keys") is None
    assert table.find("GET", "/v1/other") is not None
    assert table.find("HEAD", "/v1/other") is None
