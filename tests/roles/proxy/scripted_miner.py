"""A miner for the proxy's tests: real Noise, and every frame that it hears kept in order."""

import asyncio
from dataclasses import dataclass, field
from typing import TypeVar

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.ehash.messages import MINING_MESSAGES
from protocols.mining.job import Work
from protocols.mining.share import extended_root
from protocols.sv2.codec import MINING, encode
from protocols.sv2.connection import SetupConnection
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesExtended,
    SubmitSharesStandard,
)
from protocols.sv2.setup import ClientSetup
from protocols.sv2.tlv import Tlv
from roles.runtime.errors import ConnectionLost
from roles.runtime.sv2_connection import Sv2Connection, connect
from shared_config.address import Address

CATALOGUE = MINING.with_messages(*MINING_MESSAGES)
M = TypeVar("M", bound=Message)
ALL_FF = (1 << 256) - 1
PATIENCE = 30.0
BITAXE_FRAME = 8192


def setup_message(flags: int = 0, protocol: int = 0, versions: tuple[int, int] = (2, 2)) -> SetupConnection:
    return SetupConnection(
        protocol, versions[0], versions[1], flags, "127.0.0.1", 34256, "bitaxe", "BM1370", "", ""
    )


@dataclass
class ScriptedMiner:
    """One connection with at most one channel."""

    connection: Sv2Connection
    heard: list[Message] = field(default_factory=list)
    sequence: int = 0
    channel_id: int = 0
    prefix: bytes = b""
    size: int = 0
    target: int = 0

    @classmethod
    async def connect(
        cls, address: Address, authority: bytes, *, flags: int = 0, extensions: tuple[int, ...] = ()
    ) -> "ScriptedMiner":
        connection = await connect(address, authority, limit=FrameLimits(CATALOGUE))
        setup = ClientSetup(setup_message(flags), extensions=extensions)
        connection.send(setup.start())
        while not setup.ready:
            async with asyncio.timeout(PATIENCE):
                request = setup.receive(await connection.receive())
            if request is not None:
                connection.send(request)
        return cls(connection)

    def send(self, message: Message, tlvs: tuple[Tlv, ...] = ()) -> None:
        self.connection.send(encode(message, tlvs))

    async def hear(self) -> Message:
        """The next message."""
        async with asyncio.timeout(PATIENCE):
            frame = await self.connection.receive()
        assert len(frame.payload) <= BITAXE_FRAME
        assert frame.channel or frame.msg_type in {0x01, 0x02, 0x11, 0x12, 0x14}
        message, _ = CATALOGUE.decode(frame)
        self.heard.append(message)
        return message

    async def expect(self, kind: type[M]) -> M:
        """The next message, which must be of this kind."""
        message = await self.hear()
        assert isinstance(message, kind), message
        return message

    async def hear_the_end(self) -> list[Message]:
        """Everything until the connection is closed."""
        messages = []
        try:
            while True:
                messages.append(await self.hear())
        except ConnectionLost:
            return messages

    # Channels

    def request(self, identity: str = "alice") -> OpenExtendedMiningChannel:
        return OpenExtendedMiningChannel(1, identity, 1e12, ALL_FF, 2)

    async def open_extended(
        self, identity: str = "alice", *, least: int = 2, max_target: int = ALL_FF, rate: float = 1e12,
        tlvs: tuple[Tlv, ...] = (),
    ) -> OpenExtendedMiningChannelSuccess:  # fmt: skip
        self.send(OpenExtendedMiningChannel(1, identity, rate, max_target, least), tlvs)
        answer = await self.expect(OpenExtendedMiningChannelSuccess)
        self.channel_id, self.prefix, self.size = (
            answer.channel_id, answer.extranonce_prefix, answer.extranonce_size,
        )  # fmt: skip
        self.target = answer.target
        return answer

    async def open_standard(self, identity: str = "alice") -> OpenStandardMiningChannelSuccess:
        self.send(OpenStandardMiningChannel(1, identity, 1e12, ALL_FF))
        answer = await self.expect(OpenStandardMiningChannelSuccess)
        self.channel_id, self.target = answer.channel_id, answer.target
        return answer

    async def first_work(self) -> tuple[Message, SetNewPrevHash]:
        """The future job and its tip."""
        job = await self.hear()
        assert isinstance(job, NewExtendedMiningJob | NewMiningJob), job
        assert job.min_ntime is None
        tip = await self.expect(SetNewPrevHash)
        assert tip.job_id == job.job_id
        return job, tip

    # Shares

    def mine(
        self, job: Message, tip: SetNewPrevHash, *, extranonce: int = 0, target: int | None = None,
        above: int = -1, ntime: int = 0, version: int = 0,
    ) -> SubmitSharesExtended | SubmitSharesStandard:  # fmt: skip
        """A share of `job` whose hash meets `target` and is above `above`."""
        goal = self.target if target is None else target
        assert isinstance(job, NewExtendedMiningJob | NewMiningJob)
        rolled = extranonce.to_bytes(self.size, "big")
        if isinstance(job, NewMiningJob):
            root = job.merkle_root
        else:
            work = Work(0, 0, job.version, job.coinbase_tx_prefix, job.coinbase_tx_suffix, job.merkle_path)
            root = extended_root(work, self.prefix + rolled)
        self.sequence += 1
        when = ntime or tip.min_ntime
        for nonce in range(1 << 20):
            header = Header(version or job.version, tip.prev_hash, root, when, tip.nbits, nonce)
            number = int.from_bytes(sha256d(header.pack()), "little")
            if above < number <= goal:
                common = (
                    self.channel_id, self.sequence, job.job_id, nonce, when, version or job.version,
                )  # fmt: skip
                if isinstance(job, NewMiningJob):
                    return SubmitSharesStandard(*common)
                return SubmitSharesExtended(*common, rolled)
        raise AssertionError("no share found")

    async def expect_target(self) -> int:
        self.target = (await self.expect(SetTarget)).maximum_target
        return self.target
