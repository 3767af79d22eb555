"""The table [wallet_api] of config/proxy.toml: the wallet over HTTP, for programs of this machine."""

from collections.abc import Iterator

from pydantic import Field

from shared_config.settings import Finding, Settings
from shared_config.values import IpNetwork, ListenAddress


class FaucetSettings(Settings):
    """Gifts of ehash to whoever asks, out of the proxy's wallet."""

    enabled: bool = False
    amount: int = Field(default=8, ge=1, le=1 << 40)
    """Ehash of a gift."""
    client_gifts: int = Field(default=1, ge=1, le=1_000_000)
    """Gifts that one address (the /64 of an IPv6 one) gets within a day."""
    daily_total: int = Field(default=1_000, ge=1, le=1 << 50)
    """Ehash that all get within a day; it is counted in the store, over restarts, too."""


class WalletApiSettings(Settings):
    """The wallet over HTTP: balance, history, tokens; whoever has `api.token` of the state directory may
    ask.
    """

    address: ListenAddress | None = None
    """Of this machine only; None: there is none."""
    hosts: tuple[str, ...] = Field(default=(), strict=False, max_length=20)
    """Names besides localhost by which it is asked, such as that of a reverse proxy; others are refused."""
    trusted_proxies: tuple[IpNetwork, ...] = Field(default=(), strict=False, max_length=100)
    """Reverse proxies whose X-Forwarded-For tells the faucet's clients apart."""
    requests_per_s: float = Field(default=20.0, ge=0, le=100_000)
    """Of one address; beyond, requests are answered with 429. 0 for no bound."""
    requests_at_once: int = Field(default=100, ge=0, le=1_000_000)
    """Of one address that has been silent for long."""
    request_s: float = Field(default=60.0, ge=1, le=3_600)
    """How long a request may take: a token takes an answer of the mint."""
    faucet: FaucetSettings = FaucetSettings()

    def review(self) -> Iterator[Finding]:
        """It gives money away to whoever has its secret, without encryption."""
        if self.address is not None and not self.address.is_loopback:
            yield Finding(
                "wallet_api.address",
                "must be an address of this machine only: it has no encryption",
                "127.0.0.1:8083, and a reverse proxy before it where others are to ask",
            )
        if self.faucet.amount > self.faucet.daily_total:
            yield Finding("wallet_api.faucet.daily_total", "is less than a single gift")
