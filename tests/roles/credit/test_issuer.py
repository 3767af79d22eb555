"""The issuer against a mint that the test plays, frame by frame."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.errors import CreditCode
from protocols.ehash.identity import verify_hello
from protocols.ehash.messages import (
    ISSUANCE,
    CreditResult,
    CreditResults,
    Credits,
    IssuerHello,
    IssuerHelloSuccess,
    QuoteNotice,
)
from protocols.sv2.codec import encode
from protocols.sv2.connection import SetupConnection, SetupConnectionError, SetupConnectionSuccess
from protocols.sv2.frame import Frame
from roles.credit.issuer import Handover, Issuer, IssuerMetrics, IssuerTiming
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import LedgerRow
from roles.runtime.backoff import Backoff
from roles.runtime.errors import ConnectFailed, ConnectionLost

SECRET = bytes(31) + b"\x01"
MINT = bytes(range(32))
QUOTE_KEY = public_key(bytes(31) + b"\x09")


class Pipe:
    """One end of a connection in memory; the test holds the other end's queues."""

    def __init__(self, handshake_hash: bytes) -> None:
        self.handshake_hash = handshake_hash
        self.sent: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.arriving: asyncio.Queue[Frame | None] = asyncio.Queue()
        self.closed = False

    async def receive(self) -> Frame:
        frame = None if self.closed else await self.arriving.get()
        if frame is None:
            raise ConnectionLost("gone", code="peer-closed")
        return frame

    def send(self, *frames: Frame) -> None:
        if self.closed:
            raise ConnectionLost("gone", code="peer-closed")
        for frame in frames:
            self.sent.put_nowait(frame)

    async def drain(self) -> None:
        """Nothing piles up."""

    def close(self, text: str = "", *, code: str = "closed") -> None:
        self.closed = True
        self.sent.put_nowait(None)


class Mint:
    """Accepts the issuer's connections one after another and speaks as the test tells it."""

    def __init__(self) -> None:
        self.pipes: asyncio.Queue[Pipe] = asyncio.Queue()
        self.pipe = Pipe(b"")
        self.dials = 0
        self.away = False

    async def dial(self) -> Pipe:
        self.dials += 1
        if self.away:
            raise ConnectFailed("no mint", code="unreachable")
        pipe = Pipe(bytes((self.dials,)) * 32)
        self.pipes.put_nowait(pipe)
        return pipe

    async def hear(self) -> Any:
        frame = await asyncio.wait_for(self.pipe.sent.get(), 30)
        assert frame is not None, "the issuer has closed the connection"
        return ISSUANCE.decode(frame)[0]

    def say(self, message: Any) -> None:
        self.pipe.arriving.put_nowait(encode(message))

    async def accept(self) -> IssuerHello:
        self.pipe = await asyncio.wait_for(self.pipes.get(), 30)
        setup = await self.hear()
        assert isinstance(setup, SetupConnection)
        assert (setup.protocol, setup.min_version, setup.max_version) == (0x45, 2, 2)
        self.say(SetupConnectionSuccess(2, 0))
        hello = await self.hear()
        assert isinstance(hello, IssuerHello)
        return hello

    async def link(self, acked: int = 0, window: int = 4, min_shift: int = 0) -> IssuerHello:
        hello = await self.accept()
        self.say(IssuerHelloSuccess(acked, min_shift, window, "http://mint", QUOTE_KEY))
        return hello

    async def credits(self) -> Credits:
        message = await self.hear()
        assert isinstance(message, Credits)
        return message

    def settle(self, up_to: int, *results: tuple[int, CreditCode]) -> None:
        self.say(CreditResults(up_to, tuple(CreditResult(seq, code) for seq, code in results)))

    async def closed(self) -> None:
        while await asyncio.wait_for(self.pipe.sent.get(), 30) is not None:
            pass


class Listener:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[int, CreditCode | None]] = asyncio.Queue()

    def confirmed(self, rows: Sequence[LedgerRow]) -> None:
        for row in rows:
            self.heard.put_nowait((row.seq, None))

    def refused(self, row: LedgerRow, code: CreditCode) -> None:
        self.heard.put_nowait((row.seq, code))

    async def next(self, count: int = 1) -> list[tuple[int, CreditCode | None]]:
        return [await asyncio.wait_for(self.heard.get(), 30) for _ in range(count)]


@pytest.fixture
def mint() -> Mint:
    return Mint()


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
async def ledger(open_ledger: Any) -> Ledger:
    opened: Ledger = await open_ledger()
    return opened


@pytest.fixture
def timing() -> IssuerTiming:
    return IssuerTiming(hold_first=0.01, hold_limit=0.02)


@pytest.fixture
async def issuer(
    ledger: Ledger, mint: Mint, listener: Listener, timing: IssuerTiming
) -> AsyncIterator[Issuer]:
    backoff = Backoff(first_s=0.01, limit_s=0.02)
    made = Issuer(ledger, SECRET, MINT, mint.dial, listener=listener, timing=timing, backoff=backoff)
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def seqs(frame: Credits) -> list[int]:
    return list(range(frame.first_seq, frame.first_seq + len(frame.rows)))


async def test_the_hello_proves_the_identity_on_this_session(
    issuer: Issuer, mint: Mint, ledger: Ledger
) -> None:
    hello = await mint.accept()
    assert hello.identity == public_key(SECRET)
    assert hello.store_id == ledger.store_id
    assert hello.next_seq == 1
    verify_hello(hello.identity, hello.signature, mint.pipe.handshake_hash, MINT)


async def test_rows_are_handed_over_as_they_are_recorded_and_confirmed(
    issuer: Issuer, mint: Mint, ledger: Ledger, listener: Listener, make_entry: Any
) -> None:
    await ledger.append([make_entry(1), make_entry(2, block=True)])
    assert (await mint.link()).next_seq == 3
    frame = await mint.credits()
    assert (frame.first_seq, frame.shift, frame.minimum, frame.valuation) == (1, 0, 8, 0)
    assert [row.header for row in frame.rows] == [make_entry(1).header, make_entry(2).header]
    assert [row.flags for row in frame.rows] == [0, 1]
    assert frame.rows[0].locking_key == make_entry(1).key
    mint.settle(2)
    assert await listener.next(2) == [(1, None), (2, None)]
    await ledger.append([make_entry(3)])
    assert seqs(await mint.credits()) == [3]
    mint.settle(3)
    assert await listener.next() == [(3, None)]
    assert ledger.metrics.acked._value.get() == 3


async def test_new_rows_wait_for_others_to_be_handed_over_with(
    issuer: Issuer,
    mint: Mint,
    ledger: Ledger,
    listener: Listener,
    make_entry: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waits: list[float] = []
    go = asyncio.Event()

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        await go.wait()

    monkeypatch.setattr(asyncio, "sleep", wait)
    monkeypatch.setattr(issuer, "_timing", IssuerTiming(gather=60.0))
    await ledger.append([make_entry(1)])
    await mint.link()
    assert seqs(await mint.credits()) == [1]
    mint.settle(1)
    await listener.next()
    await ledger.append([make_entry(2)])
    await ledger.append([make_entry(3)])
    go.set()
    assert seqs(await mint.credits()) == [2, 3]
    assert waits == [60.0]


async def test_a_frame_holds_at_most_1000_rows(
    issuer: Issuer, mint: Mint, ledger: Ledger, make_entry: Any
) -> None:
    await ledger.append([make_entry(number) for number in range(1, 1502)])
    await mint.link()
    assert [len((await mint.credits()).rows) for _ in range(2)] == [1000, 501]


async def test_a_frame_holds_rows_of_one_shift(
    issuer: Issuer, mint: Mint, ledger: Ledger, make_entry: Any
) -> None:
    await ledger.append([make_entry(1, block=True)])
    await ledger.append([make_entry(2)])
    await mint.link()
    frames = [await mint.credits() for _ in range(2)]
    assert [(seqs(frame), frame.shift) for frame in frames] == [([1], 0), ([2], 1)]


async def test_no_more_frames_than_the_window_are_unanswered(
    issuer: Issuer, mint: Mint, ledger: Ledger, make_entry: Any
) -> None:
    await mint.link(window=1)
    await ledger.append([make_entry(1)])
    assert seqs(await mint.credits()) == [1]
    await ledger.append([make_entry(2)])
    await ledger.append([make_entry(3)])
    await asyncio.sleep(0.02)
    assert mint.pipe.sent.empty()
    mint.settle(1)
    assert seqs(await mint.credits()) == [2, 3]


async def test_what_is_not_settled_is_sent_again_after_a_loss_of_the_link(
    issuer: Issuer, mint: Mint, ledger: Ledger, listener: Listener, make_entry: Any
) -> None:
    await ledger.append([make_entry(number) for number in range(1, 4)])
    await mint.link()
    assert seqs(await mint.credits()) == [1, 2, 3]
    mint.away = True
    mint.pipe.arriving.put_nowait(None)
    await mint.closed()
    while mint.dials < 4:
        await asyncio.sleep(0.005)
    assert "no mint" in issuer.failure
    mint.away = False
    # The mint had stored the first two before its answer was lost.
    await mint.link(acked=2)
    assert seqs(await mint.credits()) == [1, 2, 3]
    mint.settle(3)
    assert await listener.next(3) == [(1, None), (2, None), (3, None)]
    mint.pipe.arriving.put_nowait(None)
    await mint.link(acked=3)
    await ledger.append([make_entry(4)])
    assert seqs(await mint.credits()) == [4]


async def test_a_refusal_whose_answer_was_lost_is_heard_on_the_next_link(
    issuer: Issuer, mint: Mint, ledger: Ledger, listener: Listener, make_entry: Any
) -> None:
    await ledger.append([make_entry(number) for number in range(1, 4)])
    await mint.link()
    await mint.credits()
    mint.pipe.arriving.put_nowait(None)
    await mint.link(acked=3)
    assert seqs(await mint.credits()) == [1, 2, 3]
    assert ledger.metrics.acked._value.get() == 3
    mint.settle(3, (2, CreditCode.BAD_KEY))
    assert await listener.next(3) == [(1, None), (3, None), (2, CreditCode.BAD_KEY)]
    assert await refusals(ledger) == [(2, CreditCode.BAD_KEY)]


async def test_after_a_restart_the_mint_is_asked_again_about_what_may_have_been_unanswered(
    ledger: Ledger, mint: Mint, listener: Listener, timing: IssuerTiming, make_entry: Any
) -> None:
    for start in (1, 1001, 2001):
        await ledger.append([make_entry(number) for number in range(start, start + 1000)])
    issuer = Issuer(ledger, SECRET, MINT, mint.dial, listener=listener, timing=timing)
    task = asyncio.create_task(issuer.run())
    await mint.link(acked=2500, window=2)
    assert (await mint.credits()).first_seq == 501
    mint.settle(1500, (600, CreditCode.BAD_WORK))
    assert (await mint.credits()).first_seq == 1501
    mint.settle(2500)
    await listener.next(2000)
    assert ledger.metrics.acked._value.get() == 2500
    assert await refusals(ledger) == [(600, CreditCode.BAD_WORK)]
    assert (await mint.credits()).first_seq == 2501
    task.cancel()


async def test_a_link_that_is_lost_while_rows_are_read_is_no_more_than_lost(
    ledger: Ledger, listener: Listener, make_entry: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.append([make_entry(1)])
    rows = await ledger.rows_after(0, 1)

    async def at_once(*_: int) -> list[LedgerRow]:
        return rows

    monkeypatch.setattr(ledger, "rows_after", at_once)
    pipe = Pipe(b"")
    pipe.arriving.put_nowait(None)
    handover = Handover(
        pipe,
        ledger,
        IssuerHelloSuccess(0, 0, 4, "", QUOTE_KEY),
        heard=0,
        listener=listener,
        metrics=IssuerMetrics(CollectorRegistry()),
        timing=IssuerTiming(),
    )
    with pytest.raises(ExceptionGroup) as caught:
        await handover.run()
    assert caught.value.split(ConnectionLost)[1] is None


async def refusals(ledger: Ledger) -> list[tuple[int, int]]:
    """Seq and code of the refusals that the ledger keeps."""
    kept = await ledger._database.read(lambda c: c.execute("SELECT seq, code FROM refusal").fetchall())
    return [tuple(row) for row in kept]


async def test_refused_rows_are_recorded_told_and_passed(
    issuer: Issuer, mint: Mint, ledger: Ledger, listener: Listener, make_entry: Any
) -> None:
    await ledger.append([make_entry(number) for number in range(1, 4)])
    await mint.link()
    await mint.credits()
    mint.settle(3, (2, CreditCode.BAD_KEY))
    assert await listener.next(3) == [(1, None), (3, None), (2, CreditCode.BAD_KEY)]
    assert await refusals(ledger) == [(2, CreditCode.BAD_KEY)]
    assert ledger.metrics.refused._value.get() == 1


@pytest.mark.parametrize("code", [CreditCode.RETRY, CreditCode.OVER_BOUND])
async def test_held_rows_are_sent_again_later_and_nothing_is_lost(
    issuer: Issuer, mint: Mint, ledger: Ledger, listener: Listener, make_entry: Any, code: CreditCode
) -> None:
    await mint.link()
    await ledger.append([make_entry(number) for number in range(1, 4)])
    assert seqs(await mint.credits()) == [1, 2, 3]
    await ledger.append([make_entry(4)])
    assert seqs(await mint.credits()) == [4]
    mint.settle(1, (2, code))
    mint.settle(1, (2, CreditCode.RETRY))
    assert await listener.next() == [(1, None)]
    assert seqs(await mint.credits()) == [2, 3, 4]
    mint.settle(1, (2, code))
    assert seqs(await mint.credits()) == [2, 3, 4]
    mint.settle(4)
    assert await listener.next(3) == [(2, None), (3, None), (4, None)]


async def test_a_new_ledger_begins_in_the_mints_shift(
    issuer: Issuer, mint: Mint, ledger: Ledger, make_entry: Any
) -> None:
    await ledger.append([make_entry(1)])
    await mint.link(min_shift=5)
    assert (await mint.credits()).shift == 5


async def test_a_known_ledger_keeps_its_shift(
    issuer: Issuer, mint: Mint, ledger: Ledger, make_entry: Any
) -> None:
    await ledger.append([make_entry(1), make_entry(2)])
    await mint.link(acked=1, min_shift=5)
    assert (await mint.credits()).shift == 0


@pytest.mark.parametrize(
    "terms",
    [
        IssuerHelloSuccess(1, 0, 4, "", QUOTE_KEY),
        IssuerHelloSuccess(0, 0, 0, "", QUOTE_KEY),
        SetupConnectionError(0, "unknown-issuer"),
        SetupConnectionSuccess(2, 0),
    ],
)
async def test_terms_that_cannot_be_are_not_worked_on(issuer: Issuer, mint: Mint, terms: Any) -> None:
    await mint.accept()
    mint.say(terms)
    await mint.closed()
    assert issuer.failure
    await mint.accept()


async def test_a_refusal_says_what_a_person_can_do_about_it(
    issuer: Issuer, mint: Mint, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        await mint.accept()
        mint.say(SetupConnectionError(0, "unknown-issuer"))
        await mint.closed()
    assert "'unknown-issuer'" in issuer.failure
    assert "hashpool keys show pool" in issuer.failure
    told = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(told) == 1


@pytest.mark.parametrize(
    "answer",
    [
        CreditResults(0, ()),
        CreditResults(3, ()),
        CreditResults(1, ()),
        CreditResults(1, (CreditResult(2, 1),)),
        CreditResults(2, (CreditResult(1, 99),)),
        IssuerHelloSuccess(0, 0, 4, "", QUOTE_KEY),
    ],
)
async def test_results_that_cannot_be_end_the_link_and_settle_nothing(
    issuer: Issuer, mint: Mint, ledger: Ledger, listener: Listener, make_entry: Any, answer: Any
) -> None:
    await ledger.append([make_entry(1), make_entry(2)])
    await mint.link()
    await mint.credits()
    mint.say(answer)
    await mint.closed()
    assert listener.heard.empty()
    await mint.link()
    assert seqs(await mint.credits()) == [1, 2]


async def test_results_without_a_question_end_the_link(issuer: Issuer, mint: Mint) -> None:
    await mint.link()
    mint.settle(0)
    await mint.closed()


async def test_messages_that_only_a_later_version_knows_are_passed_over(
    issuer: Issuer, mint: Mint, ledger: Ledger, listener: Listener, make_entry: Any
) -> None:
    await ledger.append([make_entry(1)])
    await mint.accept()
    mint.say(QuoteNotice(1, bytes(32), 1, ""))
    mint.say(IssuerHelloSuccess(0, 0, 4, "http://mint", QUOTE_KEY))
    await mint.credits()
    mint.say(QuoteNotice(1, bytes(32), 1, ""))
    mint.settle(1)
    assert await listener.next() == [(1, None)]


@pytest.mark.parametrize("timing", [IssuerTiming(hello=0.05)])
async def test_a_mint_that_says_nothing_is_left(issuer: Issuer, mint: Mint) -> None:
    mint.pipe = await asyncio.wait_for(mint.pipes.get(), 30)
    await mint.closed()
    await asyncio.wait_for(mint.pipes.get(), 30)


@pytest.mark.parametrize("timing", [IssuerTiming(answer=0.05)])
async def test_a_mint_that_answers_no_credits_is_left(
    issuer: Issuer, mint: Mint, ledger: Ledger, make_entry: Any
) -> None:
    await ledger.append([make_entry(1)])
    await mint.link()
    assert seqs(await mint.credits()) == [1]
    await mint.closed()
    await mint.link()
    assert seqs(await mint.credits()) == [1]


async def test_an_idle_link_is_kept(
    issuer: Issuer,
    mint: Mint,
    ledger: Ledger,
    listener: Listener,
    make_entry: Any,
    leap: Callable[[float], None],
) -> None:
    await mint.link()
    for seq in (1, 2):
        await ledger.append([make_entry(seq)])
        assert seqs(await mint.credits()) == [seq]
        mint.settle(seq)
        assert await listener.next() == [(seq, None)]
        leap(3_600)
    assert mint.dials == 1
