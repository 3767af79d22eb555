"""Sockets to peers: reached at any of a host's addresses, in no listener's way, never to themselves."""

import contextlib
import socket

import pytest

from roles.runtime import dial
from roles.runtime.dial import reach
from roles.runtime.errors import ConnectFailed, PortInUse
from roles.runtime.line_connection import connect
from roles.runtime.listen import bound, listen
from shared_config.address import Address


async def test_a_port_that_an_outgoing_connection_has_used_can_be_listened_on() -> None:
    listened = []
    with listen(Address("127.0.0.1", 0), "listen_address") as server:
        # The system may have given the same port to another program's connection too: not to five in a row.
        for _ in range(5):
            with await reach(bound(server)) as client, contextlib.suppress(PortInUse):
                local = client.getsockname()[1]
                with listen(Address("127.0.0.1", local), "listen_address") as beside:
                    listened.append(bound(beside).port == local)
    assert listened
    assert all(listened)


async def test_a_host_of_several_addresses_is_reached_at_the_one_that_answers() -> None:
    with listen(Address("127.0.0.1", 0), "listen_address") as server:
        client = await reach(Address("localhost", bound(server).port))
        assert client.getpeername() == server.getsockname()
        client.close()


async def test_a_socket_that_got_connected_to_itself_counts_as_refused() -> None:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    with pytest.raises(ConnectionRefusedError):
        await dial._reach(sock, sock.getsockname())
    assert sock.fileno() == -1


@pytest.mark.parametrize(
    ("host", "reason"), [("127.0.0.1", "Connection refused"), ("no-such-host.invalid", "")]
)
async def test_why_a_peer_is_not_reached_is_said_in_the_systems_words(host: str, reason: str) -> None:
    with pytest.raises(ConnectFailed, match=f"cannot reach {host}:1: {reason}"):
        await connect(Address(host, 1))
