"""Metrics for places where every microsecond counts: adding to them is an addition."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector


class Tally(Collector):
    """A whole number that only grows, read when the metrics are; counted on one thread."""

    def __init__(self, name: str, documentation: str, *, registry: CollectorRegistry) -> None:
        self.value = 0
        self._name = name
        self._documentation = documentation
        registry.register(self)

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What is told when the metrics are read."""
        yield CounterMetricFamily(self._name, self._documentation, value=self.value)


class Level(Collector):
    """A whole number that goes up and down, read when the metrics are; counted on one thread."""

    def __init__(self, name: str, documentation: str, *, registry: CollectorRegistry) -> None:
        self.value = 0
        self._name = name
        self._documentation = documentation
        registry.register(self)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is told when the metrics are read."""
        yield GaugeMetricFamily(self._name, self._documentation, value=self.value)


class Count:
    """One of several numbers that only grow."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self, amount: int = 1) -> None:
        """Count."""
        self.value += amount


class Counts(Collector):
    """Several of them, told apart by the values of labels; counted on one thread."""

    def __init__(
        self, name: str, documentation: str, names: Sequence[str], *, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._names = tuple(names)
        self._counts: dict[tuple[str, ...], Count] = {}
        registry.register(self)

    def labels(self, *values: str) -> Count:
        """The one with these values, in the order of the labels' names."""
        found = self._counts.get(values)
        if found is None:
            found = self._counts[values] = Count()
        return found

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What is told when the metrics are read."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._names)
        for values, count in self._counts.items():
            family.add_metric(values, count.value)
        yield family


class Heap:
    """Amounts by the buckets that they fall into, whose upper bounds grow, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, amount: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, amount)] += 1
        self._sum += amount

    def observe_all(self, amounts: Iterable[float]) -> None:
        """Count several."""
        bounds, counts, total = self._bounds, self._counts, self._sum
        for amount in amounts:
            counts[bisect_left(bounds, amount)] += 1
            total += amount
        self._sum = total

    def told(self) -> tuple[list[tuple[str, float]], float]:
        """How many are at most as large as each bound, by its text, and the sum of all."""
        names = [*map(str, self._bounds), "+Inf"]
        counts = [float(count) for count in accumulate(self._counts)]
        return list(zip(names, counts, strict=True)), self._sum


class Spread(Heap, Collector):
    """A histogram, read when the metrics are; counted on one thread. `buckets` are upper bounds that grow."""

    def __init__(
        self, name: str, documentation: str, *, buckets: Sequence[float], registry: CollectorRegistry
    ) -> None:
        super().__init__([float(bound) for bound in buckets])
        self._name = name
        self._documentation = documentation
        registry.register(self)

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What is told when the metrics are read."""
        yield HistogramMetricFamily(self._name, self._documentation, *self.told())


class Spreads(Collector):
    """Several of them, told apart by the values of labels; counted on one thread."""

    def __init__(
        self,
        name: str,
        documentation: str,
        names: Sequence[str],
        *,
        buckets: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._names = tuple(names)
        self._bounds = [float(bound) for bound in buckets]
        self._heaps: dict[tuple[str, ...], Heap] = {}
        registry.register(self)

    def labels(self, *values: str) -> Heap:
        """The one with these values, in the order of the labels' names."""
        found = self._heaps.get(values)
        if found is None:
            found = self._heaps[values] = Heap(self._bounds)
        return found

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What is told when the metrics are read."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._names)
        for values, heap in self._heaps.items():
            family.add_metric(values, *heap.told())
        yield family
