"""Clients that each wait for an answer before they ask again, and what a round of them took."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import TypeVar

T = TypeVar("T")


class OperationFailed(Exception):
    """An operation did not do what it should; it is counted, and the others go on."""


@dataclass(slots=True)
class Round:
    """Wall clock and CPU seconds of a round, and the latency in seconds of each operation that succeeded."""

    wall: float = 0.0
    cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def per_second(self) -> float:
        """Operations that succeeded, by the wall clock."""
        return len(self.latencies) / self.wall if self.wall else 0.0

    @property
    def cpu_each(self) -> float:
        """CPU seconds of an operation."""
        return self.cpu / max(1, len(self.latencies))


async def drive(clients: int, operations: Iterable[T], act: Callable[[T], Awaitable[object]]) -> Round:
    """Carry out all operations by so many clients side by side."""
    result = Round()
    waiting = iter(operations)

    async def client() -> None:
        for operation in waiting:
            started = time.perf_counter()
            try:
                await act(operation)
            except OperationFailed:
                result.failed += 1
            else:
                result.latencies.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(clients):
            tasks.create_task(client())
    return result


@dataclass(frozen=True, slots=True)
class Summary:
    """Several rounds in a few figures: medians, but for p99, which is over all operations, and the counts."""

    per_second: float
    cpu_ms: float
    p99_ms: float
    succeeded: int
    failed: int


def summary(rounds: Sequence[Round]) -> Summary:
    """The figures of rounds."""
    latencies = [latency for each in rounds for latency in each.latencies]
    return Summary(
        median(each.per_second for each in rounds),
        median(each.cpu_each for each in rounds) * 1_000,
        percentile(latencies, 99) * 1_000,
        len(latencies),
        sum(each.failed for each in rounds),
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """The value below which so many hundredths of all lie; 0 for none."""
    if len(values) < 2:
        return values[0] if values else 0.0
    return quantiles(values, n=100, method="inclusive")[percent - 1]
