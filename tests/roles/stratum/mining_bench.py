"""What the tests of the SV2 mining client stand on: an owner, and a client at a scripted upstream."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from protocols.ehash.messages import EXTENSION, MINING_MESSAGES
from protocols.sv2.codec import MINING
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    OpenExtendedMiningChannel,
)
from protocols.sv2.tlv import Tlv
from roles.runtime.backoff import Backoff
from roles.stratum.client_metrics import ClientMetrics
from roles.stratum.mining_client import ClientTiming, MiningClient, Server
from roles.stratum.mining_session import SessionTiming
from roles.stratum.mining_setup import ClientIdentity
from roles.stratum.submissions import Verdict
from roles.stratum.upstream_channel import OpenTerms, UpstreamChannel

Upstream = Any
Eventually = Callable[[Callable[[], bool]], Awaitable[None]]
Leap = Callable[[float], None]
EXTENSIONS_S = 5.0
"""How long an upstream may take to say which extensions it grants."""
KEY = Tlv(EXTENSION, 0x01, b"\x02" * 33)


class Owner:
    """Somebody who wants a channel; `heard` is everything it was told."""

    def __init__(self, terms: OpenTerms | None = None) -> None:
        self.terms = terms or OpenTerms("alice.rig", 1e12, (1 << 256) - 1, 12)
        self.heard: list[object] = []
        self.granted: list[frozenset[int]] = []

    def opening(self, extensions: frozenset[int]) -> OpenTerms:
        self.granted.append(extensions)
        return self.terms

    def opened(self, tlvs: tuple[Tlv, ...]) -> None:
        self.heard.append(("opened", tlvs))

    def refused(self, code: str) -> None:
        self.heard.append(("refused", code))

    def received(self, message: Message) -> None:
        self.heard.append(message)

    def lost(self, reason: str) -> None:
        self.heard.append(("lost", reason))


class Bench:
    """A running client and its registry."""

    def __init__(self, upstream: Upstream, *others: Server, **options: Any) -> None:
        self.registry = CollectorRegistry()
        self.changes: list[bool] = []
        self.client = MiningClient(
            Server(upstream.dial, ClientIdentity("127.0.0.1", 34254, device="test")),
            *others,
            catalogue=MINING.with_messages(*MINING_MESSAGES),
            metrics=ClientMetrics(self.registry),
            backoff=Backoff(0.001, 0.002),
            on_change=self.changes.append,
            **options,
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_upstream_{name}", labels) or 0.0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Bench"]:
        task = asyncio.create_task(self.client.run())
        try:
            yield self
        finally:
            assert not task.done() or task.result() is None
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def submit(channel: UpstreamChannel, verdicts: list[Verdict], extranonce: bytes | None = bytes(12)) -> int:
    return channel.submit(
        job_id=7,
        nonce=1,
        ntime=2,
        version=3,
        extranonce=extranonce,
        settle=verdicts.append,
    )


def short(*, setup: float = 30.0, extensions: float = EXTENSIONS_S, **session: float) -> ClientTiming:
    session_timing = SessionTiming(**{"watch": 0.01, **session})
    return ClientTiming(extensions=extensions, setup=setup, session=session_timing)


def success(request: OpenExtendedMiningChannel, channel_id: int) -> Message:
    from protocols.sv2.mining import OpenExtendedMiningChannelSuccess

    return OpenExtendedMiningChannelSuccess(request.request_id, channel_id, 1 << 240, 12, b"\x01", 1)
