import asyncio
import json
import socket
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roles.runtime import local_socket
from roles.runtime.errors import CommitFailed, DaemonRefused, DaemonSilent, OperatorError
from roles.runtime.local_socket import LocalServer, Tell, ask


async def answer(line: bytes, tell: Tell) -> bytes:
    question = json.loads(line)
    if question == "long":
        tell("one of two")
        tell("two of two")
    errors = {
        "operator": OperatorError("it is not so", hint="try this"),
        "store": CommitFailed("disk full"),
        "fault": ZeroDivisionError("inner detail"),
    }
    if isinstance(question, str) and question in errors:
        raise errors[question]
    return json.dumps({"heard": question}).encode()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    made = LocalServer(tmp_path / "control.sock", answer)
    assert await made.start()
    yield made
    await made.close()


async def put(server: LocalServer, question: object) -> object:
    return await asyncio.to_thread(ask, server.path, question)


async def test_a_question_is_answered_on_a_socket_that_only_its_owner_reaches(server: LocalServer) -> None:
    assert await put(server, {"order": "status"}) == {"heard": {"order": "status"}}
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


async def test_what_takes_long_tells_how_far_it_is(server: LocalServer) -> None:
    told: list[str] = []
    heard = await asyncio.to_thread(ask, server.path, "long", tell=told.append)
    assert heard == {"heard": "long"}
    assert told == ["one of two", "two of two"]


async def test_what_takes_long_ends_when_nobody_listens_any_more(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def for_ever(_: bytes, tell: Tell) -> bytes:
        try:
            while True:
                tell("on and on")
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    server = LocalServer(tmp_path / "control.sock", for_ever)
    assert await server.start()
    _, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(b"1\n")
    await writer.drain()
    writer.close()
    async with asyncio.timeout(30):
        await ended.wait()
    await server.close()


@pytest.mark.parametrize(
    ("question", "text", "hint"),
    [
        ("operator", "it is not so", "try this"),
        ("store", "the store failed: disk full", "see /ready"),
        ("fault", "the daemon failed at this", "its log says why"),
    ],
)
async def test_what_goes_wrong_is_told_with_a_hint(
    server: LocalServer, question: str, text: str, hint: str
) -> None:
    with pytest.raises(DaemonRefused) as caught:
        await put(server, question)
    assert caught.value.text == text
    assert caught.value.hint.startswith(hint)
    assert "inner detail" not in str(caught.value)


async def test_a_line_without_end_is_cut_off_and_others_are_answered(server: LocalServer) -> None:
    def flood() -> bytes:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(server.path))
            try:
                peer.sendall(b"x" * 200_000)
                return peer.recv(10)
            except OSError:
                return b""

    assert await asyncio.to_thread(flood) == b""
    assert await put(server, 1) == {"heard": 1}


async def test_nobody_home_is_said_with_what_to_do(tmp_path: Path, server: LocalServer) -> None:
    with pytest.raises(DaemonSilent, match="start the daemon"):
        ask(tmp_path / "none.sock", 1)
    await server.close()
    assert not server.path.exists()
    with pytest.raises(DaemonSilent, match="nobody answers"):
        ask(server.path, 1)


async def test_a_socket_left_by_a_daemon_that_was_killed_is_taken_over_a_living_one_is_not(
    tmp_path: Path, server: LocalServer
) -> None:
    assert not await LocalServer(server.path, answer).start()
    assert await put(server, 1) == {"heard": 1}
    stale = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(stale))
    after = LocalServer(stale, answer)
    assert await after.start()
    assert await put(after, 2) == {"heard": 2}
    await after.close()


async def test_a_path_longer_than_sockets_may_have_works_too(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 60) / ("e" * 60)
    directory.mkdir(parents=True)
    server = LocalServer(directory / "control.sock", answer)
    assert await server.start()
    assert await put(server, 3) == {"heard": 3}
    await server.close()


async def test_of_two_daemons_that_begin_at_once_one_listens_and_the_other_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (LocalServer(tmp_path / "control.sock", answer) for _ in range(2))
    started: list[bool] = []
    other = threading.Thread(target=lambda: started.append(asyncio.run(second.start())))
    listen = local_socket._listen

    def listen_slowly(path: Path) -> socket.socket:
        monkeypatch.undo()
        other.start()
        # It would have found nobody, and taken the place, by now.
        other.join(0.2)
        return listen(path)

    monkeypatch.setattr(local_socket, "_listen", listen_slowly)
    assert await first.start()
    await asyncio.to_thread(other.join)
    assert started == [False]
    assert await put(first, "hello") == {"heard": "hello"}
    await first.close()
