"""A fake trunk: no connection and no pool behind it, only what the relay sees; it hashes for itself."""

import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from hashlib import sha256
from itertools import count

from protocols.sv1.errors import Rejection
from protocols.sv1.notifications import Notify
from protocols.sv1.results import Subscription
from protocols.translation.extranonce import Layout
from protocols.translation.seats import Seats
from protocols.translation.share import JudgedShare
from protocols.translation.upstream_job import UpstreamJob, UpstreamJobs
from roles.runtime.kernel import kernel
from roles.stratum.latencies import Latencies
from roles.stratum.pool_line import Submitted
from roles.stratum.submissions import ACCEPTED, LOST, Settle, Verdict
from roles.stratum.trunk import Told, Trunk, TrunkListener

NTIME = 1_700_000_000
COINBASE1 = bytes.fromhex("02000000" + "01" + "00" * 32 + "ffffffff" + "1c" + "0352414e" + "14")
COINBASE2 = bytes.fromhex("feffffff" + "01" + "00f2052a01000000" + "0151" + "00000000")
_NUMBERS = count(1)


def twice(data: bytes) -> bytes:
    return sha256(sha256(data).digest()).digest()


class FakeTrunk(Trunk):
    """Says what a test has it say; `verdict` is what becomes of good shares, None for nothing yet."""

    def __init__(self, size: int = 8) -> None:
        self.pool = "first"
        self.granted: Subscription | None = Subscription(b"\xaa\xbb\xcc\xdd", size, "")
        self.job: UpstreamJob | None = None
        self.is_connected = True
        self.latencies = Latencies()
        self.listener: TrunkListener
        self.difficulty = Fraction(1, 1 << 20)
        self.mask = 0
        self.names: dict[str, str] = {}
        self.refusals: dict[str, Rejection] = {}
        self.answers_names = True
        self.waiting: list[tuple[str, Told]] = []
        self.verdict: Verdict | None = ACCEPTED
        self.shares: list[tuple[str, UpstreamJob, bytes]] = []
        self.bad: list[str] = []
        self.settles: list[Settle] = []
        self._seats = Seats(7)
        self._jobs: dict[int, UpstreamJob] = {}
        self._maker = UpstreamJobs(lambda: next(_NUMBERS), kernel().prover)
        self._serial = 1
        self._tip = 0

    # What a test does

    def work(self, *, clean: bool = True, branches: tuple[bytes, ...] = ()) -> UpstreamJob:
        """Other work comes."""
        self._tip += clean
        assert self.granted is not None
        notify = Notify(
            f"job{len(self._jobs)}",
            twice(b"%d" % self._tip),
            COINBASE1,
            COINBASE2 + bytes((len(self._jobs) % 256,)),
            branches,
            0x20000000,
            0x207FFFFF,
            NTIME,
            clean,
        )
        job = self._maker.take(
            notify, self.granted, mask=self.mask, difficulty=self.difficulty, serial=self._serial
        )
        self._jobs[job.number] = job
        self.job = job
        self.listener.job(self, job)
        return job

    def again(self, difficulty: Fraction, *, clean: bool = False) -> UpstreamJob:
        """The same work comes under another id and with another difficulty."""
        assert self.job is not None
        assert self.granted is not None
        self.difficulty = difficulty
        notify = replace(self.job.notify, job_id=f"job{len(self._jobs)}", clean=clean)
        job = self._maker.take(
            notify, self.granted, mask=self.mask, difficulty=difficulty, serial=self._serial
        )
        self._jobs[job.number] = job
        self.job = job
        self.listener.job(self, job)
        return job

    def lose(self) -> None:
        """The connection breaks."""
        self.is_connected, self.job = False, None
        self._jobs.clear()
        settles, self.settles = self.settles, []
        for settle in settles:
            settle(LOST)
        self.listener.lost(self, "the test has cut it")

    def come_back(self, *, size: int | None = None, pool: str | None = None) -> None:
        """It is connected again, with another extranonce1."""
        self._serial += 1
        assert self.granted is not None
        size = self.granted.extranonce2_size if size is None else size
        self.granted = Subscription(struct.pack(">I", self._serial), size, "")
        self.is_connected = True
        if pool is not None and pool != self.pool:
            self.pool = pool
            self.names.clear()
        self.listener.opened(self)
        self.work()

    def answer(self) -> None:
        """Say what becomes of the names that wait."""
        waiting, self.waiting = self.waiting, []
        for user, told in waiting:
            told(self.refusals.get(user))

    # What the relay does

    def find(self, number: int) -> UpstreamJob | None:
        return self._jobs.get(number)

    def seat(self, layout: Layout) -> bytes:
        assert self.granted is not None
        layout.padding(self.granted.extranonce2_size)
        return self._seats.take(layout)

    def give_back(self, layout: Layout, extranonce1: bytes) -> None:
        self._seats.give_back(layout, extranonce1)

    @property
    def seats_taken(self) -> int:
        return len(self._seats)

    def authorize(self, user: str, password: str, told: Told) -> None:
        self.names[user] = password
        self.waiting.append((user, told))
        if self.answers_names:
            self.answer()

    def forget(self, user: str) -> None:
        self.names.pop(user, None)

    def submit(
        self, user: str, job: UpstreamJob, share: JudgedShare, submit: Submitted, settle: Settle
    ) -> None:
        extranonce2 = share.extranonce
        notify, granted = job.notify, job.granted
        if len(extranonce2) != granted.extranonce2_size:
            self.bad.append("extranonce2")
        root = twice(notify.coinbase1 + granted.extranonce1 + extranonce2 + notify.coinbase2)
        for branch in notify.branches:
            root = twice(root + branch)
        header = struct.pack(
            "<I32s32sIII", share.version, notify.previous, root, submit.ntime, notify.bits, submit.nonce
        )
        if int.from_bytes(twice(header), "little") > job.target:
            self.bad.append("high-hash")
        if user not in self.names:
            self.bad.append("unauthorized")
        self.shares.append((user, job, extranonce2))
        if self.verdict is not None:
            settle(self.verdict)
        else:
            self.settles.append(settle)


class FakeTrunks:
    """The trunks of a relay, none of which is opened by itself; `wanted` counts how often one more was."""

    def __init__(self, *trunks: FakeTrunk) -> None:
        self.trunks = list(trunks)
        self.least_extranonce2: int | None = None
        self.wanted = 0

    @property
    def is_connected(self) -> bool:
        return any(trunk.is_connected and trunk.job for trunk in self.trunks)

    def __iter__(self) -> Iterator[Trunk]:
        return iter(self.trunks)

    def more(self) -> Trunk | None:
        self.wanted += 1
        return None
