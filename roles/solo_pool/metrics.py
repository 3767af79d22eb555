"""The solo pool's figures, read from its miners when they are asked for."""

import time
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from roles.solo_pool.solo_pool import SoloPool
from roles.stratum.tally_metrics import tally_metrics


class SoloPoolMetrics(Collector):
    """Shares by fate, of which the accepted ones are blocks, and what else is counted of all miners."""

    def __init__(self, pool: SoloPool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The samples of this moment."""
        yield from tally_metrics("hashpool_solo_pool", self._pool.totals, time.monotonic())
        yield CounterMetricFamily(
            "hashpool_solo_pool_turned_away", "miners refused for want of work", value=self._pool.turned_away
        )
        yield CounterMetricFamily(
            "hashpool_solo_pool_blocks_built_on",
            "blocks of this pool that the node has had templates upon",
            value=self._pool.built_on,
        )
        yield GaugeMetricFamily("hashpool_solo_pool_miners", "miners served", value=len(self._pool))
        yield GaugeMetricFamily(
            "hashpool_solo_pool_figures_remembered",
            "miners that have gone and whose figures are remembered",
            value=len(self._pool.roll),
        )
