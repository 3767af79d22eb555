"""A pool for the proxy's tests: real Noise, real channels and verdicts, and no mind of its own.

It grants what it is asked for, records what it hears, and answers shares at once, or when `answer` is
called if `patient` is set; an `idle` one gives no work until it is told to. `refuse_…` names a code for
every open request, or for every share.
"""

import asyncio
import socket
from dataclasses import dataclass, field

from protocols.bitcoin.coinbase import CoinbaseTemplate, coinbase_parts
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.bitcoin.transaction import TxOut
from protocols.ehash.messages import (
    EXTENSION,
    MINING_MESSAGES,
    TLV_CHANNEL_KEY,
    TLV_MINT_URL,
    TLV_RESUME_TOKEN,
    TLV_SHARE_KEY,
)
from protocols.mining.errors import ShareRefused
from protocols.mining.job import Job, JobStore, Tip, Work
from protocols.mining.share import SeenShares, Verdict, check_time, check_version, extended_root, judge
from protocols.sv2.codec import MINING, encode
from protocols.sv2.layout import Message
from protocols.sv2.limits import FrameLimits
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
    UpdateChannelError,
)
from protocols.sv2.setup import ServerSetup
from protocols.sv2.tlv import Tlv, find_tlv
from roles.runtime.sv2_connection import Sv2Connection, serve
from shared_config.address import Address

SECRET = b"\x05" * 32
AUTHORITY = public_key(SECRET)[1:]
CATALOGUE = MINING.with_messages(*MINING_MESSAGES)
EASY = from_work(16)


@dataclass
class Granted:
    """A channel of the scripted pool."""

    channel_id: int
    request: OpenExtendedMiningChannel
    key: bytes | None
    prefix: bytes
    size: int
    target: int
    jobs: JobStore[Job] = field(default_factory=JobStore)
    seen: SeenShares = field(default_factory=SeenShares)
    heard: list[SubmitSharesExtended] = field(default_factory=list)
    accepted: list[Verdict] = field(default_factory=list)


class ScriptedPool:
    """One pool on loopback; `start` and `stop` are its life, the port stays."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = Address("127.0.0.1", probe.getsockname()[1])
        self.extensions: tuple[int, ...] = (EXTENSION,)
        self.size = 16
        self.target = EASY
        self.patient = False
        self.refuse_opens = ""
        self.refuse_shares = ""
        self.silent = False
        self.mint_url = ""
        self.idle = False
        self.tokens = False
        """Whether channels can be resumed; `shown` are the tokens that were presented."""
        self.shown: list[bytes] = []
        self._parked: dict[bytes, Granted] = {}
        self.mute = False
        self.answered = 0
        self.most = 32
        self.rolling = True
        self.previous = b"\x01" * 32
        self.channels: dict[int, Granted] = {}
        self.updates: list[UpdateChannel] = []
        self.closed: list[int] = []
        self.share_keys: list[bytes] = []
        self.opens = 0
        self._work_count = 0
        self.head = b"\xaa"
        self._prefixes = self._resumed = self._tokens = 0
        self._serving = 0
        self._connection: Sv2Connection | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        server = serve(self.address, SECRET, self._handle, limit=FrameLimits(CATALOGUE), setting="test")
        self._task = asyncio.create_task(server.run())
        await asyncio.sleep(0)

    async def stop(self) -> None:
        if self._task is not None:
            if self._connection is not None:
                self._connection.abort("stopped", code="stopped")
            self._task.cancel()
            await asyncio.wait([self._task])
            self._task = None
            self.channels.clear()

    def forget(self) -> None:
        """Begin again with prefixes, ids and work as if nothing had been."""
        self._prefixes = self._work_count = 0
        self.patient = False

    @property
    def is_connected(self) -> bool:
        return self._serving > 0

    @property
    def channel(self) -> Granted:
        (only,) = self.channels.values()
        return only

    @property
    def connection(self) -> Sv2Connection:
        """The newest connection of the proxy."""
        assert self._connection is not None
        return self._connection

    def send(self, *messages: Message) -> None:
        self.connection.send(*(encode(message) for message in messages))

    # Work

    def work(self) -> Work:
        """Work that differs from all before."""
        self._work_count += 1
        template = CoinbaseTemplate(2, b"\x03\x40\x0d\x03", 0xFFFFFFFE, 5_000, 0, b"", 0)
        prefix, suffix = coinbase_parts(
            template,
            [TxOut(5_000, b"\x51")],
            tag=f"test/{self._work_count}".encode(),
            extranonce_size=4 + self.size,
        )
        return Work(self._work_count, 0, 0x20000000, prefix, suffix, (b"\x0a" * 32, b"\x0b" * 32))

    def new_tip(self, granted: Granted) -> None:
        """A future job, and the tip that activates it."""
        job = self._job(granted, Tip(self.previous, 1_700_000_000, 0x1D00FFFF, 0, 1_700_000_000))
        active = granted.jobs.active
        if active is not None and active.tip.previous == self.previous:
            granted.jobs.replace(job)
        else:
            granted.jobs.queue(job)
            granted.jobs.activate(job.job_id)
            granted.seen.clear()
        self.send(
            self._announcement(granted, job, None),
            SetNewPrevHash(granted.channel_id, job.job_id, self.previous, 1_700_000_000, 0x1D00FFFF),
        )

    def next_tip(self, granted: Granted) -> None:
        self.previous = bytes([self.previous[0] + 1]) * 32
        self.new_tip(granted)

    def follow(self, granted: Granted) -> None:
        """Another job of the tip."""
        assert granted.jobs.active is not None
        job = self._job(granted, granted.jobs.active.tip)
        granted.jobs.replace(job)
        self.send(self._announcement(granted, job, 1_700_000_000))

    def retarget(self, granted: Granted, target: int) -> None:
        granted.target = target
        self.send(SetTarget(granted.channel_id, target))

    def _job(self, granted: Granted, tip: Tip) -> Job:
        # Ids far from the proxy's own, so that a mix-up shows.
        return Job(1000 + granted.jobs.next_id(), self.work(), tip, granted.target)

    def _announcement(self, granted: Granted, job: Job, min_ntime: int | None) -> Message:
        work = job.work
        return NewExtendedMiningJob(
            granted.channel_id, job.job_id, min_ntime, work.version, self.rolling, work.merkle_path,
            work.prefix, work.suffix,
        )  # fmt: skip

    # Verdicts

    def answer(self, granted: Granted, count: int) -> None:
        """Accept everything up to the last share heard, `count` of them, in one message."""
        last = granted.heard[-1].sequence_number
        self.send(SubmitSharesSuccess(granted.channel_id, last, count, count))

    def _share(self, share: SubmitSharesExtended) -> None:
        granted = self.channels[share.channel_id]
        granted.heard.append(share)
        try:
            job = granted.jobs.find(share.job_id)
            assert len(share.extranonce) == granted.size
            check_time(share.ntime, job.tip, 1_800_000_000)
            check_version(share.version, job.work.version, rolling=True)
            extranonce = granted.prefix + share.extranonce
            root = extended_root(job.work, extranonce)
            verdict = judge(job, root, extranonce, share=share, key=granted.key, seen=granted.seen)
        except ShareRefused as refusal:
            self.send(SubmitSharesError(share.channel_id, share.sequence_number, refusal.code))
            return
        granted.accepted.append(verdict)
        if self.patient:
            return
        if self.refuse_shares:
            self.send(SubmitSharesError(share.channel_id, share.sequence_number, self.refuse_shares))
        else:
            self.send(SubmitSharesSuccess(share.channel_id, share.sequence_number, 1, 1))

    # The connection

    async def _handle(self, connection: Sv2Connection) -> None:
        if not self._serving:
            self._connection = connection
        self._serving += 1
        try:
            await self._serve(connection)
        finally:
            self._serving -= 1

    async def _serve(self, connection: Sv2Connection) -> None:
        setup = ServerSetup(0, supported_flags=7, extensions=self.extensions)
        while True:
            frame = await connection.receive()
            answer = setup.receive(frame)
            if answer is not None:
                connection.send(answer)
                continue
            message, tlvs = CATALOGUE.decode(frame)
            self._connection = connection
            match message:
                case OpenExtendedMiningChannel():
                    self._open(message, tlvs)
                case SubmitSharesExtended():
                    key = find_tlv(tlvs, EXTENSION, TLV_SHARE_KEY)
                    self.share_keys += [] if key is None else [key]
                    self._share(message)
                case UpdateChannel() if message.channel_id not in self.channels:
                    # Whoever asks wants to know whether we live.
                    if not self.mute:
                        self.answered += 1
                        self.send(UpdateChannelError(message.channel_id, "invalid-channel-id"))
                case UpdateChannel():
                    self.updates.append(message)
                case CloseChannel():
                    self.closed.append(message.channel_id)
                    self.channels.pop(message.channel_id, None)
                case _:
                    raise AssertionError(f"the pool heard {message}")

    def _open(self, request: OpenExtendedMiningChannel, tlvs: tuple[Tlv, ...]) -> None:
        self.opens += 1
        if self.silent:
            return
        if self.refuse_opens:
            self.send(OpenMiningChannelError(request.request_id, self.refuse_opens))
            return
        if request.min_extranonce_size > self.most:
            self.send(OpenMiningChannelError(request.request_id, "min-extranonce-size-too-large"))
            return
        token = find_tlv(tlvs, EXTENSION, TLV_RESUME_TOKEN)
        if token is not None:
            self.shown.append(token)
        if self.tokens and token in self._parked:
            self._resume(request, self._parked.pop(token))
            return
        self._prefixes += 1
        prefix = self.head + self._prefixes.to_bytes(3, "big")
        granted = Granted(
            10 + self._prefixes,
            request,
            find_tlv(tlvs, EXTENSION, TLV_CHANNEL_KEY),
            prefix,
            self.size,
            self.target,
        )
        self._grant(request, granted)

    def _resume(self, request: OpenExtendedMiningChannel, lost: Granted) -> None:
        """Go on with a channel under another id; its next job begins the tip anew, by the look of it."""
        self._resumed += 1
        lost.channel_id = 500 + self._resumed
        lost.heard = []
        self._grant(request, lost)

    def _grant(self, request: OpenExtendedMiningChannel, granted: Granted) -> None:
        self.channels[granted.channel_id] = granted
        prefix = granted.prefix
        success = OpenExtendedMiningChannelSuccess(
            request.request_id, granted.channel_id, granted.target, granted.size, prefix, 1
        )
        url = self.mint_url.encode()
        told = [Tlv(EXTENSION, TLV_MINT_URL, url)] if url else []
        if self.tokens:
            self._tokens += 1
            token = self._tokens.to_bytes(32, "big")
            self._parked[token] = granted
            told.append(Tlv(EXTENSION, TLV_RESUME_TOKEN, token))
        self.connection.send(encode(success, told))
        if not self.idle:
            self.new_tip(granted)
