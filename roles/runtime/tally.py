"""A counter for places where every microsecond counts: adding to it is an addition."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily
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
