"""The benchmark's own HTTP client against a server that is scripted."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from benchmarks.closed_loop import OperationFailed
from benchmarks.lean_http import LeanClient
from shared_config.address import Address

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Script:
    """Answers each request with what is next; nothing hangs up."""

    def __init__(self) -> None:
        self.answers: list[list[bytes]] = []
        self.heard: list[bytes] = []
        self.connections = 0
        self.served = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.heard.append(head)
                pieces = self.answers.pop(0)
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if not pieces:
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.served.set()


@pytest_asyncio.fixture
async def script() -> AsyncIterator[tuple[Script, LeanClient]]:
    script = Script()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    client = LeanClient(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
    yield script, client
    client.close()
    server.close()
    await script.served.wait()


async def test_an_answer_in_pieces_is_read_whole_and_its_connection_used_again(
    script: tuple[Script, LeanClient],
) -> None:
    served, client = script
    served.answers = [[OK[:20], OK[20:-1], OK[-1:]], [OK]]
    assert [await client.call("GET", "/a"), await client.call("GET", "/b")] == [b"{}", b"{}"]
    assert [head.split(b" ")[1] for head in served.heard] == [b"/a", b"/b"]
    assert served.connections == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([OK.replace(b"200 OK", b"400 No")], "HTTP 400"),
        ([OK.replace(b"Content-Length", b"X-Length")], "length"),
        ([], "lost"),
    ],
)
async def test_anything_but_a_whole_answer_with_200_is_a_failure(
    script: tuple[Script, LeanClient], answer: list[bytes], words: str
) -> None:
    served, client = script
    served.answers = [answer]
    with pytest.raises(OperationFailed, match=words):
        await client.call("GET", "/")


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(OperationFailed, match="does not listen"):
        await LeanClient(Address("127.0.0.1", 1)).call("GET", "/")
