"""config/mint.toml."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from shared_config.bolt11 import Bolt11Settings
from shared_config.limits import ConnectionLimits
from shared_config.mint_store import StoreSettings
from shared_config.pool import check_script
from shared_config.pool_side import PoolSide
from shared_config.settings import DaemonSettings, Finding, Settings, Side
from shared_config.sockets import SocketLimits
from shared_config.values import HttpUrl, IpNetwork, ListenAddress, PublicKey


class ContactSettings(Settings):
    """A way to reach the operator, as wallets show it."""

    method: str = Field(min_length=1, max_length=50)
    """Such as email, nostr or twitter."""
    info: str = Field(min_length=1, max_length=500)


class InfoSettings(Settings):
    """What /v1/info tells people; what is not set is left out."""

    name: str = Field(default="hashpool mint", min_length=1, max_length=100)
    description: str = Field(default="ehash for mining shares", max_length=500)
    description_long: str | None = Field(default=None, max_length=5_000)
    """For whoever wants to know more."""
    contact_email: str | None = Field(default=None, max_length=200)
    """One way to reach the operator; `contact` has any."""
    contact: tuple[ContactSettings, ...] = Field(default=(), strict=False, max_length=20)
    motd: str | None = Field(default=None, max_length=1_000)
    """News that wallets show their owners."""
    icon_url: HttpUrl | None = None
    """A picture that wallets show beside the name."""
    tos_url: HttpUrl | None = None
    """The terms of service."""
    urls: tuple[HttpUrl, ...] = Field(default=(), strict=False, max_length=20)
    """Where the mint is besides mint.url, such as an onion address."""


class HttpLimits(Settings):
    """Bounds on the HTTP API."""

    connections: int = Field(default=2_000, ge=1, le=1_000_000)
    """Further ones are closed at once."""
    body_bytes: int = Field(default=1 << 20, ge=1 << 12, le=1 << 26)
    """Larger requests are answered with 413."""
    request_s: float = Field(default=15.0, ge=0.1, le=300)
    """What takes longer is answered with 503."""
    outputs: int = Field(default=1_000, ge=1, le=10_000)
    """Blinded messages, proofs or look-ups of one request."""
    quotes: int = Field(default=100, ge=1, le=1_000)
    """Quotes of one batch."""
    requests_per_s: float = Field(default=100.0, ge=0, le=1_000_000)
    """Of one address (the /64 of an IPv6 one); beyond, requests are answered with 429. 0 for no bound, also
    on the kinds below.
    """
    requests_at_once: int = Field(default=2_000, ge=0, le=10_000_000)
    """Of one address that has been silent for long: a wallet that restores asks in a burst."""
    quotes_per_s: float = Field(default=50.0, ge=0, le=1_000_000)
    """As requests_per_s, of those that make quotes, look at them or look for them."""
    quotes_at_once: int = Field(default=1_000, ge=0, le=10_000_000)
    exchanges_per_s: float = Field(default=50.0, ge=0, le=1_000_000)
    """As requests_per_s, of those that mint, swap or melt."""
    exchanges_at_once: int = Field(default=1_000, ge=0, le=10_000_000)
    checks_per_s: float = Field(default=50.0, ge=0, le=1_000_000)
    """As requests_per_s, of those that check the state of proofs or restore signatures."""
    checks_at_once: int = Field(default=2_000, ge=0, le=10_000_000)
    trusted_proxies: tuple[IpNetwork, ...] = Field(default=(), strict=False, max_length=100)
    """Reverse proxies, as addresses or networks, whose X-Forwarded-For is believed; nobody else's is."""


class WatchdogSettings(Settings):
    """How the ledger's counters are compared with its rows."""

    every_s: float = Field(default=10.0, ge=0, le=86_400)
    """Between two checks of what is new. 0 turns the watchdog off."""
    recount_h: float = Field(default=24.0, ge=0, le=8_760)
    """Between two counts of all rows. 0 for one at each start alone."""
    duty: float = Field(default=0.05, ge=0.001, le=1)
    """The part of the time in which rows are read while a count is under way."""


class IssuerSettings(Settings):
    """A pool whose credits become quotes here."""

    identity: PublicKey | None = None
    """Its key, 33 bytes as hex, as `hashpool keys show` tells it."""
    reward_script: str | None = Field(default=None, max_length=500)
    """Where its block rewards go: an address or an output descriptor."""
    reward: Literal["payments"] | None = None
    """Instead of a script: an upstream pays by Lightning or on-chain."""
    work_per_minute: int | None = Field(default=None, ge=1, le=1 << 90)
    """Most credited work, in expected hashes, over the rows' own time."""
    shifts_per_day: int = Field(default=5_000, ge=1, le=1_000_000)
    """Shifts that it may open within 24 hours: each is a unit with a keyset, kept for ever. A pool that is
    all of the network opens some 1,500.
    """


class MintSettings(DaemonSettings):
    """The mint: Cashu over HTTP, and the issuance link."""

    side: ClassVar[Side] = "pool"
    obsolete: ClassVar = {
        "mnemonic": "no secret is kept in configuration; the seed is made in the state directory",
        "mint_info": "write [info] name and description",
        "database": "write [store] engine",
        "ln": "write [bolt11] backend",
        "hashpool_mint": "the store is mint.sqlite in the state directory",
    }

    http_address: ListenAddress
    issuance_address: ListenAddress
    share_lookup: Literal["signed", "public"] = "signed"
    """Quotes are found by share hash by whoever signs with their key, or by everybody."""
    certificate_validity_s: int = Field(default=86_400, ge=60, le=31_536_000)
    """Lifetime of the certificate that handshakes show; it is renewed after half of it."""
    info: InfoSettings = InfoSettings()
    http: HttpLimits = HttpLimits()
    watchdog: WatchdogSettings = WatchdogSettings()
    metric_keysets: int = Field(default=32, ge=0, le=1_000)
    """The newest keysets have metrics of their own; those of all others are summed."""
    sockets: SocketLimits = SocketLimits()
    limits: ConnectionLimits = ConnectionLimits(connections=64, connections_per_host=64)
    credits_window: int = Field(default=16, ge=1, le=1_000)
    """Credits frames that an issuer may have unanswered."""
    compact_after_s: int = Field(default=2_592_000, ge=0, le=1 << 40)
    """How long after the end of a shift its quotes shrink that have nothing left to mint; never for 0."""
    end_after_s: int = Field(default=34_560_000, ge=0, le=1 << 40)
    """How long after the end of a shift, in the time of its issuer's shares, its compacted quotes are
    forgotten: shares that come again are bad work then. Never for 0.
    """
    end_after_shifts: int = Field(default=80, ge=1, le=1_000_000)
    """So many later shifts of the issuer must there be besides; a reward reaches back over 40 full ones."""
    derived_keysets: int = Field(default=256, ge=1, le=100_000)
    """Keysets whose keys are kept in memory, 21 KiB each; those of others are derived when they are used."""
    bolt11: Bolt11Settings = Bolt11Settings(backend="off")
    store: StoreSettings = StoreSettings()
    issuers: tuple[IssuerSettings, ...] = Field(default=(), strict=False, max_length=1_000)

    def review(self, shared: PoolSide) -> Iterator[Finding]:
        """Every issuer has a key of its own and exactly one way to be paid."""
        yield from self.store.examine()
        if 0 < self.end_after_s < self.compact_after_s:
            yield Finding(
                "end_after_s", "must not be less than compact_after_s", "quotes shrink before they go"
            )
        yield from self.bolt11.review(self.http_address, shared.network)
        if self.bolt11.backend != "off" and self.bolt11.respond_s >= self.http.request_s:
            yield Finding("bolt11.respond_s", "must be less than http.request_s, which ends all requests")
        seen: set[bytes] = set()
        for index, issuer in enumerate(self.issuers):
            key = f"issuers.{index}"
            if issuer.identity is None:
                reason = "is missing: the key of the pool whose work is credited here"
                yield Finding(f"{key}.identity", reason, "hashpool keys show pool", wanted=True)
            elif issuer.identity in seen:
                yield Finding(f"{key}.identity", "is listed twice")
            else:
                seen.add(issuer.identity)
            if issuer.reward_script is not None and issuer.reward is not None:
                yield Finding(f"{key}.reward", "reward and reward_script exclude each other")
            elif issuer.reward_script is not None:
                yield from check_script(f"{key}.reward_script", issuer.reward_script, shared)
            elif issuer.reward is None:
                reason = 'is missing: where the issuer\'s block rewards go, or reward = "payments"'
                yield Finding(f"{key}.reward_script", reason, wanted=True)
        if not self.issuers:
            yield Finding("issuers", "is missing: no pool could issue here", "[[issuers]]", wanted=True)
