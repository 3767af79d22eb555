"""A scripted SV2 upstream in memory: the test reads what the client sends and decides each answer itself."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Never, TypeVar

import pytest

from protocols.ehash.messages import MINING_MESSAGES
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import SetupConnection, SetupConnectionSuccess
from protocols.sv2.extensions import RequestExtensions, RequestExtensionsSuccess
from protocols.sv2.frame import Frame, frame_from
from protocols.sv2.layout import Message
from protocols.sv2.mining import (
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    UpdateChannel,
)
from protocols.sv2.tlv import Tlv
from roles.runtime.errors import ConnectionLost
from roles.stratum.connection import Plain
from roles.stratum.pulse import NOBODY

M = TypeVar("M", bound=Message)

CATALOGUE = MINING.with_messages(*MINING_MESSAGES)
PATIENCE = 30.0


class ScriptedConnection:
    """Both ends of one connection: the client's calls, and what a test says and expects as the server."""

    def __init__(self) -> None:
        self.to_client: asyncio.Queue[list[Frame] | None] = asyncio.Queue()
        self.from_client: asyncio.Queue[Frame] = asyncio.Queue()
        self.tlvs: tuple[Tlv, ...] = ()
        self.is_closed = False
        self.hears_questions = False
        """Whether the test wants to hear them, too, when it expects a message."""
        self._rest: list[Frame] = []
        self._holds = 0
        self._free = asyncio.Event()
        self._free.set()

    # The client's side.

    async def receive(self) -> Frame:
        if not self._rest:
            self._rest = await self.receive_batch()
        return self._rest.pop(0)

    async def receive_batch(self) -> list[Frame]:
        if self._rest:
            batch, self._rest = self._rest, []
            return batch
        if self.is_closed and self.to_client.empty():
            raise ConnectionLost("closed")
        frames = await self.to_client.get()
        if frames is None:
            self.is_closed = True
            raise ConnectionLost("closed")
        return frames

    async def hand_over(self, take: Callable[[Sequence[Plain]], int]) -> Never:
        while True:
            frames = [(frame.header(), frame.payload) for frame in await self.receive_batch()]
            while frames:
                await self._free.wait()
                frames = frames[take(frames) :]
            await self._free.wait()

    def hold(self) -> None:
        self._holds += 1
        self._free.clear()

    def release(self) -> None:
        self._holds -= 1
        if not self._holds:
            self._free.set()

    def outlet(self) -> None:
        """Nothing is sent elsewhere."""

    def send_plain(self, frames: Sequence[Plain]) -> None:
        self.send(*(frame_from(header, payload) for header, payload in frames))

    def send(self, *frames: Frame) -> None:
        if self.is_closed:
            raise ConnectionLost("closed")
        for frame in frames:
            if self.hears_questions or not _is_question(frame):
                self.from_client.put_nowait(frame)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self.to_client.put_nowait(None)

    # The server's side.

    def say(self, *messages: Message, tlvs: tuple[Tlv, ...] = ()) -> None:
        self.to_client.put_nowait([encode(message, tlvs) for message in messages])

    def hang_up(self) -> None:
        self.to_client.put_nowait(None)

    async def expect(self, kind: type[M]) -> M:
        """The client's next message, which must be a `kind`; its TLVs stand in `tlvs`."""
        async with asyncio.timeout(PATIENCE):
            message, self.tlvs = CATALOGUE.decode(await self.from_client.get())
        assert isinstance(message, kind), message
        return message

    async def expect_silence(self) -> None:
        """The client has had its turns and said nothing."""
        for _ in range(20):
            await asyncio.sleep(0)
        assert self.from_client.empty()

    async def greet(self, extensions: tuple[int, ...] = (), flags: int = 0) -> SetupConnection:
        """Grant the setup, and of the extensions asked for those given."""
        setup = await self.expect(SetupConnection)
        self.say(SetupConnectionSuccess(used_version=2, flags=flags))
        if extensions:
            request = await self.expect(RequestExtensions)
            granted = tuple(number for number in request.requested_extensions if number in extensions)
            self.say(RequestExtensionsSuccess(request.request_id, granted))
        return setup

    async def grant(
        self,
        channel_id: int,
        *messages: Message,
        target: int = (1 << 240) - 1,
        prefix: bytes = b"\x01\x02\x03\x04",
        size: int = 12,
        group: int = 1,
    ) -> OpenExtendedMiningChannel:
        """Open the extended channel that is asked for, and send what follows in the same batch."""
        request = await self.expect(OpenExtendedMiningChannel)
        answer = OpenExtendedMiningChannelSuccess(request.request_id, channel_id, target, size, prefix, group)
        self.say(answer, *messages)
        return request


def _is_question(frame: Frame) -> bool:
    return frame.msg_type == UpdateChannel.msg_type and frame.channel_id == NOBODY


class ScriptedUpstream:
    """Where a client dials; `is_down` refuses."""

    def __init__(self) -> None:
        self.is_down = False
        self.dialled: asyncio.Queue[ScriptedConnection] = asyncio.Queue()

    async def dial(self) -> ScriptedConnection:
        if self.is_down:
            raise ConnectionRefusedError("down")
        connection = ScriptedConnection()
        self.dialled.put_nowait(connection)
        return connection

    async def accept(self) -> ScriptedConnection:
        """The next connection that the client makes."""
        async with asyncio.timeout(PATIENCE):
            return await self.dialled.get()


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Wait, bounded, until a condition holds."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.001)

    return wait


@pytest.fixture
def scripted_connection() -> type[ScriptedConnection]:
    return ScriptedConnection


@pytest.fixture
async def leap(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let seconds pass for the event loop at once: whatever waits for a later time is due then."""
    loop = asyncio.get_running_loop()
    passed = 0.0
    time = loop.time

    def leap(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    monkeypatch.setattr(loop, "time", lambda: time() + passed)
    return leap
