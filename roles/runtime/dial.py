"""Connecting to a peer: reached and opened in time, or an error that says why not."""

import asyncio
import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeVar

from roles.runtime.errors import ConnectFailed
from roles.runtime.keep_alive import keep_alive
from roles.runtime.peer_stream import PeerStream, StreamOwner
from roles.runtime.reason import why
from roles.runtime.tls_client import TlsClient, tls_reason
from shared_config.address import Address

CONNECT_S = 10.0

S = TypeVar("S", bound=PeerStream[Any])


class _Opening:
    """Waits for a dialled stream to open or to end."""

    def __init__(self) -> None:
        self.is_open = False
        self.settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def made(self, _stream: PeerStream[Any]) -> None:
        """Opening may take a handshake more."""

    def opened(self, _stream: PeerStream[Any]) -> None:
        self.is_open = True
        self._settle()

    def lost(self, _stream: PeerStream[Any]) -> None:
        self._settle()

    def _settle(self) -> None:
        if not self.settled.done():
            self.settled.set_result(None)


async def dial(
    address: Address, make: Callable[[StreamOwner], S], timeout: float, tls: TlsClient | None = None
) -> S:
    """Connect within `timeout` seconds, by TLS if that is given, and return the stream once it is open.

    Raises ConnectFailed, whose code is ``unreachable``, ``timeout`` or why the stream ended.
    """
    opening = _Opening()
    stream = make(opening)
    try:
        async with asyncio.timeout(timeout):
            sock = await reach(address)
            await _hand_over(sock, stream, tls)
            await opening.settled
    except TimeoutError:
        stream.abort("no answer in time", code="timeout")
        raise ConnectFailed(f"{address} does not answer within {timeout:g} s", code="timeout") from None
    except ssl.SSLError as error:
        text = f"TLS with {address} failed: {tls_reason(error)}"
        raise ConnectFailed(text, code="tls-failed") from error
    except OSError as error:
        raise ConnectFailed(f"cannot reach {address}: {why(error)}", code="unreachable") from error
    except asyncio.CancelledError:
        stream.abort("no longer wanted", code="closed")
        raise
    if tls is not None and opening.is_open and not tls.is_satisfied(stream.peer_certificate):
        stream.abort("another certificate than it should have", code="wrong-certificate")
    if not opening.is_open or stream.reason:
        code, text = stream.reason or ("lost", "the peer closed the connection")
        raise ConnectFailed(f"no connection with {address}: {text}", code=code)
    return stream


async def _hand_over(sock: socket.socket, stream: PeerStream[Any], tls: TlsClient | None) -> None:
    loop = asyncio.get_running_loop()
    if tls is None:
        await loop.create_connection(lambda: stream, sock=sock)
    else:
        await loop.create_connection(
            lambda: stream, sock=sock, ssl=tls.context, server_hostname=tls.server_name
        )


async def reach(address: Address) -> socket.socket:
    """A connected, non-blocking socket to one of the host's addresses; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    failure: OSError | None = None
    for family, kind, protocol, _, where in found:
        try:
            return await _reach(socket.socket(family, kind, protocol), where)
        except OSError as error:
            failure = failure or error
    raise failure or OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))


async def _reach(sock: socket.socket, where: Any) -> socket.socket:
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.setblocking(False)
        # Our listening ports lie where systems choose the local ports of outgoing connections. Without this
        # a daemon could not take its port for a minute after a connection that happened to use it.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keep_alive(sock)
        await asyncio.get_running_loop().sock_connect(sock, where)
        if sock.getsockname() == sock.getpeername():
            # And where nobody listens a socket may even be connected to itself.
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
        undo.pop_all()
    return sock
