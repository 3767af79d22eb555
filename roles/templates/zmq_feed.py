"""bitcoind's word of a new block over ZMQ, a little earlier than the long poll."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from roles.templates.errors import FeedUnavailable
from shared_config.address import Address

_TOPIC = b"hashblock"

_log = logging.getLogger(__name__)


async def follow(address: Address, new_block: Callable[[], None]) -> None:
    """Call `new_block` for every hashblock that is published; reconnects by itself, ends when cancelled.

    Raises FeedUnavailable where pyzmq is missing.
    """
    try:
        import zmq
        import zmq.asyncio
    except ImportError as error:
        raise FeedUnavailable(
            "zmq_block_address is set, and pyzmq is not installed",
            hint="install «hashpool[zmq]», or leave it out: the long poll works without",
        ) from error
    context = zmq.asyncio.Context()
    socket: Any = context.socket(zmq.SUB)
    try:
        socket.setsockopt(zmq.SUBSCRIBE, _TOPIC)
        socket.setsockopt(zmq.RCVHWM, 16)
        socket.connect(f"tcp://{address}")
        _log.info("listening for new blocks", extra={"zmq": str(address)})
        while True:
            parts = await socket.recv_multipart()
            if parts and parts[0] == _TOPIC:
                new_block()
    finally:
        socket.close(linger=0)
        context.term()
        await asyncio.sleep(0)
