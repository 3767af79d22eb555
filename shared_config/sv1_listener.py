"""How SV1 miners are let in, the same for every daemon that serves them."""

from typing import Literal

from pydantic import Field

from shared_config.limits import ConnectionLimits
from shared_config.settings import Settings
from shared_config.values import FilePath, ListenAddress


class CostSettings(Settings):
    """What a connection costs in seconds of our patience; each second forgives one.

    A request costs 1 / `shares_per_s`.
    """

    soft_s: float = Field(default=10.0, ge=1, le=3_600)
    """Beyond it a connection is not read from for a while."""
    hard_s: float = Field(default=100.0, ge=2, le=86_400)
    """Beyond it a connection is cut; only what is wrong leads there."""
    bad_line_s: float = Field(default=5.0, ge=0, le=3_600)
    """A line that is no message."""
    refused_s: float = Field(default=1.0, ge=0, le=3_600)
    """A request that is refused, such as a name that may not mine."""
    bad_share_s: float = Field(default=0.1, ge=0, le=3_600)
    """A share that we refuse ourselves, unless for its job."""


class LineLimits(ConnectionLimits):
    """Bounds on SV1 connections."""

    line_bytes: int = Field(default=8_192, ge=1_024, le=1 << 20)
    """A longer line is passed over and answered with an error."""
    shares_per_s: int = Field(default=100, ge=1, le=1_000_000)
    """And other requests of one connection, over ten seconds; beyond, it is not read from for a while."""
    cost: CostSettings = CostSettings()
    workers: int = Field(default=64, ge=1, le=100_000)
    """Names on one connection."""
    open_submits: int = Field(default=1_000, ge=1, le=100_000)
    """Shares of one connection that wait for their verdict."""
    authorize_s: float = Field(default=60.0, ge=1, le=3_600)
    """From the connection to the first name that is let in."""
    metric_names: int = Field(default=100, ge=0, le=10_000)
    """Workers that have metrics by name, those with most work; the others are one, with 0 none is told of."""
    remembered_figures: int = Field(default=2_000, ge=0, le=1_000_000)
    """Miners that have gone whose figures go on when they come back; each takes up to 4 KiB."""
    idle_s: float = Field(default=600.0, ge=10, le=86_400)
    """A miner that sends nothing for so long is cut off."""
    line_s: float = Field(default=20.0, ge=0.1, le=600)
    """A miner that takes so long over one line is cut off."""
    bad_shares_s: float = Field(default=180.0, ge=3, le=86_400)
    """A miner that finds nothing but bad shares for a third of it is given its work anew, and cut off after
    all of it, so that it begins anew. What the pool refuses does not count.
    """
    parked_sessions: int = Field(default=1_000, ge=0, le=100_000)
    """Of miners whose sockets have gone; beyond, the oldest is forgotten. Those that have shown no work share
    an eighth of that, apart from the others.
    """


FirmwareClass = Literal[
    "bitaxe",
    "bitaxe-old",
    "nerdminer",
    "cpu",
    "antminer",
    "antminer-s21",
    "asic",
    "nicehash",
    "rental",
    "other",
]
"""Classes of miners that differ in where they start and what they can bear."""


class TlsSettings(Settings):
    """For miners that speak TLS: the operator's files, in PEM; read again on SIGHUP."""

    certificate: FilePath
    """The certificate, and behind it those that vouch for it."""
    key: FilePath
    """Its private key, without a password, and not for everybody to read."""


class PortSettings(Settings):
    """A further port for SV1 miners, such as one for rented hash rate."""

    listen_address: ListenAddress
    firmware: FirmwareClass | None = None
    """What every miner of this port is taken for; without it, the name that it gives tells."""
    tls: bool | None = None
    """Whether miners of this port must speak TLS, or must not; without it they may, where [tls] is set."""
