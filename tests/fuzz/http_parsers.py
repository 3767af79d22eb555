"""What reads HTTP and JSON-RPC: the health address, the embedded node's server, addresses of clients."""

import ipaddress
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final, NamedTuple, TypeVar

import orjson

from roles.regtest_node import jsonrpc
from roles.regtest_node.errors import METHOD_NOT_FOUND, RpcError
from roles.regtest_node.http_request import HttpFault, RequestReader
from roles.runtime.api import Answer, Api, Endpoint, Parameter, Query
from roles.runtime.errors import HttpRefusal
from roles.runtime.health import read_head
from roles.runtime.http_pace import ForwardedFor, HttpPace
from roles.stratum.miner_pages import key_of, name_of
from shared_config.address import Address
from tests.fuzz.campaign import Parser
from tests.fuzz.cashu_parsers import dump
from tests.fuzz.json_mutation import JsonSamples
from tests.fuzz.mutation import Mutator

T = TypeVar("T")

HEADS: Final = (
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b"HEAD /ready?verbose=1 HTTP/1.0\r\n\r\n",
)
REQUESTS: Final = (
    b"POST / HTTP/1.1\r\nHost: x\r\nAuthorization: Basic abc=\r\nContent-Length: 4\r\n\r\nbody",
    b"POST /wallet/ HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\ncontent-length:0\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
)
WORDS: Final = (
    b"\r\n\r\n",
    b"\r\n",
    b"\n",
    b" ",
    b": ",
    b":",
    b"\0",
    b"Content-Length: 99999999999999999",
    b"x" * 20_000,
)


def read_health(head: bytes) -> None:
    method, path, _query = read_head(head)
    assert "?" not in path
    assert " " not in method + path


def read_requests(pieces: list[bytes]) -> None:
    """However the bytes are cut, the requests are the same."""
    assert serve(pieces) == serve([b"".join(pieces)])


def serve(pieces: list[bytes]) -> list[bytes]:
    """Method, path and body of each request."""
    reader, served, head = RequestReader(), list[bytes](), None
    for piece in pieces:
        reader.receive(piece)
        while (head := head or reader.head()) is not None and (body := reader.body(head.length)) is not None:
            served += [head.method.encode(), head.path.encode(), body]
            assert isinstance(head.keep_alive, bool)
            assert isinstance(head.expects_continue, bool)
            head = None
    return served


CALLS: Final = JsonSamples(
    [
        dump({"jsonrpc": "1.0", "id": "curltest", "method": "getblockchaininfo", "params": []}),
        dump({"jsonrpc": "2.0", "id": 1, "method": "submitblock", "params": ["00"]}),
        dump(
            {
                "jsonrpc": "2.0",
                "method": "getblocktemplate",
                "params": {"template_request": {"rules": ["segwit"]}},
            }
        ),
        dump(
            [
                {"id": 1, "method": "a"},
                {"jsonrpc": "2.0", "method": "b"},
                {"id": None, "method": "c", "params": None},
            ]
        ),
        dump([]),
    ]
)


async def execute(method: str, params: Any) -> Any:
    if method == "submitblock":
        raise RpcError(METHOD_NOT_FOUND, "Method not found")
    return [method, jsonrpc.Amount(-5), len(params)]


def at_once(doing: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        doing.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise AssertionError("it waits")


def read_calls(body: bytes) -> None:
    reply = at_once(jsonrpc.answer(body, execute))
    assert isinstance(reply.status, HTTPStatus)
    assert not reply.body or orjson.loads(reply.body) is not None


class Client(NamedTuple):
    """Who is connected, and for whom it says that it asks."""

    peer: str
    forwarded: list[str]


NAMES: Final = (
    "127.0.0.1",
    "10.1.2.3",
    "203.0.113.7",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "fe80::1%eth0",
    "[::1]:99",
    "unknown",
)
FORWARDED: Final = ForwardedFor([ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128")])


def make_client(mutator: Mutator) -> Client:
    said = [
        mutator.text([", ".join(mutator.pick(NAMES) for _ in range(1 + mutator.below(4)))])
        for _ in range(mutator.below(3))
    ]
    return Client(mutator.pick(NAMES), said)


def read_client(client: Client) -> None:
    found = FORWARDED.client(*client)
    assert found == client.peer or ipaddress.ip_address(found)
    assert HttpPace(1.0, 1).take(found, 0.0) == 0.0


def make_address(mutator: Mutator) -> str:
    return mutator.text(
        (
            "127.0.0.1:34254",
            "[::1]:0",
            "pool.example.org:65535",
            "localhost:1",
            "a_b-c.:80",
            "[fe80::1%lo]:1",
        ),
        (":", "[", "]"),
    )


def read_address(text: str) -> None:
    address = Address.parse(text)
    assert Address.parse(str(address)) == address
    assert not (address.is_loopback and address.is_wildcard)


class Room(Answer):
    """Which miner or page was asked for."""

    asked: str


def find_room(query: Query) -> Room:
    limit = query.number("limit", 5, least=1, most=500)
    key = key_of(query.parameters.get("after", query.names.get("id", "0")))
    if key is None:
        raise HttpRefusal(404, "no such room")
    assert key_of(name_of(key)) == key
    return Room(asked=f"{name_of(key)} {limit}")


API: Final = Api("house")
API.add(
    Endpoint(
        "/api/v1/miners",
        "All rooms.",
        Room,
        find_room,
        (Parameter("limit", {}, "How many."), Parameter("after", {}, "From where.")),
    ),
    Endpoint("/api/v1/miners/{id}", "One room.", Room, find_room),
)


def make_question(mutator: Mutator) -> str:
    return mutator.text(
        (
            "/api/v1/miners?limit=500&after=0.17.3",
            "/api/v1/miners/0.17",
            "/api/v1/openapi.json",
            "/api/v1/miners/%30",
        ),
        ("?", "&", "=", "%", "%ff", "+", ";", "/", ".", "9" * 400, "limit=", "after="),
    )


def read_question(question: str) -> None:
    path, _, query = question.partition("?")
    answer = at_once(API.answer(path, query))
    if answer is not None:
        status, body = answer
        assert (status.value == 200) == ("detail" not in orjson.loads(body))


make_head: Callable[[Mutator], bytes] = lambda mutator: mutator.damage(HEADS, WORDS)  # noqa: E731


def make_requests(mutator: Mutator) -> list[bytes]:
    return mutator.segments(
        mutator.damage([first + second for first in REQUESTS for second in REQUESTS], WORDS)
    )


PARSERS: Final = (
    Parser("health-requests", make_head, read_health, ()),
    Parser("api-questions", make_question, read_question, ()),
    Parser("node-http-requests", make_requests, read_requests, (HttpFault,)),
    Parser("node-json-rpc-calls", CALLS.damage, read_calls, ()),
    Parser("forwarded-clients", make_client, read_client, ()),
    Parser("network-addresses", make_address, read_address, (ValueError,)),
)
