from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from roles.wallet import mint_client
from roles.wallet.errors import MintDishonest, MintRefused, MintUnreachable
from roles.wallet.mint_api import MintInfo
from roles.wallet.mint_client import MintClient, open_session

INFO = {
    "name": "mint",
    "pubkey": "02" + "11" * 32,
    "quote_key": "03" + "22" * 32,
    "nuts": {"29": {"max_batch_size": 7}, "XX": {"supported": False, "max_pubkeys": 9}},
}
Answering = Callable[[Callable[[], web.Response]], Awaitable[MintClient]]


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as session:
        yield session


@pytest.fixture
async def answering(session: ClientSession) -> AsyncIterator[Answering]:
    servers: list[TestServer] = []

    async def serve(answer: Callable[[], web.Response]) -> MintClient:
        async def handle(_: web.Request) -> web.Response:
            return answer()

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        server = TestServer(app)
        await server.start_server()
        servers.append(server)
        return MintClient(str(server.make_url("")), session, timeout=2, waits=())

    yield serve
    for server in servers:
        await server.close()


async def test_info_tells_keys_and_limits(answering: Answering) -> None:
    client = await answering(lambda: web.json_response(INFO))
    assert await client.info() == MintInfo("mint", b"\x02" + b"\x11" * 32, b"\x03" + b"\x22" * 32, 7, 0)


async def test_a_mint_of_few_words_offers_neither_batches_nor_look_ups(answering: Answering) -> None:
    client = await answering(lambda: web.json_response({"name": "m", "nuts": {"29": {"disabled": True}}}))
    assert await client.info() == MintInfo("m", None, None, 0, 0)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_later_is_no_refusal(answering: Answering, status: int) -> None:
    client = await answering(lambda: web.Response(status=status, headers={"Retry-After": "3"}))
    with pytest.raises(MintUnreachable) as error:
        await client.info()
    assert error.value.retry_after == 3


async def test_a_refusal_carries_the_code_and_a_clean_sentence(answering: Answering) -> None:
    client = await answering(
        lambda: web.json_response({"code": 11001, "detail": "spent\n\x1b[31m"}, status=400)
    )
    with pytest.raises(MintRefused) as error:
        await client.info()
    assert (error.value.code, error.value.detail) == (11001, "spent  [31m")


@pytest.mark.parametrize("body", ["", "[]", '{"code": "x"}', "<html>"])
async def test_a_refusal_without_a_code_has_code_0(answering: Answering, body: str) -> None:
    client = await answering(lambda: web.Response(status=404, text=body))
    with pytest.raises(MintRefused) as error:
        await client.info()
    assert (error.value.code, error.value.detail) == (0, "HTTP 404")


async def test_a_redirect_is_not_followed(answering: Answering) -> None:
    client = await answering(lambda: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}))
    with pytest.raises(MintRefused):
        await client.info()


async def test_an_answer_that_is_not_json_may_be_asked_for_again(answering: Answering) -> None:
    client = await answering(lambda: web.Response(text="<html>proxy error</html>"))
    with pytest.raises(MintUnreachable):
        await client.info()


@pytest.mark.parametrize(
    "body", [[], {"nuts": []}, {"pubkey": "04"}, {"name": 3}, {"nuts": {"29": {"max_batch_size": -1}}}]
)
async def test_an_answer_of_the_wrong_shape_is_dishonest(answering: Answering, body: object) -> None:
    client = await answering(lambda: web.json_response(body))
    with pytest.raises(MintDishonest):
        await client.info()


async def test_an_answer_without_end_is_cut(answering: Answering, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mint_client, "ANSWER_LIMIT", 1000)
    client = await answering(lambda: web.Response(text="[" * 2000))
    with pytest.raises(MintDishonest):
        await client.info()


async def test_nobody_at_the_address_is_unreachable(session: ClientSession) -> None:
    with pytest.raises(MintUnreachable):
        await MintClient("http://127.0.0.1:1", session, waits=()).info()


async def test_a_call_is_repeated_before_it_fails(answering: Answering) -> None:
    answers = [web.Response(status=500), web.json_response(INFO)]
    client = await answering(lambda: answers.pop(0))
    patient = MintClient(client.url, client._session, waits=(0.01,))
    assert (await patient.info()).name == "mint"
    assert not answers


async def test_states_and_quotes_of_something_else_are_dishonest(answering: Answering) -> None:
    client = await answering(lambda: web.json_response({"states": [{"Y": "02", "state": "SPENT"}]}))
    with pytest.raises(MintDishonest):
        await client.check_state([b"\x02" * 33])
    quote = {"quote": "b", "unit": "hash", "amount_paid": 1, "amount_issued": 0}
    client = await answering(lambda: web.json_response([quote]))
    assert (await client.check_quotes(["b"]))[0].mintable == 1
    with pytest.raises(MintDishonest):
        await client.check_quotes(["a"])
    client = await answering(lambda: web.json_response([{**quote, "amount_issued": 2}]))
    with pytest.raises(MintDishonest):
        await client.check_quotes(["b"])
    client = await answering(lambda: web.json_response({"outputs": [], "signatures": [{}]}))
    with pytest.raises(MintDishonest):
        await client.restore([])
    client = await answering(lambda: web.json_response({"keysets": []}))
    with pytest.raises(MintDishonest):
        await client.keys("00" * 8)
