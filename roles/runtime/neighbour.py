"""Reaching a daemon of the own side by SV2: known by its key, unless it is on this machine."""

from collections.abc import Awaitable, Callable

from protocols.sv2.codec import Catalogue
from protocols.sv2.limits import FrameLimits
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.sv2_connection import Sv2Connection, connect
from shared_config.address import Address


def dialler(
    address: Address, authority: bytes | None, catalogue: Catalogue, unread: int
) -> Callable[[], Awaitable[Sv2Connection]]:
    """What connects to a neighbour, who may send `unread` bytes ahead of us."""
    limit, limits = FrameLimits(catalogue), StreamLimits(unread=unread)

    async def dial() -> Sv2Connection:
        return await connect(
            address,
            authority,
            limit=limit,
            limits=limits,
            # The configuration insists on a key unless the peer is on this machine.
            allow_unauthenticated=address.is_loopback,
        )

    return dial
