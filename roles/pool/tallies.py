"""The metrics of all processes of a pool as one: what counts is added up, also for those that have ended."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

Family = tuple[str, str, str, list[tuple[str, dict[str, str], float]]]
"""Name, kind, what it means, and the samples: name, labels and value of each."""

LASTING = frozenset({"counter", "histogram"})
"""Kinds that never fall."""
SHARED = frozenset({"hashpool_pool_disk_free_bytes", "hashpool_ban_entries"})
"""Gauges of what all processes have in common: those of the first one stand for all."""
LABEL = "process"

_Key = tuple[str, tuple[tuple[str, str], ...]]


def snapshot(registry: CollectorRegistry) -> list[Family]:
    """What a process counts, as it can be sent."""
    return [
        (
            family.name,
            family.type,
            family.documentation,
            [(sample.name, sample.labels, sample.value) for sample in family.samples],
        )
        for family in registry.collect()
    ]


class Tallies(Collector):
    """A collector of this process's own registry and of what its siblings say; each has a number."""

    def __init__(self, own: CollectorRegistry) -> None:
        self._own = own
        self._siblings: dict[int, list[Family]] = {}
        self._departed: list[Family] = []

    def take(self, number: int, families: Iterable[Any]) -> None:
        """The latest of a sibling."""
        self._siblings[number] = [(name, kind, text, samples) for name, kind, text, samples in families]

    def depart(self, number: int) -> None:
        """A sibling has ended; what it has counted stays counted."""
        gone = self._siblings.pop(number, [])
        lasting = [family for family in gone if family[1] in LASTING]
        merged = _Sum()
        for family in [*self._departed, *lasting]:
            merged.add(family)
        self._departed = list(merged.families())

    def of(self, number: int, name: str) -> float:
        """The sum of the samples of one name in one process, 0 being this one."""
        if not number:
            own = self._own.restricted_registry([name]).collect()
            return sum(sample.value for family in own for sample in family.samples)
        families = self._siblings.get(number, [])
        return sum(value for _, _, _, samples in families for sample, _, value in samples if sample == name)

    def sums(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample's value by its name and labels, as the sum over all processes."""
        return {
            (sample, tuple(labels.items())): value
            for _, _, _, samples in self._merged().families()
            for sample, labels, value in samples
        }

    def collect(self) -> Iterator[Metric]:
        """Every family once, as the sum over all processes."""
        if not self._siblings and not self._departed:
            yield from self._own.collect()
            return
        for name, kind, text, samples in self._merged().families():
            metric = Metric(name, text, kind)
            metric.samples = [Sample(*sample) for sample in samples]
            yield metric

    def _merged(self) -> "_Sum":
        merged = _Sum()
        for family in snapshot(self._own):
            merged.add(family)
        for sibling in self._siblings.values():
            for family in sibling:
                if family[0] not in SHARED:
                    merged.add(family)
        for family in self._departed:
            merged.add(family)
        return merged


class _Sum:
    """Families whose samples are added up by name and labels."""

    def __init__(self) -> None:
        self._heads: dict[str, tuple[str, str]] = {}
        self._values: dict[str, dict[_Key, float]] = {}

    def add(self, family: Family) -> None:
        name, kind, text, samples = family
        self._heads.setdefault(name, (kind, text))
        values = self._values.setdefault(name, {})
        for sample, labels, value in samples:
            key = (sample, tuple(labels.items()))
            values[key] = values.get(key, 0.0) + value

    def families(self) -> Iterator[Family]:
        for name, (kind, text) in self._heads.items():
            samples = [
                (sample, dict(labels), value) for (sample, labels), value in self._values[name].items()
            ]
            yield name, kind, text, samples
