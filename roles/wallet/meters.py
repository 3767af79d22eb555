"""What the wallet counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_BUCKETS = (0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 4, 8, 30, 120, 600)


class Meters:
    """Counters and gauges of one wallet; amounts are in ehash, all units together."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"hashpool_wallet_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"hashpool_wallet_{name}", text, registry=registry)

        self.minted = counter("minted_ehash", "Ehash minted into the store.")
        self.quotes_minted = counter("quotes_minted", "Quotes whose tokens are in the store.")
        self.balance = gauge("balance_ehash", "Unspent ehash in the store.")
        self.pending_quotes = gauge("quotes_pending", "Quotes known and not minted yet.")
        self.pending = gauge("pending_ehash", "Ehash known and not minted yet.")
        self.identities = gauge("identities", "User identities with a key.")
        self.notices = counter("notices", "Notices of quotes from the pool.", "result")
        self.found = counter("quotes_found", "Quotes found by look-up that no notice told of.")
        self.requests = counter("requests", "Mint requests by how they ended.", "result")
        self.exchanges = counter(
            "exchanges", "Requests that spend tokens or mint an invoice, by how they ended.", "kind", "result"
        )
        self.alarms = counter("alarms", "Things that a person should look at.", "kind")
        self.mint_up = gauge("mint_up", "1 while the mint answers.")
        self.notice_to_token = Histogram(
            "hashpool_wallet_notice_to_token_seconds",
            "From the first word of a quote to its tokens in the store.",
            buckets=_BUCKETS,
            registry=registry,
        )
