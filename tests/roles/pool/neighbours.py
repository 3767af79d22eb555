"""The pool's scripted neighbours: a template provider, a node and a mint, all of them fakes."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web

from protocols.bitcoin.hashing import display, sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.amount import Valuation
from protocols.ehash.credit import check_credit
from protocols.ehash.messages import MINING_MESSAGES, CreditResult, CreditResults, Credits
from protocols.noise.authority import public_of
from protocols.sv2.codec import MINING, TEMPLATE_DISTRIBUTION, encode
from protocols.sv2.connection import (
    SetupConnectionSuccess,
)
from protocols.sv2.limits import FrameLimits
from protocols.sv2.template_distribution import NewTemplate
from protocols.sv2.template_distribution import SetNewPrevHash as TemplateTip
from roles.credit.acceptor import ISSUANCE_LIMITS, Acceptor, Standing
from roles.runtime.sv2_connection import Sv2Connection, serve
from shared_config.address import Address

LOOPBACK = Address("127.0.0.1", 0)
WAIT_S = 30.0
ANY_TARGET = (1 << 256) - 1
REWARD = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
KEY = public_key(bytes(31) + b"\x21")
OTHER_KEY = public_key(bytes(31) + b"\x22")
ON_MINING_LINK = MINING.with_messages(*MINING_MESSAGES)

M = TypeVar("M")


async def soon(condition: Callable[[], object]) -> None:
    """Return when the condition holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.005)


class Provider:
    """A template provider that says what the test tells it to; `heard` is what the pool said."""

    secret = bytes(31) + b"\x31"

    def __init__(self) -> None:
        self.heard: asyncio.Queue[Any] = asyncio.Queue()
        self.links = 0
        self.link: Sv2Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self.tip = bytes((1,)) * 32
        self.next_id = 1
        self.now = 1_700_000_000
        """The least time of tips."""
        self.greeting = True
        """Whether a new link is sent a template and the tip at once."""
        self.handle = self._speak
        self.address = LOOPBACK

    def start(self) -> None:
        limit = FrameLimits(TEMPLATE_DISTRIBUTION)
        server = serve(LOOPBACK, self.secret, self._serve, limit=limit, setting="")
        self.address = server.address
        self._task = asyncio.create_task(server.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _serve(self, connection: Sv2Connection) -> None:
        await self.handle(connection)

    async def _speak(self, connection: Sv2Connection) -> None:
        setup, _ = TEMPLATE_DISTRIBUTION.decode(await connection.receive())
        self.heard.put_nowait(setup)
        connection.send(encode(SetupConnectionSuccess(2, 0)))
        constraints, _ = TEMPLATE_DISTRIBUTION.decode(await connection.receive())
        self.heard.put_nowait(constraints)
        self.link = connection
        self.links += 1
        if self.greeting:
            self.new_tip(self.tip)
        while True:
            message, _ = TEMPLATE_DISTRIBUTION.decode(await connection.receive())
            self.heard.put_nowait(message)

    def say(self, *messages: Any) -> None:
        assert self.link
        self.link.send(*(encode(message) for message in messages))

    def template(
        self, *, future: bool = False, value: int = 5_000_000_000, path: tuple[bytes, ...] = ()
    ) -> NewTemplate:
        template_id, self.next_id = self.next_id, self.next_id + 1
        return NewTemplate(
            template_id=template_id,
            future_template=future,
            version=0x20000000,
            coinbase_tx_version=2,
            coinbase_prefix=bytes.fromhex("0200017a")[:3],
            coinbase_tx_input_sequence=0xFFFFFFFE,
            coinbase_tx_value_remaining=value,
            coinbase_tx_outputs_count=0,
            coinbase_tx_outputs=b"",
            coinbase_tx_locktime=template_id,
            merkle_path=path,
        )

    def new_tip(
        self,
        tip: bytes,
        *,
        now: int | None = None,
        bits: int = 0x207FFFFF,
        target: int = 0x7FFFFF << 8 * 29,
    ) -> NewTemplate:
        """Send a future template and the tip that activates it."""
        self.tip = tip
        template = self.template(future=True)
        self.say(
            template, TemplateTip(template.template_id, tip, self.now if now is None else now, bits, target)
        )
        return template

    def fees(self, **fields: Any) -> NewTemplate:
        """Send a template to start on at once."""
        template = self.template(**fields)
        self.say(template)
        return template

    async def hear(self, kind: type[M]) -> M:
        """The next message of a kind; others before it are passed over."""
        async with asyncio.timeout(WAIT_S):
            while True:
                message = await self.heard.get()
                if isinstance(message, kind):
                    return message

    def drop(self) -> None:
        assert self.link
        self.link.close()


class Node:
    """A node's JSON-RPC with the two methods that the pool calls."""

    def __init__(self) -> None:
        self.chain: dict[str, int] = {}
        """Confirmations by hash, -1 off the active chain."""
        self.submitted: list[bytes] = []
        self.verdict: str | None = None
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=1 << 24)
        app.router.add_post("/", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        asked = await request.json()
        calls = asked if isinstance(asked, list) else [asked]
        answers = [self._reply(call) for call in calls]
        return web.json_response(answers if isinstance(asked, list) else answers[0])

    def _reply(self, call: dict[str, Any]) -> dict[str, Any]:
        result, error = self._call(call["method"], call.get("params", []))
        return {"jsonrpc": "1.0", "id": call["id"], "result": result, "error": error}

    def _call(self, method: str, params: list[Any]) -> tuple[Any, Any]:
        if method == "submitblock":
            block = bytes.fromhex(params[0])
            self.submitted.append(block)
            if self.verdict is None:
                self.chain[display(sha256d(block[:80]))] = 1
            return self.verdict, None
        if params[0] not in self.chain:
            return None, {"code": -5, "message": "Block not found"}
        header = {"hash": params[0], "confirmations": self.chain[params[0]], "height": 7, "time": 1}
        return header | {"mediantime": 1, "bits": "207fffff", "previousblockhash": "00" * 32}, None


class Book:
    """The mint's book: settles what comes, unless the test wants otherwise."""

    def __init__(self) -> None:
        self.acked: dict[bytes, int] = {}
        self.rows: dict[int, Any] = {}
        self.codes: dict[int, int] = {}

    async def open_ledger(self, identity: bytes, store_id: bytes, next_seq: int) -> Standing:
        return Standing(self.acked.get(store_id, 0), 0)

    async def settle(self, identity: bytes, store_id: bytes, credits_frame: Credits) -> CreditResults:
        for seq, row in enumerate(credits_frame.rows, credits_frame.first_seq):
            credit = check_credit(row, credits_frame.minimum, Valuation(credits_frame.valuation))
            self.rows.setdefault(seq, credit)
            assert self.rows[seq] == credit, "a row has changed"
        last = credits_frame.first_seq + len(credits_frame.rows) - 1
        self.acked[store_id] = max(last, self.acked.get(store_id, 0))
        codes = tuple(CreditResult(seq, code) for seq, code in self.codes.items() if seq <= last)
        return CreditResults(last, codes)


class Mint:
    """The mint's end of the issuance link."""

    secret = bytes(31) + b"\x32"

    def __init__(self, port: int = 0) -> None:
        self.book = Book()
        self.port = port
        self._task: asyncio.Task[None] | None = None

    def start(self, issuers: list[bytes]) -> None:
        acceptor = Acceptor(
            self.book,
            issuers,
            authority=public_of(self.secret),
            quote_key=public_key(bytes(31) + b"\x33"),
            mint_url="http://mint",
            window=16,
        )
        server = serve(
            Address("127.0.0.1", self.port), self.secret, acceptor.serve, limit=ISSUANCE_LIMITS, setting=""
        )
        self.port = server.address.port
        self._task = asyncio.create_task(server.run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
