import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from protocols.bitcoin.hashing import display
from roles.node_client import client as client_module
from roles.node_client.client import NodeClient
from roles.node_client.credentials import CookieFile
from roles.node_client.errors import (
    NodeBusy,
    NodeCredentialsMissing,
    NodeError,
    NodeMalformed,
    NodeRefused,
    NodeTimeout,
    NodeUnauthorized,
    NodeUnreachable,
    NodeWarmingUp,
)
from roles.node_client.jsonrpc import Call
from shared_config.pool_side import BitcoinSettings

HASH = bytes(range(32))


@pytest.fixture
async def client(node: Any) -> AsyncIterator[NodeClient]:
    async with NodeClient(node.url, CookieFile(node.cookie), timeout_s=5) as opened:
        yield opened


async def test_a_call_carries_its_parameters_and_brings_its_result(node: Any, client: NodeClient) -> None:
    node.answers["echo"] = lambda params: {"given": params}
    assert await client.call("echo", 1, "two", [3]) == {"given": [1, "two", [3]]}
    assert node.calls == [("echo", [1, "two", [3]])]


async def test_a_batch_keeps_the_order_and_each_error(
    node: Any, client: NodeClient, fail: Callable[[int, str], object]
) -> None:
    node.answers["good"] = lambda params: params[0]
    node.answers["bad"] = lambda params: fail(-8, "Block height out of range")
    results = await client.batch([Call("good", (1,)), Call("bad"), Call("good", (2,))])
    assert (results[0], results[2]) == (1, 2)
    assert isinstance(results[1], NodeRefused)
    assert results[1].code == -8
    assert node.requests == 1
    assert await client.batch([]) == []
    with pytest.raises(ValueError, match="1000"):
        await client.batch([Call("good")] * 1001)


async def test_an_error_answer_carries_code_and_message(
    node: Any, client: NodeClient, fail: Callable[[int, str], object]
) -> None:
    node.answers["getblock"] = lambda params: fail(-5, "Block not found")
    with pytest.raises(NodeRefused, match=r"refuses getblock: Block not found \(code -5\)") as caught:
        await client.call("getblock")
    assert (caught.value.code, caught.value.message) == (-5, "Block not found")
    with pytest.raises(NodeRefused, match="too old"):
        await client.call("unknown")


async def test_a_node_that_is_starting_says_so(
    node: Any, client: NodeClient, fail: Callable[[int, str], object]
) -> None:
    node.answers["getblockchaininfo"] = lambda params: fail(-28, "Loading block index…")
    with pytest.raises(NodeWarmingUp, match="Loading block index"):
        await client.chain_info()


async def test_a_cookie_that_changed_is_read_again(node: Any, client: NodeClient) -> None:
    node.answers["ping"] = lambda params: None
    assert await client.call("ping") is None
    node.password = "second"
    node.write_cookie()
    assert await client.call("ping") is None
    assert await client.call("ping") is None
    assert node.unauthorized == 1


async def test_credentials_that_are_wrong_are_told_with_a_hint(node: Any, client: NodeClient) -> None:
    node.password = "second"
    with pytest.raises(NodeUnauthorized, match="rpc_cookie_file") as caught:
        await client.call("ping")
    assert "first" not in str(caught.value)
    assert node.unauthorized == 2


async def test_a_cookie_that_is_not_there_yet_is_told_with_its_path(node: Any) -> None:
    missing = node.cookie.with_name("missing")
    async with NodeClient(node.url, CookieFile(missing)) as client:
        with pytest.raises(NodeCredentialsMissing, match="missing"):
            await client.call("ping")
    assert node.requests == 0


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (lambda: web.Response(status=503, text="Work queue depth exceeded"), NodeBusy),
        (lambda: web.Response(status=403), NodeUnauthorized),
        (lambda: web.Response(status=405, text="JSONRPC server handles only POST requests"), NodeMalformed),
        (lambda: web.Response(status=302, headers={"Location": "/elsewhere"}), NodeMalformed),
        (lambda: web.Response(text="<html>"), NodeMalformed),
        (lambda: web.json_response([]), NodeMalformed),
        (lambda: web.json_response({"result": 1, "error": None, "id": "other"}), NodeMalformed),
        (lambda: web.json_response({"id": 1}), NodeMalformed),
        (lambda: web.json_response({"id": 1, "error": "text"}), NodeMalformed),
        (lambda: web.json_response({"id": 1, "error": {"code": "x", "message": 1}}), NodeMalformed),
    ],
)
async def test_an_answer_of_another_kind_is_told_apart(
    node: Any, client: NodeClient, response: Callable[[], web.Response], error: type[NodeError]
) -> None:
    node.raw = [response()]
    with pytest.raises(error):
        await client.call("ping")
    assert node.requests == 1


@pytest.mark.parametrize(
    "body",
    [
        {"error": None},
        {"error": {"code": -32600, "message": "Invalid Request"}},
        [],
        [{"id": 0, "result": 1}, {"id": 0, "result": 1}],
        [{"id": 0, "result": 1}, {"id": 7, "result": 1}],
        [{"id": 0, "result": 1}, "text"],
    ],
)
async def test_a_batch_answered_with_anything_else_fails_as_a_whole(
    node: Any, client: NodeClient, body: object
) -> None:
    node.raw = [web.json_response(body)]
    with pytest.raises((NodeMalformed, NodeRefused)):
        await client.batch([Call("a"), Call("b")])


async def test_an_endless_answer_is_cut_off(
    node: Any, client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER", 1000)
    node.answers["big"] = lambda params: "x" * 2000
    with pytest.raises(NodeMalformed, match="larger than 1000"):
        await client.call("big")


async def test_a_node_that_does_not_answer_is_given_up(node: Any) -> None:
    node.hang = True
    async with NodeClient(node.url, CookieFile(node.cookie), timeout_s=0.05) as client:
        with pytest.raises(NodeTimeout, match=r"no answer .* in 0.05 s"):
            await client.call("ping")


async def test_a_kept_connection_that_the_node_closes_is_replaced_once(node: Any, client: NodeClient) -> None:
    node.answers["ping"] = lambda params: "pong"
    node.drop = 1
    assert await client.call("ping") == "pong"
    node.drop = 2
    with pytest.raises(NodeUnreachable):
        await client.call("ping")


async def test_a_node_that_is_down_is_named_with_its_address(node: Any) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with NodeClient(url, CookieFile(node.cookie)) as client:
            with pytest.raises(NodeUnreachable, match=url):
                await client.call("ping")


async def test_a_client_that_is_closed_refuses_calls(node: Any) -> None:
    client = NodeClient(node.url, CookieFile(node.cookie))
    with pytest.raises(NodeUnreachable, match="closed"):
        await client.call("ping")
    await client.close()


async def test_user_and_password_come_from_the_configuration(node: Any, tmp_path: Path) -> None:
    node.answers["ping"] = lambda params: None
    (tmp_path / "password").write_text("first\n")
    (tmp_path / "password").chmod(0o600)
    settings = BitcoinSettings(
        rpc_url=node.url, rpc_user="__cookie__", rpc_password_file=Path("password"), rpc_timeout_s=5
    )
    async with NodeClient.of(settings, tmp_path) as client:
        assert await client.call("ping") is None
    by_cookie = BitcoinSettings(rpc_url=node.url, rpc_cookie_file=node.cookie)
    async with NodeClient.of(by_cookie, Path("/elsewhere")) as client:
        assert await client.call("ping") is None


async def test_blocks_and_hashes_are_asked_for_in_display_order(
    node: Any, client: NodeClient, fail: Callable[[int, str], object]
) -> None:
    node.answers["getbestblockhash"] = lambda params: display(HASH)
    node.answers["getblockhash"] = lambda params: display(HASH)
    node.answers["getblock"] = lambda params: "c0ffee"
    node.answers["submitblock"] = lambda params: None if params == ["aabb"] else "duplicate"
    assert await client.best_block_hash() == HASH
    assert await client.block_hash(7) == HASH
    assert await client.block(HASH) == b"\xc0\xff\xee"
    assert await client.submit_block(b"\xaa\xbb") is None
    assert await client.submit_block(b"\xaa") == "duplicate"
    assert ("getblockhash", [7]) in node.calls
    assert ("getblock", [display(HASH), 0]) in node.calls
    node.answers["getblockheader"] = lambda params: fail(-5, "Block not found")
    assert await client.block_info(HASH) is None
    node.answers["getblockheader"] = lambda params: fail(-8, "hash must be of length 64")
    with pytest.raises(NodeRefused):
        await client.block_info(HASH)


async def test_several_blocks_are_asked_for_in_one_request(
    node: Any, client: NodeClient, fail: Callable[[int, str], object]
) -> None:
    header = {
        "hash": HASH.hex(),
        "confirmations": 3,
        "height": 5,
        "time": 1,
        "mediantime": 1,
        "bits": "207fffff",
    }
    node.answers["getblockheader"] = lambda params: (
        header if params[0] == HASH[::-1].hex() else fail(-5, "no")
    )
    before = node.requests
    infos = await client.block_infos([HASH, bytes(32)])
    assert infos[0] is not None
    assert (infos[0].confirmations, infos[1]) == (3, None)
    assert node.requests == before + 1
    node.answers["getblockheader"] = lambda params: fail(-8, "bad hash")
    with pytest.raises(NodeRefused):
        await client.block_infos([HASH])


async def test_a_long_poll_waits_with_its_id_and_outlasts_the_timeout_of_other_calls(
    node: Any, template_answer: dict[str, Any]
) -> None:
    node.answers["getblocktemplate"] = lambda params: template_answer
    node.hang = True
    async with NodeClient(node.url, CookieFile(node.cookie), timeout_s=0.05) as client:
        waiting = asyncio.create_task(client.next_template("id0", ["segwit", "signet"]))
        with pytest.raises(NodeTimeout):
            await client.template()
        assert not waiting.done()
        node.hang = False
        node.released.set()
        template = await waiting
    assert template.long_poll_id == template_answer["longpollid"]
    request = {"rules": ["segwit", "signet"], "longpollid": "id0"}
    assert ("getblocktemplate", [request]) in node.calls
