import asyncio
import json

from roles.runtime.api import Answer, Api, Endpoint, Parameter, Query
from roles.runtime.errors import HttpRefusal
from tests.openapi import check_answer

NAME = '<b>\x00\x1b"\\é\n'


class Apple(Answer):
    """An apple."""

    name: str
    weight: float | None
    """In grams."""


class Apples(Answer):
    """Some apples."""

    miners: list[Apple]


async def slow(query: Query) -> Apples:
    await asyncio.sleep(0)
    count = query.number("limit", 2, least=1, most=9)
    return Apples(miners=[Apple(name=NAME, weight=None)] * count)


def one(query: Query) -> Apple:
    if query.names["id"] != "red one":
        raise HttpRefusal(404, "no such apple")
    return Apple(name="red", weight=1.5)


def api() -> Api:
    made = Api("orchard")
    limit = Parameter("limit", {"type": "integer"}, "How many.")
    made.add(
        Endpoint("/api/v1/apples", "All apples.", Apples, slow, (limit,)),
        Endpoint("/api/v1/apples/{id}", "One apple.", Apple, one),
    )
    return made


async def ask(made: Api, path: str) -> tuple[int, str]:
    path, _, query = path.partition("?")
    answer = await made.answer(path, query)
    assert answer is not None
    return answer[0].value, answer[1].decode()


async def test_every_answer_is_what_the_description_says() -> None:
    made = api()
    document = json.loads((await ask(made, "/api/v1/openapi.json"))[1])
    schemas = document["components"]["schemas"]
    assert schemas["Apple"]["properties"]["weight"]["description"] == "In grams."
    for path, count in (("/api/v1/apples", 2), ("/api/v1/apples?limit=5", 5)):
        answer = check_answer(document, "/api/v1/apples", *await ask(made, path))
        assert len(answer["miners"]) == count
    for query in ("limit=0", "limit=x", "limit=%31%30", "limit=", "colour=red", "&".join("a" * 40), "limit"):
        status, body = await ask(made, f"/api/v1/apples?{query}")
        assert status == 400, query
        check_answer(document, "/api/v1/apples", status, body)
    answer = check_answer(document, "/api/v1/apples/{id}", *await ask(made, "/api/v1/apples/red%20one"))
    assert answer == {"name": "red", "weight": 1.5}
    check_answer(document, "/api/v1/apples/{id}", *await ask(made, "/api/v1/apples/green"))


async def test_what_is_no_path_of_it_is_left_to_others() -> None:
    made = api()
    for path in ("/api/v1", "/api/v1/apples/", "/api/v1/apples/red/core", "/"):
        assert (await made.answer(path, "") is None) == (path != "/api/v1/apples/")
    assert await Api("desert").answer("/api/v1/openapi.json", "") is None
    assert Api("desert").paths == []


async def test_names_of_peers_stand_in_the_json_whatever_they_hold() -> None:
    _, body = await ask(api(), "/api/v1/apples?limit=1")
    assert json.loads(body)["miners"][0]["name"] == NAME
