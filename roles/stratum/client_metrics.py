"""What the mining client counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from roles.stratum.submissions import Settle, Verdict

__all__ = ["ClientMetrics", "ConnectionMetrics"]


class ConnectionMetrics:
    """What every client counts, whatever it speaks, registered under `hashpool_upstream_*`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected = Gauge(
            "hashpool_upstream_connected", "1 while set up with the upstream", registry=registry
        )
        self.connects = Counter(
            "hashpool_upstream_connects", "connections set up with the upstream", registry=registry
        )
        self.failures = Counter(
            "hashpool_upstream_failures", "connections failed or lost, by cause", ["cause"], registry=registry
        )


class ClientMetrics(ConnectionMetrics):
    """What the SV2 client counts; one instance per client."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.channels = Gauge("hashpool_upstream_channels", "channels open upstream", registry=registry)
        self.refusals = Counter(
            "hashpool_upstream_channel_refusals",
            "channels refused or closed by the upstream",
            registry=registry,
        )
        self.mismatches = Counter(
            "hashpool_upstream_verdict_mismatches",
            "answers that do not fit the shares that wait for one",
            registry=registry,
        )
        late = Counter(
            "hashpool_upstream_late_verdicts",
            "Verdicts on shares that had been given up, by what they are.",
            ["result"],
            registry=registry,
        )

        def count_late(verdict: Verdict) -> None:
            late.labels(verdict.outcome.value).inc()

        self.late: Settle = count_late
        """Hears of the verdict on a share whose miner has been told that nobody knows."""
        self.resumed = Counter(
            "hashpool_upstream_channels_resumed",
            "channels that the upstream resumed after a loss",
            registry=registry,
        )
        self.sent_again = Counter(
            "hashpool_upstream_shares_sent_again",
            "shares in flight at a loss, sent again on the resumed channel",
            registry=registry,
        )
        self.ignored = Counter(
            "hashpool_upstream_messages_ignored",
            "messages unknown or for unknown channels",
            registry=registry,
        )
