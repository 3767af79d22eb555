"""Counters and gauges of the mint."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from roles.mint.request import SwapRequest
from roles.mint.rules import Portion


class Meters:
    """What the mint counts, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "hashpool_mint_requests",
            "HTTP requests by route and answer.",
            ["route", "answer"],
            registry=registry,
        )
        self.seconds = Histogram(
            "hashpool_mint_request_seconds",
            "From the end of the request's head to its answer.",
            ["route"],
            buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )
        self.replays = Counter(
            "hashpool_mint_replays", "Requests answered again from the store.", registry=registry
        )
        self.quotes = Counter("hashpool_mint_quotes", "Quotes created and paid.", registry=registry)
        self.paid = Counter("hashpool_mint_paid_ehash", "Ehash of quotes paid.", registry=registry)
        self.issued = Counter("hashpool_mint_issued_ehash", "Ehash minted from quotes.", registry=registry)
        self.swaps = Counter("hashpool_mint_swapped_ehash", "Ehash spent and issued anew.", registry=registry)
        self.refused = Counter(
            "hashpool_mint_credits_refused", "Credits refused or held, by code.", ["code"], registry=registry
        )
        self.alarms = Counter(
            "hashpool_mint_alarms",
            "What must never happen: each needs an operator.",
            ["kind"],
            registry=registry,
        )
        self.links = Gauge("hashpool_mint_issuer_links", "Issuers connected.", registry=registry)

    def minted(self, portions: Sequence[Portion]) -> None:
        """Tokens were issued for these portions of quotes."""
        self.issued.inc(sum(portion.amount for portion in portions))

    def swapped(self, request: SwapRequest) -> None:
        """A swap was carried out."""
        self.swaps.inc(sum(proof.amount for proof in request.inputs))
