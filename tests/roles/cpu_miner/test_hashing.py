"""What is hashed, how fast, and by whom."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.target import from_work, meets
from roles.cpu_miner.crew import Crew
from roles.cpu_miner.hashing import (
    EXHAUSTED,
    FOUND,
    MAX_FOUND,
    NONCES,
    PROGRESS,
    REPORT,
    REST,
    TASK,
    Hasher,
    scan,
    serve,
)
from roles.cpu_miner.tally import Tally, Verdict
from roles.cpu_miner.work import ROLLED_BITS, Candidate, Work, pieces

GENESIS = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e"
    "67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
)
EASY = from_work(256)
ROOT = Path(__file__).parents[3]


BASE = Work(
    job_id=7,
    previous=bytes(range(32)),
    version=0x20000000,
    bits=0x207FFFFF,
    ntime=1_800_000_000,
    target=EASY,
    mask=ROLLED_BITS,
    coinbase1=b"before",
    coinbase2=b"after",
    merkle_path=(b"\x01" * 32,),
    extranonce_size=8,
)


def work(**changes: Any) -> Work:
    return replace(BASE, **changes)


def header_of(candidate: Candidate) -> Header:
    return Header.parse(candidate.piece.head + candidate.nonce.to_bytes(4, "little"))


def test_the_nonce_of_the_first_block_is_found() -> None:
    nonce = int.from_bytes(GENESIS[76:], "little")
    assert scan(GENESIS[:76], 0xFFFF << 208, nonce - 100, nonce + 100) == [nonce]


def test_exactly_the_hashes_at_or_below_the_target_are_found() -> None:
    hashes = {n: int.from_bytes(sha256d(bytes(76) + n.to_bytes(4, "little")), "little") for n in range(500)}
    target = sorted(hashes.values())[3]
    assert scan(bytes(76), target, 0, 500) == [n for n, value in hashes.items() if value <= target]
    assert scan(bytes(76), (1 << 256) - 1, 0, 500) == list(range(500))


def test_every_piece_of_a_job_is_another_header_and_keeps_its_rules() -> None:
    job = work(extranonce_size=1, mask=0x6000)
    made = list(islice(pieces(job), 256 * 4 + 100))
    assert len({piece.head for piece in made}) == len(made)
    for piece in made:
        header = Header.parse(piece.head + bytes(4))
        assert header.merkle_root == job.root(piece.extranonce)
        assert header.version == piece.version
        assert (piece.version ^ job.version) & ~job.mask == 0
        assert header.time == piece.ntime
    assert {piece.ntime - job.ntime for piece in made} == {0, 1}
    assert len({piece.version for piece in made[:4]}) == 4


def test_a_job_for_headers_only_rolls_version_and_then_time() -> None:
    job = work(extranonce_size=0, merkle_root=b"\x05" * 32, mask=0x2000)
    made = list(islice(pieces(job, start=0), 4))
    assert [(piece.version & job.mask, piece.ntime - job.ntime) for piece in made] == [
        (0, 0),
        (0x2000, 0),
        (0, 1),
        (0x2000, 1),
    ]
    assert {piece.extranonce for piece in made} == {b""}


def test_a_job_given_out_again_is_begun_elsewhere() -> None:
    assert len({next(pieces(work())).extranonce for _ in range(5)}) == 5
    headers_only = work(extranonce_size=0, merkle_root=bytes(32))
    assert len({next(pieces(headers_only)).version for _ in range(20)}) > 1


def reports_of(data: list[bytes]) -> list[tuple[int, int, int]]:
    return [REPORT.unpack(report) for report in data]


def test_a_hasher_keeps_its_rate_and_makes_up_for_one_slice_at_most() -> None:
    said: list[bytes] = []
    hasher = Hasher(1000.0, said.append)
    assert hasher.wait(0.0) is None
    hasher.take(TASK.pack(3, bytes(76), bytes(32)))
    now, slices = 100.0, 0
    while now < 110.0:
        pause = hasher.wait(now)
        assert pause is not None
        now += pause
        hasher.work(now)
        slices += 1
    assert 9_900 <= slices * 50 <= 10_200
    now += 60
    for _ in range(3):
        hasher.work(now)
    assert (hasher.wait(now) or 0) >= 0.05
    assert sum(value for kind, _, value in reports_of(said) if kind == PROGRESS) == pytest.approx(
        10_000, abs=300
    )


def test_a_task_without_nonces_left_is_reported_once_and_then_rests() -> None:
    said: list[bytes] = []
    hasher = Hasher(1e9, said.append)
    hasher.take(TASK.pack(9, bytes(76), b"\xff" * 32))
    hasher._nonce = NONCES - 100
    hasher.work(0.0)
    kinds = [kind for kind, task, _ in reports_of(said) if task == 9]
    assert kinds == [FOUND] * MAX_FOUND + [PROGRESS, EXHAUSTED]
    assert hasher.wait(0.0) is None


def test_the_newest_task_is_the_one_worked_on_and_the_end_of_input_ends_the_work() -> None:
    source, sink = os.pipe()
    found = threading.Event()
    said: list[bytes] = []

    def report(data: bytes) -> None:
        said.append(data)
        found.set()

    thread = threading.Thread(target=serve, args=(Hasher(50_000, report), source))
    os.write(sink, b"".join(TASK.pack(n, bytes(76), EASY.to_bytes(32, "little")) for n in (1, 2, 3)))
    thread.start()
    assert found.wait(10)
    os.write(sink, TASK.pack(REST, bytes(76), bytes(32))[:50])
    os.write(sink, TASK.pack(REST, bytes(76), bytes(32))[50:])
    os.close(sink)
    thread.join(10)
    os.close(source)
    assert not thread.is_alive()
    assert {task for _, task, _ in reports_of(said)} == {3}


async def mine(crew: Crew, is_enough: Callable[[list[Candidate]], bool]) -> list[Candidate]:
    found: list[Candidate] = []
    enough = asyncio.Event()

    def take(candidate: Candidate) -> None:
        found.append(candidate)
        if is_enough(found):
            enough.set()

    async with asyncio.timeout(30):
        task = asyncio.create_task(crew.run(take))
        try:
            await enough.wait()
        finally:
            task.cancel()
            await asyncio.wait([task])
    return found


async def test_a_crew_of_two_finds_shares_that_meet_their_target_on_different_headers() -> None:
    registry = CollectorRegistry()
    crew = Crew(2, 100_000, Tally(registry))
    crew.work_on(work(), True)
    found = await mine(crew, lambda found: len({candidate.piece.head for candidate in found}) == 2)
    for candidate in found:
        assert meets(header_of(candidate).hash(), EASY)
    assert len({header_of(candidate).pack() for candidate in found}) == len(found)


async def test_after_a_clean_start_nothing_of_the_work_before_is_found() -> None:
    crew = Crew(1, 100_000, Tally(CollectorRegistry()))
    crew.work_on(work(), True)
    second = work(job_id=8)
    after: list[Candidate] = []
    enough = asyncio.Event()
    is_clean = False

    def take(candidate: Candidate) -> None:
        nonlocal is_clean
        if not is_clean:
            crew.work_on(second, True)
            is_clean = True
        else:
            after.append(candidate)
            enough.set()

    async with asyncio.timeout(30):
        task = asyncio.create_task(crew.run(take))
        await enough.wait()
        task.cancel()
        await asyncio.wait([task])
    assert {candidate.piece.work for candidate in after} == {second}


async def test_a_process_that_dies_is_replaced_and_goes_on() -> None:
    registry = CollectorRegistry()
    crew = Crew(1, 100_000, Tally(registry))
    crew.work_on(work(), True)
    killed: list[int] = []
    enough = asyncio.Event()

    def take(candidate: Candidate) -> None:
        process = crew._hands[0].process
        assert process is not None
        if not killed:
            killed.append(process.pid)
            process.send_signal(signal.SIGKILL)
        elif process.pid not in killed:
            enough.set()

    async with asyncio.timeout(30):
        task = asyncio.create_task(crew.run(take))
        await enough.wait()
        task.cancel()
        await asyncio.wait([task])
    assert registry.get_sample_value("hashpool_miner_process_restarts_total") == 1.0


PARENT = """
import asyncio, sys
from prometheus_client import CollectorRegistry
from roles.cpu_miner.crew import Crew
from roles.cpu_miner.tally import Tally

async def main():
    crew = Crew(2, 1000, Tally(CollectorRegistry()))
    task = asyncio.create_task(crew.run(lambda candidate: None))
    while not all(hand.process for hand in crew._hands):
        await asyncio.sleep(0.01)
    print(*(hand.process.pid for hand in crew._hands), flush=True)
    await task

asyncio.run(main())
"""


def test_no_process_outlives_a_parent_that_was_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    with parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.kill()
        parent.wait(10)
        # The pipe's other end is held by nobody once the children, too, have gone.
        assert parent.stdout.read() == ""
    for child in children:
        state = Path(f"/proc/{child}/stat")
        for _ in range(500):
            if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
                break
            threading.Event().wait(0.01)
        else:
            pytest.fail(f"process {child} is still there")


def test_a_reason_for_rejection_is_said_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    tally = Tally(CollectorRegistry(), clock=lambda: now[0])
    caplog.set_level("INFO")
    for now[0] in (0.0, 1.0, 6.0, 7.0):
        tally.sent()
        tally.settle(Verdict.REJECTED, "why not")
    assert [record.message for record in caplog.records] == ["a share was rejected"] * 2


async def test_the_tally_waits_for_the_verdicts_that_are_due(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    registry = CollectorRegistry()
    tally = Tally(registry, clock=lambda: now)
    await tally.settled(0.01)
    tally.sent()
    tally.sent()
    tally.settle(Verdict.ACCEPTED)
    caplog.set_level("INFO")
    await tally.settled(0.01)
    assert [record.message for record in caplog.records] == ["some shares have no verdict yet"]
    waiting = asyncio.create_task(tally.settled(10))
    await asyncio.sleep(0)
    tally.settle(Verdict.UNKNOWN)
    await waiting
    now = 5.0
    tally.hashed(1000)
    assert tally.hashes_per_s() == 200.0
    now = 20.0
    assert tally.hashes_per_s() == 0.0
    values = {
        v: registry.get_sample_value("hashpool_miner_shares_total", {"verdict": v.value}) for v in Verdict
    }
    assert values == {Verdict.ACCEPTED: 1.0, Verdict.REJECTED: 0.0, Verdict.UNKNOWN: 1.0}
