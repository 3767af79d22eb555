import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from roles.mint import notice_board
from roles.mint.notice_board import NoticeBoard, State, Subject
from roles.runtime.errors import StorageError

KIND = "thing"


class Things:
    """A store of numbers by name."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self.reads: list[list[str]] = []
        self.failures = 0

    async def read(self, names: Sequence[str]) -> dict[str, State]:
        self.reads.append(list(names))
        if self.failures:
            self.failures -= 1
            raise StorageError("the disk is away")
        return {name: {"n": self.numbers[name]} for name in names if name in self.numbers}


class Ear:
    """Remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, State]] = []
        self.more = asyncio.Event()

    def hear(self, subject: Subject, state: State) -> None:
        self.heard.append((subject.name, state))
        self.more.set()

    async def next(self) -> list[tuple[str, State]]:
        async with asyncio.timeout(30):
            await self.more.wait()
        self.more.clear()
        heard, self.heard = self.heard, []
        return heard


@asynccontextmanager
async def _running(board: NoticeBoard) -> AsyncIterator[None]:
    task = asyncio.create_task(board.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _subjects(*names: str) -> list[Subject]:
    return [Subject(KIND, name) for name in names]


async def test_a_listener_hears_the_present_state_and_every_change_after_it() -> None:
    board, things, ear = NoticeBoard(), Things(), Ear()
    board.offer(KIND, things.read)
    things.numbers = {"a": 1}
    async with _running(board):
        board.listen(_subjects("a", "unborn"), ear)
        assert await ear.next() == [("a", {"n": 1})]
        things.numbers |= {"a": 2, "unborn": 5}
        board.post(KIND, ["a", "unborn", "nobody listens"])
        assert await ear.next() == [("a", {"n": 2}), ("unborn", {"n": 5})]
        assert things.reads == [["a", "unborn"], ["a", "unborn"]]


async def test_what_changes_often_before_it_is_read_is_told_once() -> None:
    board, things, ear = NoticeBoard(), Things(), Ear()
    board.offer(KIND, things.read)
    async with _running(board):
        board.listen(_subjects("a"), ear)
        for number in range(10):
            things.numbers["a"] = number
            board.post(KIND, ["a"])
        assert await ear.next() == [("a", {"n": 9})]


async def test_who_has_left_hears_no_more_and_others_still_do() -> None:
    board, things, first, second = NoticeBoard(), Things(), Ear(), Ear()
    board.offer(KIND, things.read)
    things.numbers = {"a": 1, "b": 1}
    board.listen(_subjects("a", "b"), first)
    board.listen(_subjects("a"), second)
    board.leave(_subjects("a", "b"), first)
    board.leave(_subjects("b", "never"), first)
    assert board.subjects == 1
    async with _running(board):
        assert await second.next() == [("a", {"n": 1})]
    assert first.heard == []


async def test_a_board_with_no_listeners_reads_nothing() -> None:
    board, things = NoticeBoard(), Things()
    board.offer(KIND, things.read)
    board.post(KIND, iter(["a"]))
    async with _running(board):
        await asyncio.sleep(0)
    assert things.reads == []


async def test_a_store_that_fails_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice_board, "RETRY_S", 0.0)
    board, things, ear = NoticeBoard(), Things(), Ear()
    board.offer(KIND, things.read)
    things.numbers, things.failures = {"a": 1}, 2
    async with _running(board):
        board.listen(_subjects("a"), ear)
        assert await ear.next() == [("a", {"n": 1})]
    assert len(things.reads) == 3


async def test_changes_that_nobody_posts_are_found_by_looking_again() -> None:
    board, things, ear = NoticeBoard(poll_s=0.001), Things(), Ear()
    board.offer(KIND, things.read)
    things.numbers = {"a": 1}
    async with _running(board):
        board.listen(_subjects("a"), ear)
        heard = await ear.next()
        things.numbers["a"] = 2
        while heard[-1] != ("a", {"n": 2}):
            heard = await ear.next()


async def test_many_names_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notice_board, "BATCH", 2)
    board, things, ear = NoticeBoard(), Things(), Ear()
    board.offer(KIND, things.read)
    things.numbers = dict.fromkeys("abcde", 1)
    async with _running(board):
        board.listen(_subjects(*"abcde"), ear)
        heard: list[tuple[str, State]] = []
        while len(heard) < 5:
            heard += await ear.next()
    assert things.reads == [["a", "b"], ["c", "d"], ["e"]]
