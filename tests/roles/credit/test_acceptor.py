import asyncio
from dataclasses import dataclass, field

import pytest

from protocols.bitcoin.secp256k1 import public_key, xonly
from protocols.ehash.errors import CreditCode
from protocols.ehash.identity import sign_hello
from protocols.ehash.messages import (
    ISSUANCE,
    PROTOCOL_ISSUANCE,
    CreditResult,
    CreditResults,
    CreditRow,
    Credits,
    IssuerHello,
    IssuerHelloSuccess,
)
from protocols.sv2.codec import encode
from protocols.sv2.connection import (
    PROTOCOL_MINING,
    SetupConnection,
    SetupConnectionError,
    SetupConnectionSuccess,
)
from protocols.sv2.errors import MalformedMessage, UnexpectedMessage
from protocols.sv2.frame import Frame
from protocols.sv2.layout import Message
from roles.credit import acceptor as acceptor_module
from roles.credit.acceptor import Acceptor, Standing
from roles.credit.errors import LedgerBehind, LedgerForked
from roles.runtime.errors import ConnectionLost

POOL = b"\x11" * 32
AUTHORITY = xonly(public_key(b"\x12" * 32))
QUOTE_KEY = public_key(b"\x13" * 32)
STORE = b"\x22" * 16
HANDSHAKE = b"\x33" * 32
ROW = CreditRow(bytes(80), (1 << 256) - 1, 5, 0, QUOTE_KEY)


class Link:
    """Both ends of a connection in memory."""

    def __init__(self) -> None:
        self.peer = "10.0.0.1:5"
        self.handshake_hash = HANDSHAKE
        self.to_mint: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.to_pool: asyncio.Queue[Frame] = asyncio.Queue()
        self.closed: tuple[str, str] | None = None
        self.reads_slowly = False

    async def receive(self) -> Frame:
        frame = await self.to_mint.get()
        if frame is None or self.closed:
            raise ConnectionLost("gone")
        return frame

    def send(self, *frames: Frame) -> None:
        for frame in frames:
            self.to_pool.put_nowait(frame)

    async def drain(self) -> None:
        if self.reads_slowly:
            await asyncio.Event().wait()

    def close(self, text: str = "closed by us", *, code: str = "closed") -> None:
        self.closed = (code, text)
        self.to_mint.put_nowait(None)

    def say(self, *messages: Message) -> None:
        for message in messages:
            self.to_mint.put_nowait(encode(message))

    async def hear(self) -> Message:
        async with asyncio.timeout(30):
            return ISSUANCE.decode(await self.to_pool.get())[0]


@dataclass
class Book:
    """Remembers what it was asked and answers as told."""

    opened: list[tuple[bytes, bytes, int]] = field(default_factory=list)
    settled: list[Credits] = field(default_factory=list)
    answer: CreditResults | Exception = field(default_factory=lambda: CreditResults(1, ()))
    standing: Standing | Exception = field(default_factory=lambda: Standing(7, 2))

    async def open_ledger(self, identity: bytes, store_id: bytes, next_seq: int) -> Standing:
        self.opened.append((identity, store_id, next_seq))
        if isinstance(self.standing, Exception):
            raise self.standing
        return self.standing

    async def settle(self, identity: bytes, store_id: bytes, credits_frame: Credits) -> CreditResults:
        self.settled.append(credits_frame)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def setup(protocol: int = PROTOCOL_ISSUANCE) -> SetupConnection:
    return SetupConnection(protocol, 2, 2, 0, "mint", 34260, "hashpool", "", "", "")


def hello(
    secret: bytes = POOL, handshake: bytes = HANDSHAKE, authority: bytes = AUTHORITY, claimed: bytes = POOL
) -> IssuerHello:
    _, signature = sign_hello(secret, handshake, authority, bytes(32))
    return IssuerHello(public_key(claimed), signature, STORE, 8)


def credits_frame(rows: int = 1) -> Credits:
    return Credits(8, 2, 8, 0, (ROW,) * rows)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def acceptor(book: Book) -> Acceptor:
    return Acceptor(
        book,
        [public_key(POOL)],
        authority=AUTHORITY,
        quote_key=QUOTE_KEY,
        mint_url="http://mint",
        window=16,
    )


@pytest.fixture
async def link() -> Link:
    return Link()


async def _greeted(acceptor: Acceptor, link: Link, *between: Frame) -> asyncio.Task[None]:
    link.say(setup())
    for frame in between:
        link.to_mint.put_nowait(frame)
    link.say(hello())
    task = asyncio.create_task(acceptor.serve(link))
    assert isinstance(await link.hear(), SetupConnectionSuccess)
    assert await link.hear() == IssuerHelloSuccess(7, 2, 16, "http://mint", QUOTE_KEY)
    return task


async def _end(task: asyncio.Task[None], link: Link) -> None:
    link.to_mint.put_nowait(None)
    with pytest.raises(ConnectionLost):
        await task


async def test_a_known_issuer_is_told_where_its_ledger_stands(
    acceptor: Acceptor, book: Book, link: Link
) -> None:
    task = await _greeted(acceptor, link)
    assert book.opened == [(public_key(POOL), STORE, 8)]
    assert acceptor.linked == 1
    await _end(task, link)
    assert acceptor.linked == 0


async def test_each_frame_of_credits_is_answered_when_it_is_settled(
    acceptor: Acceptor, book: Book, link: Link
) -> None:
    task = await _greeted(acceptor, link)
    book.answer = CreditResults(9, (CreditResult(8, CreditCode.BAD_KEY),))
    link.say(credits_frame(2), credits_frame(1000))
    assert await link.hear() == book.answer
    assert await link.hear() == book.answer
    assert [len(frame.rows) for frame in book.settled] == [2, 1000]
    await _end(task, link)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (hello(secret=b"\x55" * 32, claimed=b"\x55" * 32), "unknown-issuer"),
        (hello(secret=b"\x55" * 32), "false-identity"),
        (hello(handshake=bytes(32)), "false-identity"),
        (hello(authority=QUOTE_KEY[1:]), "false-identity"),
    ],
)
async def test_an_issuer_that_is_not_known_or_not_itself_is_refused_in_words(
    acceptor: Acceptor, book: Book, link: Link, message: IssuerHello, code: str
) -> None:
    link.say(setup(), message)
    await acceptor.serve(link)
    assert isinstance(await link.hear(), SetupConnectionSuccess)
    assert await link.hear() == SetupConnectionError(0, code)
    assert link.closed is not None
    assert link.closed[0] == code
    assert book.opened == []


async def test_a_hello_recorded_on_another_session_proves_nothing(acceptor: Acceptor, link: Link) -> None:
    link.handshake_hash = b"\x34" * 32
    link.say(setup(), hello())
    await acceptor.serve(link)
    await link.hear()
    assert await link.hear() == SetupConnectionError(0, "false-identity")


async def test_a_ledger_that_lags_is_refused(acceptor: Acceptor, book: Book, link: Link) -> None:
    book.standing = LedgerBehind("old")
    link.say(setup(), hello())
    await acceptor.serve(link)
    await link.hear()
    assert await link.hear() == SetupConnectionError(0, "ledger-behind")


async def test_rows_that_the_book_refuses_end_the_link_with_the_reason(
    acceptor: Acceptor, book: Book, link: Link
) -> None:
    task = await _greeted(acceptor, link)
    book.answer = LedgerForked("other row")
    link.say(credits_frame())
    await task
    assert await link.hear() == SetupConnectionError(0, "ledger-forked")
    assert acceptor.linked == 0


async def test_a_client_of_another_protocol_is_refused(acceptor: Acceptor, link: Link) -> None:
    link.say(setup(PROTOCOL_MINING))
    await acceptor.serve(link)
    assert await link.hear() == SetupConnectionError(0, "unsupported-protocol")


async def test_messages_out_of_turn_end_the_link(acceptor: Acceptor) -> None:
    for early in (credits_frame(), CreditResults(1, ())):
        link = Link()
        link.say(setup(), early)
        with pytest.raises(UnexpectedMessage):
            await acceptor.serve(link)
    for late in (hello(), CreditResults(1, ())):
        link = Link()
        task = await _greeted(acceptor, link)
        link.say(late)
        with pytest.raises(UnexpectedMessage):
            await task


async def test_messages_that_only_a_later_version_knows_are_passed_over(
    acceptor: Acceptor, book: Book
) -> None:
    later = Frame(0x4548, False, 0x77, b"")
    link = Link()
    task = await _greeted(acceptor, link, later)
    link.to_mint.put_nowait(later)
    link.say(credits_frame())
    assert await link.hear() == book.answer
    assert acceptor.ignored == 2
    await _end(task, link)


async def test_frames_that_cannot_be_read_end_the_link(acceptor: Acceptor) -> None:
    broken = encode(credits_frame())
    for frame, error in (
        (Frame(broken.extension, False, broken.msg_type, broken.payload[:-1]), MalformedMessage),
        (encode(credits_frame(1001)), MalformedMessage),
    ):
        link = Link()
        task = await _greeted(acceptor, link)
        link.to_mint.put_nowait(frame)
        with pytest.raises(error):
            await task


async def test_a_link_made_anew_replaces_the_older_one(acceptor: Acceptor, link: Link) -> None:
    task = await _greeted(acceptor, link)
    second = Link()
    second_task = await _greeted(acceptor, second)
    with pytest.raises(ConnectionLost):
        await task
    assert link.closed is not None
    assert link.closed[0] == "superseded"
    assert acceptor.linked == 1
    await _end(second_task, second)


async def test_a_peer_that_says_nothing_or_reads_nothing_is_let_go(
    acceptor: Acceptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_module, "HELLO_S", 0.01)
    silent = Link()
    await acceptor.serve(silent)
    assert silent.closed is not None
    assert silent.closed[0] == "begin-timeout"
    monkeypatch.setattr(acceptor_module, "HELLO_S", 5)
    monkeypatch.setattr(acceptor_module, "DRAIN_S", 0.01)
    slow = Link()
    task = await _greeted(acceptor, slow)
    slow.reads_slowly = True
    slow.say(credits_frame())
    await task
    assert slow.closed is not None
    assert slow.closed[0] == "not-reading"
