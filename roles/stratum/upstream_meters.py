"""What is counted of each upstream by itself, where a client has more than one to choose from."""

import time
from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge

from roles.runtime.tally import Counts

__all__ = ["UpstreamMeters", "UpstreamState"]


class UpstreamState(Enum):
    """What an upstream is to us: mined at; not asked for; not to be reached; back, and being proven."""

    ACTIVE = "active"
    IDLE = "idle"
    AWAY = "away"
    PROVING = "proving"


class UpstreamMeters:
    """Registered under `hashpool_upstreams_*`; `upstream` is a name out of the configuration."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._state = Gauge(
            "hashpool_upstreams_state",
            "1 for the state that an upstream is in.",
            ["upstream", "state"],
            registry=registry,
        )
        self._since = Gauge(
            "hashpool_upstreams_since_seconds",
            "Unix time at which an upstream came into its state.",
            ["upstream"],
            registry=registry,
        )
        self._turns = Counter(
            "hashpool_upstreams_turns",
            "Times that an upstream became the one mined at.",
            ["upstream"],
            registry=registry,
        )
        self.shares = Counts(
            "hashpool_upstreams_shares",
            "Shares sent to an upstream, by its word: accepted, rejected, or unknown where it gave none.",
            ["upstream", "result"],
            registry=registry,
        )
        self.failures = Counter(
            "hashpool_upstreams_failures",
            "Connections with an upstream that failed or were lost, by cause.",
            ["upstream", "cause"],
            registry=registry,
        )

    def enter(self, upstream: str, state: UpstreamState) -> None:
        """An upstream comes into a state."""
        for each in UpstreamState:
            self._state.labels(upstream, each.value).set(each is state)
        self._since.labels(upstream).set(time.time())
        if state is UpstreamState.ACTIVE:
            self._turns.labels(upstream).inc()
