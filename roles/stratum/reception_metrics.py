"""A reception's figures, read from its miners when they are asked for."""

import time
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from roles.stratum.reception import Reception
from roles.stratum.tally_metrics import tally_metrics

__all__ = ["ReceptionMetrics"]


class ReceptionMetrics(Collector):
    """Shares by fate, and what else is counted of all miners together; `prefix` is that of the names."""

    def __init__(self, prefix: str, reception: Reception[Any]) -> None:
        self._prefix = prefix
        self._reception = reception

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The samples of this moment."""
        prefix, reception = self._prefix, self._reception
        yield from tally_metrics(prefix, reception.totals, time.monotonic())
        yield CounterMetricFamily(
            f"{prefix}_turned_away", "miners refused for want of an upstream", value=reception.turned_away
        )
        yield GaugeMetricFamily(
            f"{prefix}_sessions_parked",
            "sessions kept for miners that may come back",
            value=reception.parked,
        )
        sessions = CounterMetricFamily(
            f"{prefix}_sessions",
            "sessions that outlived their socket: resumed, or kept until they expired or were evicted",
            labels=["end"],
        )
        sessions.add_metric(["resumed"], reception.resumed)
        for end, value in reception.not_resumed.items():
            sessions.add_metric([end], value)
        yield sessions
        yield GaugeMetricFamily(f"{prefix}_miners", "miners served", value=len(reception))
        yield GaugeMetricFamily(
            f"{prefix}_figures_remembered",
            "miners that have gone and whose figures are remembered",
            value=len(reception.roll),
        )
