"""What the kernel does for our TCP connections; accepted sockets inherit it from the one that listens."""

import socket

KERNEL_UNSENT = 1 << 17
"""Bytes that the kernel holds for a peer; Linux doubles it."""
KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 120_000))


def keep_alive(sock: socket.socket) -> None:
    """Let the kernel notice a peer that vanished, or that never takes what was sent."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Else the kernel holds megabytes for a peer that does not read, before we can tell.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_UNSENT)
    for name, value in KEEPALIVE:
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
