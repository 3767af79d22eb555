"""The figures of all miners together, as metrics."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from roles.stratum.tally import Tally

__all__ = ["tally_metrics"]


def tally_metrics(prefix: str, tally: Tally, now: float) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
    """The samples of a tally at `now` in monotonic seconds, each named ``<prefix>_…``."""
    shares = CounterMetricFamily(f"{prefix}_shares", "shares of miners by fate", labels=["result"])
    for result, value in _by_result(tally):
        shares.add_metric([result], value)
    yield shares
    rejected = CounterMetricFamily(f"{prefix}_rejected", "shares rejected, by reason", labels=["reason"])
    for reason, value in tally.rejected.items():
        rejected.add_metric([reason], value)
    yield rejected
    faults = CounterMetricFamily(
        f"{prefix}_faults", "what miners said that was wrong, by kind", labels=["kind"]
    )
    for kind, value in tally.faults.items():
        faults.add_metric([kind], value)
    yield faults
    for name, purpose, value in (
        ("unanswered", "shares answered without a verdict in time", tally.unanswered),
        ("throttled", "times a miner was not read from for a while", tally.throttled),
        (
            "outgrown",
            "miners that were sent a longer coinbase than their firmware is known to take",
            tally.outgrown,
        ),
    ):
        yield CounterMetricFamily(f"{prefix}_{name}", purpose, value=value)
    yield GaugeMetricFamily(
        f"{prefix}_hashrate",
        "hashes a second of all miners, over five minutes",
        value=tally.rate.estimate("5m", now).rate,
    )
    yield GaugeMetricFamily(
        f"{prefix}_best_share",
        "difficulty that the best share would have met",
        value=tally.best_difficulty or 0.0,
    )


def _by_result(tally: Tally) -> Iterator[tuple[str, int]]:
    yield "accepted", tally.accepted
    yield "rejected", tally.rejected.total()
    yield "unknown", tally.unknown
    yield "local", tally.local
