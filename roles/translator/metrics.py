"""The translator's figures, read from its miners when they are asked for."""

import time
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from roles.stratum.tally_metrics import tally_metrics
from roles.translator.translator import Translator


class TranslatorMetrics(Collector):
    """Shares by fate, and what else is counted of all miners together."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The samples of this moment."""
        translator = self._translator
        yield from tally_metrics("hashpool_translator", translator.totals, time.monotonic())
        yield CounterMetricFamily(
            "hashpool_translator_turned_away",
            "miners refused for want of an upstream",
            value=translator.turned_away,
        )
        yield GaugeMetricFamily(
            "hashpool_translator_sessions_parked",
            "sessions kept for miners that may come back",
            value=translator.parked,
        )
        sessions = CounterMetricFamily(
            "hashpool_translator_sessions",
            "sessions that outlived their socket: resumed, or kept until they expired or were evicted",
            labels=["end"],
        )
        sessions.add_metric(["resumed"], translator.resumed)
        for end, value in translator.not_resumed.items():
            sessions.add_metric([end], value)
        yield sessions
        yield GaugeMetricFamily("hashpool_translator_miners", "miners served", value=len(translator))
        yield GaugeMetricFamily(
            "hashpool_translator_figures_remembered",
            "miners that have gone and whose figures are remembered",
            value=len(translator.roll),
        )
