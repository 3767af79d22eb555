"""What is counted of SV1 pools as upstreams."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from roles.runtime.tally import Counts, Level
from roles.stratum.client_metrics import ConnectionMetrics
from roles.stratum.latencies import Latencies

__all__ = ["TrunkMetrics"]


class TrunkMetrics(ConnectionMetrics):
    """Of all connections with the pool in use, registered under `hashpool_upstream_*`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.trunks = Gauge(
            "hashpool_upstream_trunks", "connections with the pool in use, or being made", registry=registry
        )
        self.seats = Gauge("hashpool_upstream_seats", "miners on these connections", registry=registry)
        self.names = Gauge("hashpool_upstream_names", "workers that the pool was told of", registry=registry)
        self.pending = Level(
            "hashpool_upstream_pending_shares", "shares that wait for the pool's verdict", registry=registry
        )
        self.verdicts = Counts(
            "hashpool_upstream_verdicts",
            "Shares forwarded, by the pool's word: accepted, why it was rejected, lost, or late.",
            ["result"],
            registry=registry,
        )
        self.jobs = Counter(
            "hashpool_upstream_jobs",
            "mining.notify of the pool: passed on, or left out because there were too many.",
            ["result"],
            registry=registry,
        )
        self.odd = Counter(
            "hashpool_upstream_odd_lines", "lines of the pool that make no sense, by kind", ["what"],
            registry=registry,
        )  # fmt: skip
        self.redirects = Counter(
            "hashpool_upstream_redirects",
            "client.reconnect of the pool: followed or refused.",
            ["result"],
            registry=registry,
        )
        self.resumed = Counter(
            "hashpool_upstream_sessions_resumed",
            "connections that went on with the extranonce of the one before",
            registry=registry,
        )
        self.throttled = Counter(
            "hashpool_upstream_throttled",
            "Times that the pool was not read from for a while, because it said too much.",
            registry=registry,
        )
        self.latency = Gauge(
            "hashpool_upstream_verdict_seconds",
            "How long the pool took to answer the last shares; 0 before any.",
            ["quantile"],
            registry=registry,
        )

    def watch(self, latencies: Latencies) -> None:
        """Tell quantiles of these."""
        for share in (0.5, 0.99):

            def quantile(share: float = share) -> float:
                found = latencies.quantiles(share)
                return found[0] if found else 0.0

            self.latency.labels(str(share)).set_function(quantile)
