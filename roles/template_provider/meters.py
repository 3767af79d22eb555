"""What the template provider counts of its clients."""

from prometheus_client import CollectorRegistry, Counter

from roles.templates.meters import NodeMeters


class Meters:
    """Counters, named ``hashpool_template_provider_…``, and those of the node's templates."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"hashpool_template_provider_{name}", text, labels, registry=registry)

        self.node = NodeMeters(registry, "template_provider")
        self.templates = counter("templates", "Templates sent, by what caused them.", "cause")
        self.dropped = counter("dropped_transactions", "Transactions left out for clients' outputs.")
        self.data_requests = counter("data_requests", "Requests for transaction data, by answer.", "answer")
        self.ignored = counter("ignored_messages", "Messages of clients that mean nothing here.")
