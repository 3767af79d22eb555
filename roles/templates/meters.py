"""What is counted of a node's templates and of the blocks that it is given."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class NodeMeters:
    """Counters and gauges, named ``hashpool_<daemon>_…``."""

    def __init__(self, registry: CollectorRegistry, daemon: str) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"hashpool_{daemon}_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"hashpool_{daemon}_{name}", text, registry=registry)

        self.solutions = counter("solutions", "Solutions, by the verdict on them.", "verdict")
        self.unsettled = gauge("solutions_unsettled", "Solved blocks that the node has not judged yet.")
        self.tips = counter("tips", "New tips.")
        self.node_errors = counter("node_errors", "Failed calls to the node, by reason.", "reason")
        self.node_up = gauge("node_up", "1 while the node answers.")
        self.height = gauge("template_height", "Height of the block being worked on.")
        self.fees = gauge("template_fees_sat", "Fees in the node's newest template.")
        self.transactions = gauge("template_transactions", "Transactions in the node's newest template.")
        self.fetch = Histogram(
            f"hashpool_{daemon}_fetch_seconds",
            "How long the node takes for a template.",
            buckets=_BUCKETS,
            registry=registry,
        )
