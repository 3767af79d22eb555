"""Why a peer was not reached, as people are told."""

import socket
import ssl

import aiohttp
import pytest

from roles.runtime.reason import why


class Wrapper(Exception):
    """As aiohttp wraps what it met."""

    def __init__(self, os_error: Exception) -> None:
        super().__init__("Cannot connect to host 127.0.0.1:3338 ssl:default [Connect call failed]")
        self.os_error = os_error


REFUSED = ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 3338)")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (REFUSED, "Connection refused"),
        (Wrapper(REFUSED), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (TimeoutError(), "no answer in time"),
        (TimeoutError(110, "Connect call failed"), "Connection timed out"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS failed: [SSL: WRONG"),
        (OSError("Multiple exceptions: two"), "Multiple exceptions: two"),
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (aiohttp.ClientError(), "ClientError"),
    ],
)
def test_an_error_of_the_way_is_told_in_few_words(error: Exception, text: str) -> None:
    assert why(error).startswith(text)


async def test_nobody_at_a_port_is_told_as_the_system_does() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError) as caught:
            await session.get(f"http://127.0.0.1:{port}/")
    assert why(caught.value) == "Connection refused"
