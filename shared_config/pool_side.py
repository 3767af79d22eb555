"""config/shared/pool.toml: what the daemons of the pool side agree on."""

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from protocols.bitcoin.networks import Network
from protocols.ehash.shift import SHIFTS_PER_BLOCK, ShiftRule
from shared_config.settings import Finding, Settings, SharedSettings, Side
from shared_config.values import AuthorityKey, FilePath, HttpUrl, NetworkName, PeerAddress

_SAY_FILE = "name a file of mode 0600 that holds it in rpc_password_file"


class BitcoinSettings(Settings):
    """The node: bitcoind or regtest_node; by cookie, or by user and password."""

    obsolete: ClassVar = {"rpc_password": _SAY_FILE, "rpcpassword": _SAY_FILE, "rpcuser": "write rpc_user"}

    rpc_url: HttpUrl
    """The node's JSON-RPC."""
    rpc_cookie_file: FilePath | None = None
    """What the node writes at its start; a relative path is in the state directory."""
    rpc_user: str | None = Field(default=None, min_length=1, max_length=100)
    """Instead of the cookie, with `rpc_password_file`."""
    rpc_password_file: FilePath | None = None
    """A file of mode 0600, or the systemd credential bitcoin_rpc_password."""
    rpc_timeout_s: float = Field(default=15.0, ge=0.1, le=600)
    """How long an answer may take; long polls and blocks are given more."""


class EhashSettings(Settings):
    """What ehash is worth, and whether work without a key is served."""

    obsolete: ClassVar = {"minimum_share_difficulty_bits": "write minimum_difficulty"}

    minimum_difficulty: int = Field(ge=0, le=63)
    """Bits: one ehash is 2^minimum_difficulty hashes."""
    valuation: Literal["target", "achieved"] = "target"
    """A share is worth the work of its target, or what its hash achieved, which is a lottery."""
    keyless: Literal["accept", "refuse"] = "accept"
    """Whether channels that name no locking key are served; their shares earn nobody anything."""


class RegtestSettings(Settings):
    """Stands for the network difficulty, where every second hash would be a block."""

    block_difficulty: int = Field(ge=1, le=1 << 64)
    """Expected hashes of a block."""
    shifts_per_block: int = Field(default=SHIFTS_PER_BLOCK, ge=1, le=1 << 20)
    """A shift is full when its work has reached this part of a block's; elsewhere it is always the tenth."""


class MintPeerSettings(Settings):
    """Where the mint is, for wallets and for issuers."""

    url: HttpUrl
    """As wallets reach it."""
    issuance_address: PeerAddress
    """As issuers reach it."""
    authority_key: AuthorityKey | None = None
    """By which issuers know it; none hands credits to a mint without."""


class TemplateProviderPeerSettings(Settings):
    """Where templates come from."""

    address: PeerAddress
    authority_key: AuthorityKey | None = None
    """By which the pool knows it; it may be left out on one machine."""


class PoolSide(SharedSettings):
    """The shared file of the pool side."""

    side: ClassVar[Side] = "pool"
    obsolete: ClassVar = {
        "sv2_messaging": "the mint's issuance link is mint.issuance_address",
        "locking": "the miner's key travels with the miner's work; the pool side has none",
        "validation": "write ehash.minimum_difficulty, and vardiff.floor_hashes in pool.toml",
        "proxy": "services of miners are not known here",
    }

    network: NetworkName
    bitcoin: BitcoinSettings | None = None
    """Of those that speak to a node; sv1_proxy and the mint do not."""
    ehash: EhashSettings
    regtest: RegtestSettings | None = None
    mint: MintPeerSettings
    template_provider: TemplateProviderPeerSettings | None = None
    """Of the pool."""

    @property
    def node(self) -> BitcoinSettings:
        """The node, of a daemon that `needs_node`."""
        assert self.bitcoin is not None
        return self.bitcoin

    @property
    def templates(self) -> TemplateProviderPeerSettings:
        """Where templates come from, of the pool, which has looked for it."""
        assert self.template_provider is not None
        return self.template_provider

    def needs_node(self) -> Iterator[Finding]:
        """A finding where a daemon would have no node to speak to."""
        if self.bitcoin is None:
            yield Finding(
                "bitcoin", "is missing: the node to speak to", "write [bitcoin] with rpc_url", shared=True
            )

    @property
    def shift_rule(self) -> ShiftRule:
        """How much work fills a shift."""
        return (
            ShiftRule()
            if self.regtest is None
            else ShiftRule(self.regtest.block_difficulty, self.regtest.shifts_per_block)
        )

    def review(self) -> Iterator[Finding]:
        """The node's credentials are one kind, and only regtest has its own block difficulty."""
        if self.bitcoin is not None:
            yield from _review_login(self.bitcoin)
        if self.network is Network.REGTEST and self.regtest is None:
            yield Finding(
                "regtest.block_difficulty",
                "is missing: on regtest every second hash would be a block",
                "for example 1048576",
                shared=True,
            )
        if self.network is not Network.REGTEST and self.regtest is not None:
            yield Finding("regtest", f"has no place on {self.network}", shared=True)
        if self.network is Network.MAIN and self.ehash.valuation == "achieved":
            reason = "pays by luck; main network pools pay by the target"
            yield Finding("ehash.valuation", reason, shared=True)


def _review_login(bitcoin: BitcoinSettings) -> Iterator[Finding]:
    if (bitcoin.rpc_user is None) != (bitcoin.rpc_password_file is None):
        yield Finding("bitcoin.rpc_user", "rpc_user and rpc_password_file go together", shared=True)
    elif (bitcoin.rpc_cookie_file is None) == (bitcoin.rpc_user is None):
        reason = "needs either rpc_cookie_file or rpc_user with rpc_password_file"
        yield Finding("bitcoin", reason, shared=True)
