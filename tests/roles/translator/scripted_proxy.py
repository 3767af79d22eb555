"""A scripted proxy: a fake that speaks SV2 and judges shares by its own hashing."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from protocols.sv2.codec import MINING, encode
from protocols.sv2.mining import (
    CloseChannel,
    NewExtendedMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesExtended,
    SubmitSharesSuccess,
    UpdateChannel,
)

PATIENCE = 30.0
VERDICT_S = 20.0
"""How long a translator under test waits for a verdict, unless it is told otherwise."""
EASY = (1 << 252) - 1
DIFFICULTY_ONE = 0xFFFF << 208
NTIME = 1_700_000_000
BITS = 0x207FFFFF
PREFIX = bytes.fromhex("02000000" + "01" + "00" * 32 + "ffffffff" + "1c" + "0352414e" + "14")
SUFFIX = bytes.fromhex("feffffff" + "01" + "00f2052a01000000" + "0151" + "00000000")


def twice(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


# The proxy


@dataclass
class OpenChannel:
    """What the scripted proxy knows of a channel."""

    id: int
    identity: str
    prefix: bytes
    target: int
    max_target: int
    hash_rate: float
    jobs: dict[int, NewExtendedMiningJob] = field(default_factory=dict)
    targets: dict[int, int] = field(default_factory=dict)
    tip: SetNewPrevHash | None = None
    shares: list[SubmitSharesExtended] = field(default_factory=list)
    updates: list[UpdateChannel] = field(default_factory=list)


class ScriptedProxy:
    """Answers one connection at a time of the translator's client.

    `verdict` decides about a good share: None accepts it, a text refuses with that code, "silence" says
    nothing.
    """

    def __init__(self, upstream: Any) -> None:
        self.upstream = upstream
        self.target = EASY
        self.size = 12
        self.refusal = ""
        self.rolling = True
        self.version = 0x20000000
        self.verdict: Callable[[SubmitSharesExtended], str | None] = lambda share: None
        self.channels: dict[int, OpenChannel] = {}
        self.opened: list[OpenChannel] = []
        self.hashes: set[bytes] = set()
        self.bad: list[str] = []
        self.closed: list[CloseChannel] = []
        self.tips = 0
        self.jobs = 0
        self.connection: Any = None
        self.connections = 0

    async def run(self) -> None:
        while True:
            self.connection = await self.upstream.dialled.get()
            self.connections += 1
            self.channels = {}
            await self.connection.greet(extensions=(0x4548,))
            while not self.connection.is_closed:
                frame = await self.connection.from_client.get()
                message, self.connection.tlvs = MINING.decode(frame)
                self._take(message)

    def restart(self) -> None:
        """Hang up; the client comes back as soon as it is let."""
        self.connection.hang_up()
        # The reader below looks at the connection only when a frame comes.
        self.connection.from_client.put_nowait(encode(CloseChannel(0, "bye")))

    def new_tip(self) -> None:
        self.tips += 1
        for channel in self.channels.values():
            self.connection.say(*self._fresh(channel))

    def new_job(self, target: int | None = None) -> None:
        """Other work on the same tip, with a new target or the old one."""
        for channel in self.channels.values():
            messages: list[Any] = []
            if target is not None:
                channel.target = target
                messages.append(SetTarget(channel.id, target))
            self.connection.say(*messages, self._job(channel, NTIME + self.tips))

    def close_all(self, reason: str) -> None:
        """Give every channel up."""
        closed, self.channels = self.channels, {}
        self.connection.say(*(CloseChannel(number, reason) for number in closed))

    def _take(self, message: Any) -> None:
        match message:
            case OpenExtendedMiningChannel():
                self._open(message)
            case SubmitSharesExtended():
                self._judge(message)
            case UpdateChannel():
                self.channels[message.channel_id].updates.append(message)
            case CloseChannel():
                self.closed.append(message)
                self.channels.pop(message.channel_id, None)

    def _open(self, message: OpenExtendedMiningChannel) -> None:
        if self.refusal:
            self.connection.say(OpenMiningChannelError(message.request_id, self.refusal))
            return
        number = len(self.opened) + 1
        target = min(self.target, message.max_target)
        channel = OpenChannel(
            number,
            message.user_identity,
            struct.pack(">Q", number),
            target,
            message.max_target,
            message.nominal_hash_rate,
        )
        self.channels[number] = channel
        self.opened.append(channel)
        answer = OpenExtendedMiningChannelSuccess(
            message.request_id, number, target, self.size, channel.prefix, 1
        )
        self.connection.say(answer, *self._fresh(channel))

    def _fresh(self, channel: OpenChannel) -> tuple[Any, Any]:
        channel.jobs.clear()
        job = self._job(channel, None)
        channel.tip = SetNewPrevHash(
            channel.id, job.job_id, twice(b"%d" % self.tips), NTIME + self.tips, BITS
        )
        return job, channel.tip

    def _job(self, channel: OpenChannel, min_ntime: int | None) -> NewExtendedMiningJob:
        self.jobs += 1
        job = NewExtendedMiningJob(
            channel.id,
            self.jobs,
            min_ntime,
            self.version,
            self.rolling,
            (twice(b"a"), twice(b"%d" % self.jobs)),
            PREFIX,
            SUFFIX,
        )
        channel.jobs[job.job_id] = job
        channel.targets[job.job_id] = channel.target
        return job

    def _judge(self, share: SubmitSharesExtended) -> None:
        channel = self.channels[share.channel_id]
        channel.shares.append(share)
        code = self._fault(channel, share) or self.verdict(share)
        if code == "silence":
            return
        if code is None:
            self.connection.say(SubmitSharesSuccess(channel.id, share.sequence_number, 1, 1))
        else:
            self.connection.say(SubmitSharesError(channel.id, share.sequence_number, code))

    def _fault(self, channel: OpenChannel, share: SubmitSharesExtended) -> str | None:
        """What a careful pool would object to; noted in `bad`, since the translator should have seen it."""
        job = channel.jobs.get(share.job_id)
        fault = None
        if job is None or channel.tip is None:
            fault = "invalid-job-id"
        elif len(share.extranonce) != self.size:
            fault = "bad-extranonce-size"
        elif (share.version ^ job.version) & ~(0x1FFFFFE0 if self.rolling else 0):
            fault = "invalid-non-rollable-version-bit"
        elif share.ntime < channel.tip.min_ntime:
            fault = "invalid-share"
        else:
            root = twice(job.coinbase_tx_prefix + channel.prefix + share.extranonce + job.coinbase_tx_suffix)
            for branch in job.merkle_path:
                root = twice(root + branch)
            header = struct.pack(
                "<I32s32sIII", share.version, channel.tip.prev_hash, root, share.ntime, BITS, share.nonce
            )
            hash32 = twice(header)
            if int.from_bytes(hash32, "little") > channel.targets[share.job_id]:
                fault = "difficulty-too-low"
            elif hash32 in self.hashes:
                fault = "duplicate-share"
            self.hashes.add(hash32)
        if fault:
            self.bad.append(fault)
        return fault


# The miners
