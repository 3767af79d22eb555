"""config/solo_pool.toml."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from shared_config.ban import BanSettings
from shared_config.pool import check_script
from shared_config.pool_side import PoolSide
from shared_config.settings import DaemonSettings, Finding, Side
from shared_config.sv1_listener import FirmwareClass, LineLimits
from shared_config.values import CoinbaseTag, ListenAddress, PeerAddress, SecondsOrForever


class SoloPoolSettings(DaemonSettings):
    """The solo pool: SV1 miners on a node of one's own, whose blocks pay whoever found them."""

    side: ClassVar[Side] = "pool"
    obsolete: ClassVar = {
        "btcaddress": "write reward_script",
        "btcsig": "write coinbase_tag",
        "mindiff": "write start_difficulty",
        "startdiff": "write start_difficulty",
        "serverurl": "write listen_address",
    }
    credentials: ClassVar = {"shared.bitcoin.rpc_password_file": "bitcoin_rpc_password"}

    listen_address: ListenAddress
    reward_script: str | None = Field(default=None, max_length=500)
    """An address or an output descriptor, for miners whose user name begins with no address of their own;
    without it such miners are turned away.
    """
    coinbase_tag: CoinbaseTag = "hashpool solo"
    """What the coinbase says beside its height, for everybody to read."""
    extranonce2_size: Literal[4, 8] = 8
    """Bytes that miners roll."""
    firmware: FirmwareClass | None = None
    """What every miner is taken for; without it, the name that it gives tells."""
    start_difficulty: float | None = Field(default=None, gt=0, le=1e15)
    """In SV1's difficulty: what every miner starts from; without it, each class of firmware from its own."""
    shares_per_minute: float = Field(default=6.0, ge=0.1, le=600)
    """What a miner shows of its work; only a block earns anything."""
    verdict_s: float = Field(default=5.0, ge=0.1, le=60)
    """How long the node's verdict on a block is waited for before its miner is answered."""
    keepalive_s: float = Field(default=45.0, ge=10, le=60)
    """After so long without other work a miner gets the present one anew; some leave after 90 s."""
    node_away_s: SecondsOrForever = 300.0
    """How long miners are kept while the node is away; their blocks wait for it. "forever" keeps them."""
    fee_check_s: float = Field(default=10.0, ge=0.5, le=600)
    """How often the same tip's template is looked at for better fees."""
    fee_gain_sat: int = Field(default=10_000, ge=0, le=100_000_000)
    """A template that pays so much more is worked on before the tip changes."""
    zmq_block_address: PeerAddress | None = None
    """bitcoind's zmqpubhashblock, needs the zmq extra; the long poll works without."""
    limits: LineLimits = LineLimits()
    ban: BanSettings = BanSettings()

    def review(self, shared: PoolSide) -> Iterator[Finding]:
        """There is a node, and the reward script is one of its network."""
        yield from shared.needs_node()
        if self.reward_script is not None:
            yield from check_script("reward_script", self.reward_script, shared)
        if self.limits.cost.hard_s <= self.limits.cost.soft_s:
            yield Finding("limits.cost.hard_s", "must be more than soft_s, where miners are slowed first")
