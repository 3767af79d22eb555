"""How much of a peer's address people see: in logs, in the API, wherever one is shown."""

from typing import Literal

from roles.runtime.subnet import subnet_of

__all__ = ["PEER_FIELDS", "Shown", "shown"]

Shown = Literal["full", "subnet", "hidden"]

PEER_FIELDS = frozenset({"peer", "host"})
"""Names of the fields of log records that hold a peer's address; no other may."""


def shown(peer: str, how: Shown) -> str | None:
    """What people see of ``host``, ``host:port`` or ``[host]:port``.

    All of it, its /24 or /64, or nothing. What is no address, like a word for a peer that has gone, stays.
    """
    if how == "full":
        return peer
    host = _host(peer)
    subnet = subnet_of(host)
    if subnet == host:
        return peer
    return subnet if how == "subnet" else None


def _host(peer: str) -> str:
    if peer.startswith("["):
        return peer[1:].partition("]")[0]
    return peer.rpartition(":")[0] if peer.count(":") == 1 else peer
