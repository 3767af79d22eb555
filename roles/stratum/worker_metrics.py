"""Metrics by the names of workers: of the few that have done most work; what the others have is one more."""

from collections.abc import Callable, Iterable, Iterator
from heapq import nlargest
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from roles.stratum.tally import Tally

__all__ = ["OTHERS", "Worker", "WorkerMetrics", "label"]

OTHERS = "other"
"""The label of all that are not among the few."""
LABEL = 64


class Worker(NamedTuple):
    """One connection or channel of a worker; `difficulty` as SV1 counts it."""

    name: str
    tally: Tally
    difficulty: float


class WorkerMetrics(Collector):
    """Read from `workers`, those that are connected, when the metrics are; `most` is how many have a name.

    None are told of where `most` is 0. Names are anybody's text, so their number must be small.
    """

    def __init__(
        self,
        prefix: str,
        workers: Callable[[], Iterable[Worker]],
        clock: Callable[[], float],
        most: int,
    ) -> None:
        self.most = most
        self._prefix = prefix
        self._workers = workers
        self._clock = clock

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The samples of this moment."""
        if not self.most:
            return
        groups: dict[str, list[Worker]] = {}
        for worker in self._workers():
            groups.setdefault(label(worker.name), []).append(worker)
        work = {name: sum(each.tally.rate.sums[0] for each in group) for name, group in groups.items()}
        few = nlargest(self.most, groups, key=work.__getitem__)
        others = [each for name in groups.keys() - set(few) for each in groups[name]]
        yield from self._families([(name, groups[name]) for name in few], others)

    def _families(
        self, named: list[tuple[str, list[Worker]]], others: list[Worker]
    ) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        shares = CounterMetricFamily(
            f"{self._prefix}_miner_shares", "shares on the present connections", labels=["miner", "result"]
        )
        connections = GaugeMetricFamily(
            f"{self._prefix}_miner_connections", "present connections", labels=["miner"]
        )
        difficulty = GaugeMetricFamily(
            f"{self._prefix}_miner_difficulty", "difficulty told last", labels=["miner"]
        )
        rate = GaugeMetricFamily(
            f"{self._prefix}_miner_hashrate", "hashes a second over five minutes", labels=["miner"]
        )
        now = self._clock()
        for name, group in [*named, (OTHERS, others)] if others else named:
            connections.add_metric([name], len(group))
            for result, count in _fates(group):
                shares.add_metric([name, result], count)
        for name, group in named:
            difficulty.add_metric([name], group[-1].difficulty)
            rate.add_metric([name], sum(each.tally.rate.estimate("5m", now).rate for each in group))
        yield from (shares, connections, difficulty, rate)


def label(name: str) -> str:
    """A worker's name as a label: printable and short."""
    short = name[:LABEL]
    return short if short.isprintable() else "".join(each if each.isprintable() else "?" for each in short)


def _fates(group: Iterable[Worker]) -> Iterator[tuple[str, int]]:
    tallies = [worker.tally for worker in group]
    yield "accepted", sum(tally.accepted for tally in tallies)
    yield "rejected", sum(tally.rejected.total() for tally in tallies)
    yield "unknown", sum(tally.unknown for tally in tallies)
    yield "local", sum(tally.local for tally in tallies)
