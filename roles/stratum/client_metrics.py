"""What the mining client counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge

__all__ = ["ClientMetrics"]


class ClientMetrics:
    """What the client counts, registered under `hashpool_upstream_*`; one instance per client."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connected = Gauge(
            "hashpool_upstream_connected", "1 while set up with the upstream", registry=registry
        )
        self.channels = Gauge("hashpool_upstream_channels", "channels open upstream", registry=registry)
        self.connects = Counter(
            "hashpool_upstream_connects", "connections set up with the upstream", registry=registry
        )
        self.failures = Counter(
            "hashpool_upstream_failures", "connections failed or lost, by cause", ["cause"], registry=registry
        )
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
        self.ignored = Counter(
            "hashpool_upstream_messages_ignored",
            "messages unknown or for unknown channels",
            registry=registry,
        )
