"""Many inputs for one parser, with an eye on what it raises, how long it takes and what it keeps."""

import faulthandler
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any, Final, Generic, TypeVar

from tests.fuzz.mutation import Mutator

T = TypeVar("T")

BATCH: Final = 500
HANG_S: Final = 1.0
"""CPU seconds that one input may take; far from what any does, so that a busy machine fails nobody."""
STUCK_S: Final = 300.0
"""Seconds after which a batch that nothing interrupts ends the process, and tells where it stood."""
NOTABLE_S: Final = 0.05
MAX_BLOCKS: Final = 20_000
"""Small objects that may be alive after the second half of the inputs and were not before it: full caches."""
MAX_GROWTH: Final = 16 << 20
"""The same for all memory of the process, in bytes."""
_SHOWN = 4000


@dataclass(frozen=True, slots=True)
class Parser(Generic[T]):
    """What reads bytes of strangers: `make` an input, `read` it, raising nothing but `refusals`."""

    name: str
    make: Callable[[Mutator], T]
    read: Callable[[T], object]
    refusals: tuple[type[Exception], ...]


@dataclass(slots=True)
class Tally:
    """What became of the inputs, and the CPU seconds of the slowest one."""

    accepted: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    slowest: object = None


class Hang(BaseException):
    """An input that takes too long; nothing that a parser catches."""


def explore(parser: Parser[T], *, inputs: int, seed: int) -> Tally:
    """Feed `inputs` inputs to a parser; raises AssertionError for the first that it does not stand."""
    tally = Tally()
    middle = inputs // BATCH // 2
    small = large = 0
    for number in range(max(1, inputs // BATCH)):
        if number == middle:
            small, large = _footprint()
        with _watched():
            _run(parser, seed, number, tally)
    small, large = (after - before for after, before in zip(_footprint(), (small, large), strict=True))
    assert small <= MAX_BLOCKS, f"{parser.name}: {small} objects more after the second half of the inputs"
    assert large <= MAX_GROWTH, f"{parser.name}: {large} bytes more after the second half of the inputs"
    return tally


def make_batch(parser: Parser[T], seed: int, number: int) -> Iterator[T]:
    """The inputs of one batch again."""
    mutator = Mutator(Random(f"{seed} {parser.name} {number}"))
    for _ in range(BATCH):
        yield parser.make(mutator)


def _run(parser: Parser[T], seed: int, number: int, tally: Tally) -> None:
    read, refusals, clock = parser.read, parser.refusals, time.perf_counter
    made: Any = None
    try:
        for made in make_batch(parser, seed, number):
            started = clock()
            try:
                read(made)
                tally.accepted += 1
            except refusals:
                tally.refused += 1
            if clock() - started > NOTABLE_S:
                _measure(parser, made, tally)
    except (Exception, Hang) as error:
        raise AssertionError(
            f"{parser.name} does not stand an input of batch {number}, seed {seed}:"
            f" {type(error).__name__}: {error}\n{_show(made)}"
        ) from error


def _measure(parser: Parser[T], made: T, tally: Tally) -> None:
    """Whether an input is slow, or only the machine was: the fastest of three attempts counts."""
    times = []
    for _ in range(3):
        started = time.process_time()
        try:
            parser.read(made)
        except parser.refusals:
            pass
        times.append(time.process_time() - started)
    if min(times) > tally.slowest_s:
        tally.slowest_s, tally.slowest = min(times), made
    if min(times) > HANG_S:
        raise Hang(f"{min(times):.2f} s")


@contextmanager
def _watched() -> Iterator[None]:
    """End a batch that is busy for too long: Python code by an exception, anything else by an exit."""

    def expired(_: int, __: FrameType | None) -> None:
        raise Hang(f"still busy after {10 * HANG_S:g} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, expired)
    signal.setitimer(signal.ITIMER_VIRTUAL, 10 * HANG_S)
    faulthandler.dump_traceback_later(STUCK_S, exit=True, file=sys.__stderr__ or 2)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _footprint() -> tuple[int, int]:
    """Small objects alive, and bytes of memory in use where the system tells (0 elsewhere)."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        pages = 0
    return sys.getallocatedblocks(), pages * 4096


def _show(made: object) -> str:
    text = made.hex() if isinstance(made, bytes) else repr(made)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
