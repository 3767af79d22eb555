"""The table [bolt11] of config/mint.toml: sats in and out over Lightning."""

from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field

from protocols.bitcoin.networks import Network
from shared_config.address import Address
from shared_config.settings import Finding, Settings
from shared_config.values import FilePath, HttpUrl

AMOUNT_LIMIT = (1 << 53) - 1


class FakeLightning(Settings):
    """A Lightning node that is none: its invoices look real and pay themselves, and no money moves."""

    currency: Literal["bc", "tbs", "tb", "bcrt"] = "bc"
    """Of its invoices. Wallets and their tests expect the main network's."""
    self_paying: bool = True
    """Whether invoices are paid without anybody doing it."""
    pays_after_s: float = Field(default=1.0, ge=0, le=86_400)
    """When an invoice pays itself."""
    pays_when_asked: bool = True
    """Whether it does so before that when a wallet looks at its quote."""
    pay_s: float = Field(default=0.0, ge=0, le=86_400)
    """How long a payment to others takes."""
    fee_msat: int = Field(default=1_000, ge=0, le=1_000_000_000)
    """What such a payment costs, if the wallet's reserve suffices."""
    fee_ppm: int = Field(default=0, ge=0, le=1_000_000)
    """What it costs besides, in millionths of its amount."""


class LndLightning(Settings):
    """An lnd, by its REST API."""

    url: HttpUrl | None = None
    """Such as https://127.0.0.1:8080."""
    macaroon_file: FilePath | None = None
    """What lets the mint in, as lnd writes it; nobody else may read the file."""
    certificate_file: FilePath | None = None
    """lnd's tls.cert, which alone is believed then; without it, what known authorities have signed."""
    route_hints: bool = False
    """Whether invoices name the node's private channels, for a node that has no others."""

    def review(self) -> Iterator[Finding]:
        """Money goes there, so it must be known where that is."""
        if self.url is None:
            yield Finding("bolt11.lnd.url", "is missing: where lnd serves REST", "https://127.0.0.1:8080")
        elif urlsplit(self.url).scheme != "https":
            reason = "must begin with https: the macaroon would be read on the way"
            yield Finding("bolt11.lnd.url", reason, "https://127.0.0.1:8080")
        if self.macaroon_file is None:
            reason = "is missing: the file that lets the mint in"
            yield Finding("bolt11.lnd.macaroon_file", reason, "docs/bolt11.md tells how lncli bakes one")


class Bolt11Settings(Settings):
    """Sats in and out over Lightning."""

    backend: Literal["off", "fake", "lnd"]
    """The Lightning node; without one the mint has ehash only."""
    input_fee_ppk: int = Field(default=0, ge=0, le=100_000)
    """What a sat token costs that is spent, in thousandths of a sat; another number makes another keyset."""
    min_amount: int = Field(default=1, ge=1, le=AMOUNT_LIMIT)
    """Sats of a mint or melt quote, at least."""
    max_amount: int = Field(default=100_000_000, ge=1, le=AMOUNT_LIMIT)
    """Sats of a mint or melt quote, at most."""
    minting: bool = True
    """Whether new mint quotes are made."""
    melting: bool = True
    """Whether new melt quotes are made."""
    invoice_s: int = Field(default=3_600, ge=30, le=2_592_000)
    """How long an invoice of the mint can be paid."""
    melt_quote_s: int = Field(default=900, ge=30, le=2_592_000)
    """How long a melt quote holds."""
    forget_s: int = Field(default=172_800, ge=3_600, le=31_536_000)
    """When a mint or melt quote that has expired unpaid is deleted."""
    open_quotes: int = Field(default=100_000, ge=1, le=100_000_000)
    """Mint quotes that nobody has paid yet; beyond, none is made until some expire."""
    fee_reserve_ppm: int = Field(default=10_000, ge=0, le=1_000_000)
    """What a melt sets aside for the routing fee, in millionths of its amount; the rest comes back."""
    fee_reserve_min: int = Field(default=2, ge=0, le=1_000_000)
    """The least of that, in sats."""
    call_s: float = Field(default=10.0, ge=0.1, le=300)
    """How long the Lightning node may take to answer."""
    pay_s: float = Field(default=60.0, ge=0.1, le=3_600)
    """How long it may take to pay, before the payment counts as pending and is asked about."""
    count_after_s: float = Field(default=0.25, ge=0, le=60)
    """How long a payment that a wallet was told of may wait to be counted with its minting; 0 counts it
    first.
    """
    watch_s: float = Field(default=5.0, ge=0.05, le=300)
    """How often the Lightning node is asked whether it is there."""
    respond_s: float = Field(default=10.0, ge=0, le=300)
    """How long a wallet's request to melt waits for its payment before it is told that it is pending."""
    fake: FakeLightning = FakeLightning()
    lnd: LndLightning = LndLightning()

    def review(self, http_address: Address, network: Network) -> Iterator[Finding]:
        """The fake is for one machine's tests."""
        if self.min_amount > self.max_amount:
            yield Finding("bolt11.min_amount", "is more than max_amount")
        if self.backend == "lnd":
            yield from self.lnd.review()
        if self.backend == "fake":
            if network is Network.MAIN:
                yield Finding("bolt11.backend", "fake has no place on main: it gives tokens away")
            if not http_address.is_loopback:
                reason = "fake gives tokens away, so http_address must be one of this machine only"
                yield Finding("bolt11.backend", reason, 'backend = "off"')
