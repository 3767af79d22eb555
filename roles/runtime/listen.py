"""Listening sockets, and in words who holds a port that is taken."""

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from roles.runtime import sysexits
from roles.runtime.errors import ListenFailed, PortInUse
from roles.runtime.keep_alive import keep_alive
from shared_config.address import Address

BACKLOG = 1024
_LISTEN_STATE = "0A"
_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def listen(address: Address, setting: str, *, has_siblings: bool = False) -> socket.socket:
    """A bound, listening, non-blocking TCP socket; the caller closes it.

    ``setting`` is the key that moves the address. Sockets that listen at one address as siblings are given
    their share of its peers by the kernel; all of them must say so, and belong to one user. Raises PortInUse
    naming the holder, or ListenFailed.
    """
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except socket.gaierror as error:
        raise _failed(address, setting, str(error.strerror)) from error
    family, kind, protocol, _, where = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if has_siblings:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address.host == "::" else 1)
        keep_alive(sock)
        sock.bind(where)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise _taken(address, setting) from error
        raise _failed(address, setting, str(error.strerror)) from error
    return sock


def bound(sock: socket.socket) -> Address:
    """The address that a listening socket has got."""
    host, port = sock.getsockname()[:2]
    return Address(host, port)


def _taken(address: Address, setting: str) -> PortInUse:
    by = holder(address.port)
    if by is None:
        return PortInUse(
            f"port {address.port} of {address.host} is the local end of another program's connection",
            hint="it is free again within a minute or when that connection ends; to keep it free, list it in"
            " the sysctl net.ipv4.ip_local_reserved_ports",
            exit_code=sysexits.TEMPORARY,
        )
    return PortInUse(
        f"port {address.port} of {address.host} is in use by {by}",
        hint=f"stop that program, or move this daemon with {setting}",
    )


def holder(port: int) -> str | None:
    """Who listens on a local TCP port, as far as this user may know: ``process 12 (name)``; None: nobody."""
    inodes = set(_listening_inodes(port))
    if not inodes and Path(_TABLES[0]).exists():
        return None
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            target = os.readlink(fd)
        except OSError:
            continue
        if target.removeprefix("socket:[").removesuffix("]") in inodes:
            pid = fd.parts[2]
            return f"process {pid} ({_command(pid)})"
    return "another user's process" if inodes else "another process"


def _listening_inodes(port: int) -> Iterator[str]:
    for table in _TABLES:
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTEN_STATE and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _command(pid: str) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return "unknown"
    text = " ".join(word.decode("utf-8", "replace") for word in words)
    return text if len(text) <= 80 else text[:77] + "..."


def _failed(address: Address, setting: str, reason: str) -> ListenFailed:
    return ListenFailed(f"cannot listen on {address}: {reason}", hint=f"the setting is {setting}")
