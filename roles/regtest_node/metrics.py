"""What the node counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The node's metrics in a registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.height = Gauge("hashpool_node_height", "Height of the active chain.", registry=registry)
        self.mempool = Gauge(
            "hashpool_node_mempool_transactions", "Transactions that wait for a block.", registry=registry
        )
        self.requests = Counter(
            "hashpool_node_requests",
            "RPC calls by method and outcome.",
            ("method", "outcome"),
            registry=registry,
        )
        self.refused = Counter(
            "hashpool_node_refused", "HTTP requests that never became calls.", ("reason",), registry=registry
        )
        self.blocks = Counter(
            "hashpool_node_submitted_blocks",
            "Blocks given to submitblock by verdict.",
            ("verdict",),
            registry=registry,
        )
