"""The translator's figures, read from its miners when they are asked for."""

import time
from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from roles.stratum.tally import Tally
from roles.translator.translator import Translator


class TranslatorMetrics(Collector):
    """Shares by fate, and what else is counted of all miners together."""

    def __init__(self, translator: Translator) -> None:
        self._translator = translator

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The samples of this moment."""
        totals = self._translator.totals
        shares = CounterMetricFamily(
            "hashpool_translator_shares", "shares of miners by fate", labels=["result"]
        )
        for result, value in _by_result(totals):
            shares.add_metric([result], value)
        yield shares
        rejected = CounterMetricFamily(
            "hashpool_translator_rejected", "shares rejected, by reason", labels=["reason"]
        )
        for reason, value in totals.rejected.items():
            rejected.add_metric([reason], value)
        yield rejected
        yield CounterMetricFamily(
            "hashpool_translator_unanswered",
            "shares answered without a verdict in time",
            value=totals.unanswered,
        )
        yield CounterMetricFamily(
            "hashpool_translator_turned_away",
            "miners refused for want of an upstream",
            value=self._translator.turned_away,
        )
        yield CounterMetricFamily(
            "hashpool_translator_throttled",
            "times a miner was not read from for a while",
            value=self._translator.totals.throttled,
        )
        faults = CounterMetricFamily(
            "hashpool_translator_faults", "what miners said that was wrong, by kind", labels=["kind"]
        )
        for kind, value in totals.faults.items():
            faults.add_metric([kind], value)
        yield faults
        yield CounterMetricFamily(
            "hashpool_translator_outgrown",
            "miners that were sent a longer coinbase than their firmware is known to take",
            value=totals.outgrown,
        )
        yield GaugeMetricFamily(
            "hashpool_translator_sessions_parked",
            "sessions kept for miners that may come back",
            value=self._translator.parked,
        )
        sessions = CounterMetricFamily(
            "hashpool_translator_sessions",
            "sessions that outlived their socket: resumed, or kept until they expired or were evicted",
            labels=["end"],
        )
        sessions.add_metric(["resumed"], self._translator.resumed)
        for end, value in self._translator.not_resumed.items():
            sessions.add_metric([end], value)
        yield sessions
        yield GaugeMetricFamily("hashpool_translator_miners", "miners served", value=len(self._translator))
        yield GaugeMetricFamily(
            "hashpool_translator_hashrate",
            "hashes a second of all miners, over five minutes",
            value=totals.rate.estimate("5m", time.monotonic()).rate,
        )
        yield GaugeMetricFamily(
            "hashpool_translator_best_share",
            "difficulty that the best share would have met",
            value=totals.best_difficulty or 0.0,
        )
        yield GaugeMetricFamily(
            "hashpool_translator_figures_remembered",
            "miners that have gone and whose figures are remembered",
            value=len(self._translator.roll),
        )


def _by_result(tally: Tally) -> Iterator[tuple[str, int]]:
    yield "accepted", tally.accepted
    yield "rejected", tally.rejected.total()
    yield "unknown", tally.unknown
    yield "local", tally.local
