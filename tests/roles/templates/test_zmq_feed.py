import asyncio
import sys
from collections.abc import Awaitable, Callable

import pytest
import zmq

from roles.templates import zmq_feed
from roles.templates.errors import FeedUnavailable
from shared_config.address import Address

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]


async def test_every_published_block_is_told(eventually: Eventually) -> None:
    context = zmq.Context()
    publisher = context.socket(zmq.XPUB)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    told: list[int] = []
    following = asyncio.create_task(zmq_feed.follow(Address("127.0.0.1", port), lambda: told.append(1)))
    try:
        await eventually(lambda: bool(publisher.poll(0)))
        assert publisher.recv() == b"\x01hashblock"
        for _ in range(2):
            publisher.send_multipart([b"hashblock", bytes(32), bytes(4)])
        await eventually(lambda: len(told) == 2)
    finally:
        following.cancel()
        await asyncio.wait([following])
        publisher.close(linger=0)
        context.term()


async def test_a_missing_library_is_told_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zmq", None)
    with pytest.raises(FeedUnavailable, match=r"hashpool\[zmq\]"):
        await zmq_feed.follow(Address("127.0.0.1", 1), lambda: None)
