"""Bitaxe as a native SV2 miner: what it sends, and what it would trip over."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from protocols.mining.errors import NoVerdict, StaleShare
from protocols.sv2.connection import PROTOCOL_MINING, SetupConnection, SetupConnectionSuccess
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    NewMiningJob,
    OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from roles.runtime.errors import ConnectionLost
from roles.runtime.sv2_connection import Sv2Connection
from tests.functional.scripted_miner import HALF, SLOWER
from tests.roles.pool.house import Channel, Miner
from tests.roles.pool.neighbours import ANY_TARGET, ON_MINING_LINK, WAIT_S

KINDS: Final[dict[str, dict[str, Any]]] = {
    "standard": {"is_standard": True},
    "extended": {"is_standard": False, "least_size": 2},
    "extended-before-2026": {"is_standard": False, "least_size": 6},
}
"""What its releases ask for."""
FRAME_BYTES: Final = 8_192
PATH: Final = 20
RING: Final = 8
EXTRANONCE: Final = 32
LAST_IDS: Final = 16
REQUIRES_STANDARD_JOBS: Final = 1
OVERTAKEN: Final = ("", StaleShare.code, NoVerdict.code)
"""What may be said of a share while another pool is turned to."""
UNDERSTOOD: Final = (
    NewMiningJob,
    NewExtendedMiningJob,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesSuccess,
    SubmitSharesError,
)
HARDEST_WORK: Final = 1 << 22
ROLLED_BITS: Final = tuple(1 << n for n in range(13, 29))


class BitaxeSv2(Miner):
    """One channel; takes the next frame for the answer to what it asked. `faults` is what it tripped over."""

    def __init__(self, link: Sv2Connection, *, is_standard: bool, least_size: int = 2) -> None:
        super().__init__(link)
        self.faults: list[str] = []
        self.channel: Channel
        self.is_gone = False
        self._is_standard = is_standard
        self._least_size = least_size
        self._future: set[int] = set()
        self._last_ids: list[int] = []
        self._pending: dict[int, asyncio.Future[str]] = {}
        self._shares = 0
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self, user: str) -> "BitaxeSv2":
        """Set up, open, and wait for work."""
        flags = REQUIRES_STANDARD_JOBS if self._is_standard else 0
        self.say(SetupConnection(PROTOCOL_MINING, 2, 2, flags, "pool", 34254, "bitaxe", "BM1370", "", ""))
        answer = await self._one_frame()
        assert isinstance(answer, SetupConnectionSuccess), answer
        # What it always says, as many times less as the script is slower.
        rate = 1e12 * SLOWER
        if self._is_standard:
            self.say(OpenStandardMiningChannel(1, user, rate, ANY_TARGET))
        else:
            self.say(OpenExtendedMiningChannel(1, user, rate, ANY_TARGET, self._least_size))
        success = await self._one_frame()
        kind = OpenStandardMiningChannelSuccess if self._is_standard else OpenExtendedMiningChannelSuccess
        assert isinstance(success, kind), f"taken for a refusal: {success}"
        assert success.request_id == 1
        size = getattr(success, "extranonce_size", self._least_size)
        assert self._least_size <= size <= EXTRANONCE
        self.channel = Channel(self, success)
        self.channels[self.channel.id] = self.channel
        self._task = asyncio.create_task(self._listen())
        await self.until(lambda: self.channel.active is not None and self.channel.tip is not None)
        return self

    async def _one_frame(self) -> Any:
        async with asyncio.timeout(WAIT_S):
            message, _ = ON_MINING_LINK.decode(await self.link.receive())
        return message

    async def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self.link.close("done")

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until what has been heard makes the condition true."""
        async with asyncio.timeout(2 * WAIT_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def moved_on(self, job: Any) -> None:
        """Wait until there is another job than this, which may be good as well."""
        await self.until(lambda: self.channel.active is not job)

    async def mines_on(self, job: Any) -> None:
        """Wait until a share of newer work than this is accepted; a pool that has just been left may have
        sent some, too.
        """
        verdict = "none yet"
        while verdict:
            await self.moved_on(job)
            job = self.channel.active
            (verdict,) = await self.hand_in(self.search())
            assert verdict in OVERTAKEN, verdict

    async def _listen(self) -> None:
        try:
            while True:
                frame = await self.link.receive()
                self._object(len(frame.payload) + 6 <= FRAME_BYTES, f"a frame of {len(frame.payload)} bytes")
                message, _ = ON_MINING_LINK.decode(frame)
                self._look_at(message)
                self._note(message)
                self._news.set()
        except ConnectionLost:
            self.is_gone = True
            self._news.set()

    def _look_at(self, message: Any) -> None:
        self._object(isinstance(message, UNDERSTOOD), f"{type(message).__name__} is not understood")
        match message:
            case NewMiningJob() | NewExtendedMiningJob():
                self._look_at_job(message)
            case SetNewPrevHash():
                self._object(message.job_id in self._future, f"job {message.job_id} was not announced")
                self._future.clear()
                self._last_ids = [message.job_id]
            case SubmitSharesSuccess():
                for sequence in list(self._pending)[: message.new_submits_accepted_count]:
                    self._object(sequence <= message.last_sequence_number, "an answer to what was not asked")
                    self._pending.pop(sequence).set_result("")
            case SubmitSharesError():
                self._pending.pop(message.sequence_number).set_result(message.error_code)

    def _look_at_job(self, job: NewMiningJob | NewExtendedMiningJob) -> None:
        self._object(job.job_id not in self._last_ids, f"job id {job.job_id} again")
        self._last_ids = [*self._last_ids, job.job_id][-LAST_IDS:]
        if isinstance(job, NewExtendedMiningJob):
            self._object(len(job.merkle_path) <= PATH, f"a path of {len(job.merkle_path)}")
            self._object(job.version_rolling_allowed, "no version rolling")
        if job.min_ntime is None:
            slots = {pending % RING for pending in self._future}
            self._object(len(slots) < RING - 1, "too many future jobs")
            self._object(job.job_id % RING not in slots, "two future jobs in one slot")
            self._future.add(job.job_id)

    def _object(self, is_fine: bool, fault: str) -> None:
        if not is_fine:
            self.faults.append(fault)

    # Its work

    def search(self, *, good: bool = True) -> Any:
        """A share of the present job that meets its target, or one that misses any; not sent."""
        channel, tip = self.channel, self.channel.tip
        job = channel.active
        assert tip is not None
        self._shares += 1
        version = job.version | ROLLED_BITS[self._shares % len(ROLLED_BITS)]
        size = 0 if channel.is_standard else channel.success.extranonce_size
        extranonce = bytes(size)
        head = channel.header(replace(job, version=version), 0, tip.min_ntime, extranonce)[:76]
        limit = channel.targets[job.job_id] if good else HALF
        nonce = self._nonce(head, self._shares * HARDEST_WORK % (1 << 32), limit, good=good)
        channel.sequence += 1
        channel.nonce = 0
        template = channel.mine(target=ANY_TARGET)
        rolled = {} if channel.is_standard else {"extranonce": extranonce}
        return replace(template, job_id=job.job_id, nonce=nonce, version=version, **rolled)

    @staticmethod
    def _nonce(head: bytes, start: int, limit: int, *, good: bool) -> int:
        begun = hashlib.sha256(head)
        for nonce in range(start, start + HARDEST_WORK):
            inner = begun.copy()
            inner.update(nonce.to_bytes(4, "little"))
            found = int.from_bytes(hashlib.sha256(inner.digest()).digest(), "little")
            if (found <= limit) is good:
                return nonce
        raise AssertionError("no share found")

    async def hand_in(self, *shares: Any) -> list[str]:
        """Submit shares in one write; returns an empty text for each that is accepted, else its error."""
        numbered = []
        for share in shares:
            self.channel.sequence += 1
            numbered.append(replace(share, sequence_number=self.channel.sequence))
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[str]] = [loop.create_future() for _ in numbered]
        for share, answer in zip(numbered, answers, strict=True):
            self._pending[share.sequence_number] = answer
        self.say(*numbered)
        async with asyncio.timeout(WAIT_S):
            return await asyncio.gather(*answers)

    async def dig(self, shares: int, at_once: int = 5) -> None:
        """Mine and submit shares a few at a time; each must be accepted."""
        for _ in range(0, shares, at_once):
            verdicts = await self.hand_in(*(self.search() for _ in range(at_once)))
            assert verdicts == [""] * at_once, verdicts
