"""Reads the daemons' metrics and adds up counters across restarts, where each one begins at zero again."""

from collections import defaultdict
from collections.abc import Iterable

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

Label = tuple[str, str]


class Gauges:
    """The latest samples of every role, and each counter's sum over all starts that were looked at."""

    def __init__(self) -> None:
        self._latest: dict[tuple[str, str], dict[tuple[Label, ...], float]] = {}
        self._grown: dict[tuple[str, str], dict[tuple[Label, ...], float]] = defaultdict(
            lambda: defaultdict(float)
        )

    async def look(self, session: aiohttp.ClientSession, role: str, health_url: str) -> bool:
        """Take the samples of one role; returns False if it did not answer."""
        try:
            async with session.get(f"{health_url}/metrics") as response:
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError):
            return False
        self.take(role, text)
        return True

    def take(self, role: str, text: str) -> None:
        """Take samples from the text form of the metrics."""
        fresh: dict[str, dict[tuple[Label, ...], float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                fresh[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
        for name, samples in fresh.items():
            before = self._latest.get((role, name), {})
            if name.endswith(("_total", "_count", "_sum")):
                for labels, value in samples.items():
                    past = before.get(labels, 0.0)
                    self._grown[role, name][labels] += value - past if value >= past else value
            self._latest[role, name] = samples

    def value(self, role: str, name: str, **labels: str) -> float:
        """Return the sum of the latest samples that carry the labels given (0 if there is none)."""
        return matching(self._latest.get((role, name), {}).items(), labels)

    def grown(self, role: str, name: str, **labels: str) -> float:
        """Return what a counter has counted, over all restarts."""
        return matching(self._grown.get((role, name), {}).items(), labels)


def matching(samples: Iterable[tuple[tuple[Label, ...], float]], labels: dict[str, str]) -> float:
    """Add up the samples that carry every label given."""
    wanted = set(labels.items())
    return sum(value for given, value in samples if wanted <= set(given))
