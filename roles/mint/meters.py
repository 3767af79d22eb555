"""Counters and gauges of the mint."""

import logging
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge

from protocols.ehash.shift import METHOD
from roles.mint.request import SwapRequest
from roles.mint.rules import Portion
from roles.runtime.tally import Tally

_log = logging.getLogger(__name__)


class Meters:
    """What the mint counts, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.refusals = Counter(
            "hashpool_mint_refusals", "Requests refused, by code.", ["code"], registry=registry
        )
        self.replays = Counter(
            "hashpool_mint_replays", "Requests answered again from the store.", registry=registry
        )
        self.quotes = Counter("hashpool_mint_quotes", "Quotes created and paid.", registry=registry)
        self.paid = Counter("hashpool_mint_paid_ehash", "Ehash of quotes paid.", registry=registry)
        self.issued = Tally("hashpool_mint_issued_ehash", "Ehash minted from quotes.", registry=registry)
        self.swaps = Tally("hashpool_mint_swapped_ehash", "Ehash spent and issued anew.", registry=registry)
        self.refused = Counter(
            "hashpool_mint_credits_refused", "Credits refused or held, by code.", ["code"], registry=registry
        )
        self.shifts = Counter(
            "hashpool_mint_shifts_opened", "Shifts that got a keyset of their own.", registry=registry
        )
        self.alarms = Counter(
            "hashpool_mint_alarms",
            "What must never happen: each needs an operator.",
            ["kind"],
            registry=registry,
        )
        self.ignored = Gauge(
            "hashpool_mint_issuer_messages_ignored",
            "Messages on issuance links that are not known here.",
            registry=registry,
        )
        self.waiting = Gauge(
            "hashpool_mint_signatory_waiting",
            "Requests whose points are computed, or wait for that.",
            registry=registry,
        )
        self.links = Gauge("hashpool_mint_issuer_links", "Issuers connected.", registry=registry)

    def alarm(self, kind: str, text: str) -> None:
        """Something that must never happen did."""
        self.alarms.labels(kind).inc()
        _log.critical("%s", text, extra={"alarm": kind})

    def minted(self, portions: Sequence[Portion]) -> None:
        """Tokens were issued for these portions of quotes."""
        self.issued.inc(sum(portion.amount for portion in portions if portion.quote.method == METHOD))

    def swapped(self, request: SwapRequest) -> None:
        """A swap was carried out."""
        self.swaps.inc(sum(proof.amount for proof in request.inputs))
