"""The websocket of NUT-17, over a real connection, for a real mint."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.curve import secret_point
from protocols.cashu.models import Proof
from protocols.ehash.quote_id import quote_id, shared_secret
from roles.mint import socket_session
from roles.mint.api import MintApi, Refusals
from roles.mint.info import MintInfo
from roles.mint.listening import offer_all
from roles.mint.request import Sizes
from roles.mint.socket_desk import SocketDesk
from roles.runtime.http import HttpBounds, HttpServer
from shared_config.address import Address
from shared_config.mint import InfoSettings
from shared_config.sockets import SocketLimits
from tests.roles.mint.house import MINER, House

QUOTE = "ehash_mint_quote"
PROOF = "proof_state"


@dataclass
class Wallet:
    """A websocket as a wallet uses it."""

    socket: aiohttp.ClientWebSocketResponse
    number: int = 0

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        """The answer to a request."""
        self.number += 1
        await self.socket.send_json({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        answer = await self.next()
        assert answer["id"] == self.number
        return answer

    async def subscribe(self, kind: str, *filters: str, sub_id: str = "s") -> None:
        answer = await self.ask("subscribe", kind=kind, subId=sub_id, filters=filters)
        assert answer["result"] == {"status": "OK", "subId": sub_id}

    async def refused(self, method: str, **params: object) -> int:
        return int((await self.ask(method, **params))["error"]["code"])

    async def next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self.socket.receive_json(timeout=30)
        assert message.pop("jsonrpc") == "2.0"
        return message

    async def told(self, sub_id: str = "s") -> dict[str, Any]:
        """The payload of the next notice."""
        message = await self.next()
        assert message["method"] == "subscribe"
        assert message["params"]["subId"] == sub_id
        payload: dict[str, Any] = message["params"]["payload"]
        return payload

    async def is_silent(self) -> None:
        """Nothing has been sent but the answer to this."""
        assert await self.refused("nothing") == -32601


@dataclass
class Line:
    """A mint with a websocket, and the wallets that are connected."""

    house: House
    url: str
    server: HttpServer
    session: aiohttp.ClientSession
    wallets: list[Wallet] = field(default_factory=list)

    async def wallet(self) -> Wallet:
        self.wallets.append(Wallet(await self.session.ws_connect(f"{self.url}/v1/ws")))
        return self.wallets[-1]


Open = Callable[..., Awaitable[Line]]


@pytest.fixture
async def open_line(house: House) -> AsyncIterator[Open]:
    lines: list[Line] = []

    async def open_(**changes: Any) -> Line:
        # What ends an idle HTTP connection must not end a websocket.
        bounds = HttpBounds(idle_s=0.1, request_s=0.2)
        server = HttpServer(bounds, house.registry, translate=Refusals(house.meters))
        offer_all(house.board, house.teller)
        desk = SocketDesk(house.board, SocketLimits(**changes), house.registry, server.client)
        server.at_close(desk.close)
        info = MintInfo(InfoSettings(), "u", bytes(33), bytes(33), Sizes())
        MintApi(house.teller, house.book, info, desk.serve).add_routes(server)
        where = await server.start(Address("127.0.0.1", 0))
        lines.append(Line(house, f"http://{where}", server, aiohttp.ClientSession()))
        return lines[-1]

    telling = asyncio.create_task(house.board.run())
    yield open_
    for line in lines:
        for wallet in line.wallets:
            await wallet.socket.close()
        await line.session.close()
        await line.server.close()
    assert house.board.subjects == 0
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)


def _names(proofs: list[Proof]) -> list[str]:
    return [secret_point(proof.secret).hex() for proof in proofs]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_proofs_are_told_unspent_then_pending_then_spent_as_the_specification_says(
    open_line: Open,
) -> None:
    line = await open_line()
    proofs = await line.house.tokens(1, 2, 4)
    wallet = await line.wallet()
    names = _names(proofs)
    await wallet.subscribe(PROOF, *names)
    unspent = [await wallet.told() for _ in names]
    assert unspent == [{"Y": name, "state": "UNSPENT", "witness": None} for name in names]
    await line.house.teller.swap(line.house.swap(proofs))
    later = [await wallet.told() for _ in range(6)]
    assert {(told["Y"], told["state"]) for told in later[:3]} == {(name, "PENDING") for name in names}
    assert {(told["Y"], told["state"]) for told in later[3:]} == {(name, "SPENT") for name in names}
    await wallet.is_silent()
    assert line.house.metric("notices_total", kind=PROOF) == 9


async def test_a_spent_proof_is_told_so_at_once(open_line: Open) -> None:
    line = await open_line()
    proofs = await line.house.tokens(1)
    await line.house.teller.swap(line.house.swap(proofs))
    wallet = await line.wallet()
    await wallet.subscribe(PROOF, *_names(proofs))
    assert (await wallet.told())["state"] == "SPENT"
    await wallet.is_silent()


async def test_a_quote_is_told_as_it_is_and_when_it_is_minted(open_line: Open) -> None:
    line = await open_line()
    (quote,) = await line.house.credit(5)
    wallet = await line.wallet()
    await wallet.subscribe(QUOTE, quote.quote_id)
    assert await wallet.told() == quote.to_json()
    await line.house.teller.mint(line.house.claim(quote, line.house.basket(1)))
    part = await wallet.told()
    assert (part["state"], part["amount_issued"]) == ("PAID", 1)
    await line.house.teller.mint(line.house.claim(quote, line.house.basket(4)))
    assert (await wallet.told())["state"] == "ISSUED"
    await wallet.is_silent()


async def test_the_owner_of_a_share_can_listen_to_its_quote_before_there_is_one(open_line: Open) -> None:
    line = await open_line()
    house = line.house
    row = house.row(3)
    shared = shared_secret(MINER, public_key(house.seed.quote_secret))
    wallet = await line.wallet()
    await wallet.subscribe(QUOTE, quote_id(shared, sha256d(row.header)))
    await wallet.is_silent()
    await house.settle(house.frame([row]))
    told = await wallet.told()
    assert (told["state"], told["amount"], told["request"]) == ("PAID", 3, sha256d(row.header).hex())


async def test_who_unsubscribes_hears_no_more_and_others_still_do(open_line: Open) -> None:
    line = await open_line()
    proofs = await line.house.tokens(1)
    first, second = await line.wallet(), await line.wallet()
    for wallet in (first, second):
        await wallet.subscribe(PROOF, *_names(proofs))
        await wallet.told()
    await first.subscribe(PROOF, *_names(proofs), sub_id="again")
    assert (await first.told("again"))["state"] == "UNSPENT"
    for sub_id in ("s", "again"):
        assert (await first.ask("unsubscribe", subId=sub_id))["result"] == {"status": "OK", "subId": sub_id}
    assert await first.refused("unsubscribe", subId="s") == -32602
    await line.house.teller.swap(line.house.swap(proofs))
    assert (await second.told())["state"] == "PENDING"
    await first.is_silent()


async def test_one_object_of_two_subscriptions_is_told_to_each(open_line: Open) -> None:
    line = await open_line()
    (quote,) = await line.house.credit(1)
    wallet = await line.wallet()
    for sub_id in ("a", "b"):
        await wallet.subscribe(QUOTE, quote.quote_id, sub_id=sub_id)
        await wallet.told(sub_id)
    assert line.house.metric("socket_objects") == 1
    await wallet.ask("unsubscribe", subId="a")
    await line.house.teller.mint(line.house.claim(quote, line.house.basket(1)))
    assert (await wallet.told("b"))["state"] == "ISSUED"


async def test_what_is_no_subscription_is_refused_and_the_socket_goes_on(open_line: Open) -> None:
    line = await open_line(subscriptions=2, filters=2, objects=3)
    wallet = await line.wallet()
    points = _names(await line.house.tokens(1, 2, 4))
    await wallet.subscribe(PROOF, points[0], points[0])
    await wallet.told()
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"kind": "bolt12_mint_quote", "subId": "t", "filters": ["q"]}, -32602),
        ({"kind": PROOF, "subId": "s", "filters": points[:1]}, -32602),
        ({"kind": PROOF, "subId": "t", "filters": points}, -32602),
        ({"kind": PROOF, "subId": "t", "filters": ["02"]}, -32602),
        ({}, -32602),
    ]
    for params, code in wrong:
        assert (params, await wallet.refused("subscribe", **params)) == (params, code)
    await wallet.socket.send_str("{")
    assert await wallet.next() == {
        "error": {"code": -32700, "message": "the message is not JSON"},
        "id": None,
    }
    await wallet.socket.send_bytes(b"{}")
    assert (await wallet.next())["error"]["code"] == -32700
    await wallet.subscribe(QUOTE, "a", "b", sub_id="t")
    assert await wallet.refused("subscribe", kind=QUOTE, subId="u", filters=["c"]) == -32000
    await wallet.ask("unsubscribe", subId="s")
    assert await wallet.refused("subscribe", kind=QUOTE, subId="u", filters=["c", "d"]) == -32000
    await wallet.subscribe(PROOF, points[1], sub_id="u")
    assert (await wallet.told("u"))["Y"] == points[1]


async def test_all_wallets_together_have_a_bound_of_objects(open_line: Open) -> None:
    line = await open_line(all_objects=2)
    first, second = await line.wallet(), await line.wallet()
    await first.subscribe(QUOTE, "a", "b")
    assert await second.refused("subscribe", kind=QUOTE, subId="s", filters=["a"]) == -32000
    await first.socket.close()
    await _until(lambda: line.house.metric("socket_objects") == 0)
    await second.subscribe(QUOTE, "a")


async def test_an_address_opens_so_many_sockets_and_a_mint_so_many(open_line: Open) -> None:
    line = await open_line(sockets_per_address=1)
    wallet = await line.wallet()
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await line.wallet()
    assert (caught.value.status, caught.value.headers and caught.value.headers["Retry-After"]) == (429, "60")
    await wallet.socket.close()
    await _until(lambda: line.house.metric("sockets") == 0)
    await line.wallet()
    assert line.house.metric("sockets_refused_total", bound="sockets_per_address") == 1


async def test_a_socket_that_waits_for_nothing_makes_room_and_one_that_listens_stays(
    open_line: Open,
) -> None:
    line = await open_line(sockets_per_address=2, spare_s=0)
    listening, idle = await line.wallet(), await line.wallet()
    await listening.subscribe(QUOTE, "a")
    await idle.subscribe(QUOTE, "a")
    assert "result" in await idle.ask("unsubscribe", subId="s")
    third = await line.wallet()
    assert (await idle.socket.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
    await third.subscribe(QUOTE, "a")
    await _until(lambda: line.house.metric("sockets") == 2)
    assert line.house.metric("sockets_ended_total", reason="gave-way") == 1
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await line.wallet()
    await listening.is_silent()


async def test_the_longest_idle_socket_of_anybody_makes_room_in_a_full_mint(open_line: Open) -> None:
    line = await open_line(sockets=2, spare_s=0)
    oldest, newer = await line.wallet(), await line.wallet()
    await line.wallet()
    assert (await oldest.socket.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
    await newer.is_silent()


async def test_a_mint_that_is_full_or_offers_no_websocket_says_so(house: House) -> None:
    for limits, status in ((SocketLimits(sockets=0), 404), (SocketLimits(sockets=1), 503)):
        server = HttpServer(HttpBounds(), house.registry.__class__())
        desk = SocketDesk(house.board, limits, house.registry.__class__())
        server.lasting("/v1/ws", desk.serve)
        server.at_close(desk.close)
        where = await server.start(Address("127.0.0.1", 0))
        async with aiohttp.ClientSession() as session:
            first = await session.ws_connect(f"http://{where}/v1/ws") if limits.sockets else None
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await session.ws_connect(f"http://{where}/v1/ws")
            assert caught.value.status == status
            if first is not None:
                await first.close()
        await server.close()


async def test_a_plain_request_is_told_to_upgrade(open_line: Open) -> None:
    line = await open_line()
    async with line.session.get(f"{line.url}/v1/ws") as reply:
        assert reply.status == 426
        assert (await reply.json())["detail"]


async def test_a_message_beyond_its_size_ends_the_socket(open_line: Open) -> None:
    line = await open_line(message_bytes=1024)
    wallet = await line.wallet()
    await wallet.socket.send_str(" " * 2000)
    message = await wallet.socket.receive(timeout=30)
    assert message.type is aiohttp.WSMsgType.CLOSE
    assert wallet.socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    await _until(lambda: line.house.metric("sockets_ended_total", reason="broken") == 1)


async def test_a_wallet_that_gets_everything_wrong_is_cut_off(
    open_line: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket_session, "FAULT_LIMIT", 3)
    line = await open_line()
    wallet = await line.wallet()
    for _ in range(3):
        await wallet.socket.send_str("{")
        assert "error" in await wallet.next()
    assert (await wallet.socket.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
    assert wallet.socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
    await _until(lambda: line.house.metric("sockets_ended_total", reason="faults") == 1)


async def test_a_silent_socket_without_subscriptions_ends_and_one_with_them_does_not(open_line: Open) -> None:
    line = await open_line(idle_s=1.0)
    idle, listening = await line.wallet(), await line.wallet()
    await listening.subscribe(QUOTE, "a")
    assert (await idle.socket.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
    await listening.is_silent()
    await _until(lambda: line.house.metric("sockets_ended_total", reason="idle") == 1)


async def test_messages_beyond_the_pace_of_an_address_wait(open_line: Open) -> None:
    line = await open_line(objects_per_s=20.0, objects_at_once=2)
    wallet = await line.wallet()
    started = asyncio.get_running_loop().time()
    for number in range(4):
        await wallet.subscribe(QUOTE, "a", sub_id=str(number))
    # Eight objects are counted, of which two are free.
    assert asyncio.get_running_loop().time() - started > 0.25


def _frame(body: object) -> bytes:
    """A message as a client sends it, masked by zeros."""
    text = json.dumps(body).encode()
    return b"\x81\xff" + len(text).to_bytes(8, "big") + bytes(4) + text


@pytest.mark.parametrize("house", ["sqlite"], indirect=True)
async def test_a_wallet_that_does_not_read_is_cut_off(open_line: Open) -> None:
    line = await open_line(send_s=0.2, objects=100_000, objects_at_once=1_000_000)
    host, _, port = line.url.removeprefix("http://").partition(":")
    client = socket.create_connection((host, int(port)))
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    filters = [f"02{number:064x}" for number in range(1_000)]
    # Its notices fill whatever the kernel holds for who does not read.
    messages = b"".join(
        _frame(
            {
                "jsonrpc": "2.0",
                "id": number,
                "method": "subscribe",
                "params": {"kind": PROOF, "subId": str(number), "filters": filters},
            }
        )
        for number in range(100)
    )
    with client:
        await loop.sock_sendall(
            client,
            b"GET /v1/ws HTTP/1.1\r\nHost: mint\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        # The kernel may take all of it before the mint has had enough.
        with contextlib.suppress(ConnectionError):
            await loop.sock_sendall(client, messages)
        await _until(lambda: line.house.metric("sockets_ended_total", reason="not-reading") == 1)


async def test_a_mint_that_stops_says_goodbye(open_line: Open) -> None:
    line = await open_line()
    wallet = await line.wallet()
    await wallet.subscribe(QUOTE, "a")
    closing = asyncio.create_task(line.server.close())
    assert (await wallet.socket.receive(timeout=30)).type is aiohttp.WSMsgType.CLOSE
    assert wallet.socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
    await closing


async def test_a_wallet_that_is_gone_leaves_nothing_behind(open_line: Open) -> None:
    line = await open_line()
    wallet = await line.wallet()
    await wallet.subscribe(QUOTE, "a", "b")
    assert line.house.metric("sockets") == 1
    assert wallet.socket._response.connection is not None
    transport = wallet.socket._response.connection.transport
    assert transport is not None
    transport.abort()
    await _until(lambda: line.house.metric("sockets") == 0)
    assert line.house.board.subjects == 0
