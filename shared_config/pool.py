"""config/pool.toml."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from protocols.bitcoin.descriptor import script_from_text
from protocols.bitcoin.errors import BitcoinError
from shared_config.ban import BanSettings
from shared_config.limits import MiningLimits
from shared_config.pool_side import PoolSide
from shared_config.settings import DaemonSettings, Finding, Settings, Side, needs_key
from shared_config.values import CoinbaseTag, ListenAddress


class VardiffSettings(Settings):
    """How a channel's target follows its hashrate."""

    shares_per_minute: float = Field(default=6.0, ge=0.1, le=6_000)
    """Of a channel; the difficulty follows a miner's hash rate to it."""
    floor_hashes: int = Field(default=1 << 16, ge=1, le=1 << 80)
    """The least work of a share: expected hashes."""


class AcknowledgementSettings(Settings):
    """When accepted shares are acknowledged: at so many, or so long after the commit, whichever is first."""

    shares: int = Field(default=10, ge=1, le=1_000)
    """As soon as so many durable shares wait they are acknowledged."""
    delay_ms: int = Field(default=50, ge=0, le=5_000)
    """Fewer are acknowledged after so long."""


class PoolLimits(MiningLimits):
    """Bounds on the connections of miners, and on what is remembered of them; for each process by itself."""

    channels_per_host: int = Field(default=65_536, ge=1, le=1 << 24)
    """Over all connections of a host."""
    keys_per_connection: int = Field(default=20_000, ge=1, le=1_000_000)
    """Locking keys of accepted shares that are known to be good; others are checked again."""
    remembered_difficulties: int = Field(default=16_384, ge=0, le=1_000_000)
    """Miners, by host and user, whose difficulty is remembered for when they come back."""
    resume_records: int = Field(default=65_536, ge=0, le=1 << 24)
    """Channels, and connections of such, that can be resumed; others begin anew. 512 bytes of disk each."""
    remembered_figures: int = Field(default=2_000, ge=0, le=1_000_000)
    """Miners that have gone whose figures go on when they come back; each takes up to 4 KiB."""
    disk_reserve_bytes: int = Field(default=256 << 20, ge=0, le=1 << 50)
    """Of the ledger's disk; with less free, new shares are refused until there is room again."""


class PoolSettings(DaemonSettings):
    """The pool: SV2 mining server, share ledger and issuer."""

    side: ClassVar[Side] = "pool"
    obsolete: ClassVar = {
        "authority_public_key": "the key is made in the state directory: hashpool keys show pool",
        "authority_secret_key": "no secret is kept in configuration; the key is made in the state directory",
        "pool_signature": "write coinbase_tag",
        "tp_address": "write template_provider.address in the shared file",
        "tp_authority_public_key": "write template_provider.authority_key in the shared file",
        "shares_per_minute": "write vardiff.shares_per_minute",
        "share_batch_size": "write acknowledgement.shares",
        "monitoring_address": "write health_address",
        "log_file": "logs go to stderr",
        "locking_pubkey": "the miner's key travels with the miner's work",
    }
    credentials: ClassVar = {"shared.bitcoin.rpc_password_file": "bitcoin_rpc_password"}

    listen_address: ListenAddress
    server_id: int = Field(ge=0, le=255)
    """First byte of every extranonce prefix: pools that pay to the same script differ in it."""
    processes: int = Field(default=1, ge=1, le=64)
    """Serve miners in so many processes, each with limits of its own; the kernel spreads the connections."""
    coinbase_reward_script: str | None = Field(default=None, max_length=500)
    """An address or an output descriptor."""
    coinbase_tag: CoinbaseTag = "hashpool"
    """What the coinbase says beside its height, for everybody to read."""
    users: tuple[str, ...] | None = Field(default=None, strict=False, max_length=100_000)
    """Only these user identities (what precedes the worker's name) are served; everybody when absent."""
    certificate_validity_s: int = Field(default=86_400, ge=60, le=31_536_000)
    """Lifetime of the certificate that handshakes show; it is renewed after half of it."""
    resume_s: float = Field(default=120.0, ge=0, le=3_600)
    """How long a channel that was lost can be resumed, with its work, also by a pool that was restarted."""
    vardiff: VardiffSettings = VardiffSettings()
    acknowledgement: AcknowledgementSettings = AcknowledgementSettings()
    limits: PoolLimits = PoolLimits()
    ban: BanSettings = BanSettings()

    def review(self, shared: PoolSide) -> Iterator[Finding]:
        """The reward script must be one of the network, and peers must be known by their keys."""
        if self.coinbase_reward_script is None:
            reason = "is missing: where block rewards are paid to"
            yield Finding("coinbase_reward_script", reason, "an address or descriptor of yours", wanted=True)
        else:
            yield from check_script("coinbase_reward_script", self.coinbase_reward_script, shared)
        yield from check_mint(shared)
        yield from shared.needs_node()
        provider = shared.template_provider
        if provider is None:
            reason = "is missing: where the pool takes templates from"
            yield Finding("template_provider", reason, "write [template_provider] with address", shared=True)
        elif needs_key(provider.address, provider.authority_key):
            reason = "is missing, and the template provider is not on this machine"
            hint = "hashpool keys show template_provider"
            yield Finding("template_provider.authority_key", reason, hint, wanted=True, shared=True)


def check_script(key: str, text: str, shared: PoolSide) -> Iterator[Finding]:
    """A finding when ``text`` is no address or descriptor of the shared file's network."""
    try:
        script_from_text(text, shared.network)
    except BitcoinError as error:
        yield Finding(key, f"is no address or descriptor of {shared.network}: {error}")


def check_mint(shared: PoolSide) -> Iterator[Finding]:
    """A finding when an issuer would not know its mint."""
    if shared.mint.authority_key is None:
        reason = "is missing: the pool hands credits to no mint that it does not know"
        yield Finding("mint.authority_key", reason, "hashpool keys show mint", wanted=True, shared=True)
