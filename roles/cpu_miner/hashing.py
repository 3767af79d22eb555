"""The process that hashes: takes headers on its standard input, tells nonces and progress on its output.

A task is its number (U32, 0 to rest), 76 header bytes and the target (U256), little-endian; a newer task
replaces the one before. A report is a kind (U8), the task's number (U32) and a value (U64): a nonce, hashes
done, or nothing where the task has no nonce left.
"""

import os
import select
import signal
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from struct import Struct

from roles.runtime.process import die_with_parent

TASK = Struct("<I76s32s")
REPORT = Struct("<BIQ")
FOUND, PROGRESS, EXHAUSTED = 1, 2, 3
REST = 0

SLICE_S = 0.05
MAX_SLICE = 20_000
REPORT_S = 0.25
MAX_FOUND = 64
NONCES = 1 << 32
NICENESS = 10
_NONCE = Struct("<I")


def scan(head: bytes, target: int, start: int, stop: int) -> list[int]:
    """The nonces from start to before stop whose double SHA-256 meets the target."""
    found = []
    zeros = bytes(32 - (target.bit_length() + 7) // 8)
    pack, read = _NONCE.pack, int.from_bytes
    for nonce in range(start, stop):
        digest = sha256(sha256(head + pack(nonce)).digest()).digest()
        if digest.endswith(zeros) and read(digest, "little") <= target:
            found.append(nonce)
    return found


class Hasher:
    """One task at a time, in slices short enough to notice a newer one, at no more than `rate` hashes/s."""

    def __init__(self, rate: float, report: Callable[[bytes], None]) -> None:
        self._rate = rate
        self._report = report
        self._slice = max(1, min(int(rate * SLICE_S), MAX_SLICE))
        self._task = REST
        self._head = b""
        self._target = 0
        self._nonce = 0
        self._due = 0.0
        self._done = 0
        self._reported = 0.0

    def take(self, task: bytes) -> None:
        """Work on this from now on."""
        self._task, self._head, target = TASK.unpack(task)
        self._target = int.from_bytes(target, "little")
        self._nonce = 0

    def wait(self, now: float) -> float | None:
        """Seconds until the next slice may begin; None while there is nothing to do."""
        if self._task == REST:
            return None
        return max(0.0, self._due - now)

    def work(self, now: float) -> None:
        """Hash one slice and report what it gave."""
        start, stop = self._nonce, min(self._nonce + self._slice, NONCES)
        for nonce in scan(self._head, self._target, start, stop)[:MAX_FOUND]:
            self._report(REPORT.pack(FOUND, self._task, nonce))
        self._nonce = stop
        self._done += stop - start
        # Time lost to others is not made up for: a burst would be above the rate.
        self._due = max(self._due, now - SLICE_S) + (stop - start) / self._rate
        if now - self._reported >= REPORT_S or stop == NONCES:
            self._report(REPORT.pack(PROGRESS, self._task, self._done))
            self._reported, self._done = now, 0
        if stop == NONCES:
            self._report(REPORT.pack(EXHAUSTED, self._task, 0))
            self._task = REST


def serve(hasher: Hasher, source: int) -> None:
    """Follow tasks until their source ends."""
    pending = b""
    while True:
        readable, _, _ = select.select([source], [], [], hasher.wait(time.monotonic()))
        if readable:
            data = os.read(source, 64 * TASK.size)
            if not data:
                return
            pending += data
            whole = len(pending) // TASK.size * TASK.size
            if whole:
                hasher.take(pending[whole - TASK.size : whole])
                pending = pending[whole:]
        elif hasher.wait(time.monotonic()) == 0:
            hasher.work(time.monotonic())


def main(arguments: list[str]) -> int:
    """Run with two arguments: hashes a second, and the parent's process id."""
    rate, parent = float(arguments[0]), int(arguments[1])
    if not die_with_parent(parent):
        return 0
    # Ctrl-C reaches the whole terminal; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    try:
        serve(Hasher(rate, lambda report: _write(1, report)), 0)
    except BrokenPipeError:
        return 0
    return 0


def _write(target: int, data: bytes) -> None:
    os.write(target, data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
