"""SV1 pools as upstreams: where they are, who we are there, and when another one is turned to."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from shared_config.settings import Finding, Settings
from shared_config.sv1_server import Sv1ServerSettings
from shared_config.values import FilePath, PeerAddress, SecondsOrForever

_SCHEMES = {
    "stratum+tcp": False,
    "tcp": False,
    "stratum+ssl": True,
    "stratum+tls": True,
    "ssl": True,
    "tls": True,
}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class Sv1PoolSettings(Settings):
    """An SV1 pool."""

    address: PeerAddress
    """Host and port; as a URL, `stratum+ssl://` says that TLS is spoken there, `stratum+tcp://` that not."""
    name: str = Field(default="", max_length=64)
    """For people and metrics; the address if it is empty."""
    user: str | None = Field(default=None, min_length=1, max_length=255)
    """Our account there."""
    password: str = Field(default="x", max_length=255)
    """What the pool wants to hear; never a secret worth keeping, as it goes over the wire."""
    tls: bool = False
    """Speak TLS, and insist on a certificate that is good for the host."""
    tls_ca_file: FilePath | None = None
    """Who may vouch for the certificate instead of those whom the system trusts; PEM."""
    tls_fingerprint: str | None = None
    """SHA-256 of the one certificate that is accepted, 64 hex digits, whoever vouches for it."""

    @model_validator(mode="before")
    @classmethod
    def _read_url(cls, table: Any) -> Any:
        """Take a URL apart, as pools write theirs."""
        text = table.get("address") if isinstance(table, dict) else None
        if not isinstance(text, str) or "://" not in text:
            return table
        scheme, _, address = text.partition("://")
        tls = _SCHEMES.get(scheme.lower())
        if tls is None:
            raise ValueError(
                "the address must be host:port, stratum+tcp://host:port or stratum+ssl://host:port"
            )
        if "@" in address:
            raise ValueError("the address must not have a user; write user and password")
        if table.get("tls", tls) is not tls:
            raise ValueError(f"the address says {scheme}://, and tls something else")
        return {**table, "address": address.rstrip("/"), "tls": tls}

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or str(self.address)

    def review(self, here: str) -> Iterator[Finding]:
        """TLS is told of only where it is spoken."""
        if not self.label.isprintable():
            yield Finding(f"{here}.name", "must be printable")
        if not self.tls and (self.tls_ca_file is not None or self.tls_fingerprint is not None):
            yield Finding(f"{here}.tls", "is off, and how to check a certificate is told", "write tls = true")
        if self.tls_fingerprint is not None:
            if self.tls_ca_file is not None:
                yield Finding(f"{here}.tls_fingerprint", "and tls_ca_file exclude each other")
            if not _FINGERPRINT.fullmatch(self.tls_fingerprint.replace(":", "").lower()):
                yield Finding(f"{here}.tls_fingerprint", "must be 64 hex digits")


class SliceSettings(Settings):
    """How the extranonce2 of a pool is shared out: the bytes that tell miners apart, the rest they roll."""

    twelve_and_more: Literal[2, 3, 4] = 4
    """Of an extranonce2 of 12 bytes or more, of which miners roll 8."""
    eight_to_eleven: Literal[2, 3, 4] = 4
    """Miners roll 4; with 4 bytes there are 2^32 miners on a connection, with 2 there are 65,536."""
    four_to_seven: Literal[1, 2] = 2
    """Miners roll 4 of 6 and 7 bytes, 2 of 4 and 5, which some hardware refuses."""


class UpstreamTimes(Settings):
    """How long we wait for pools, in seconds."""

    connect_s: float = Field(default=10.0, ge=0.1, le=120)
    """How long a pool may take to be connected with."""
    setup_s: float = Field(default=15.0, ge=0.5, le=120)
    """From the connection to the first work."""
    head_start_s: float = Field(default=3.0, ge=0, le=120)
    """How much later the next pool is tried while one does not answer."""
    stall_s: float = Field(default=90.0, ge=0.1, le=3_600)
    """A pool that says nothing for so long is asked, and left after as long again."""
    work_s: float = Field(default=600.0, ge=1, le=86_400)
    """One that gives no new work for so long is left."""
    answer_s: float = Field(default=60.0, ge=0.1, le=3_600)
    """A share that a pool has not answered for so long is given up; where there is another pool, one that
    has answered none meanwhile is left.
    """
    resume_s: float = Field(default=120.0, ge=0, le=3_600)
    """How long after a loss the pool is asked to let us go on with the session."""
    failback_s: SecondsOrForever = 120.0
    """How long a better pool has to be back until it is mined at again; None: not while another one lasts."""
    check_s: float = Field(default=15.0, ge=0.01, le=3_600)
    """How often it is looked at meanwhile."""
    farewell_s: float = Field(default=5.0, ge=0, le=60)
    """How long a pool that is left for a better one may still answer shares."""


class UpstreamLimits(Settings):
    """Bounds on what a pool can make grow."""

    line_bytes: int = Field(default=65_536, ge=4_096, le=1 << 24)
    """A pool that sends a longer line is left."""
    lines_per_s: int = Field(default=5_000, ge=10, le=1_000_000)
    """Over ten seconds; beyond, the pool is not read from for a while. Each verdict is a line."""
    connections: int = Field(default=64, ge=1, le=10_000)
    """To the pool in use: further ones are opened when the extranonces of those there are are used up."""
    seats_per_connection: int = Field(default=1_000_000, ge=1, le=1 << 32)
    """Beyond, a further connection is opened, however many extranonces are left."""
    names: int = Field(default=10_000, ge=1, le=1_000_000)
    """Of miners, that are authorized on one connection."""
    open_submits: int = Field(default=10_000, ge=1, le=1_000_000)
    """Shares of one connection that wait for their verdict; of more nobody knows what becomes."""
    jobs: int = Field(default=256, ge=1, le=65_536)
    """Of one tip that are remembered, so that shares for them can be sent."""
    notifies_per_s: float = Field(default=2.0, gt=0, le=1_000)
    """Jobs that are passed on to miners, after eight at once; of more the newest is."""
    redirects: int = Field(default=3, ge=0, le=100)
    """In a row that are followed, within the pool's domain only."""


class Sv1ProxySettings(Sv1ServerSettings):
    """What both instances of sv1_proxy have."""

    pools: tuple[Sv1PoolSettings, ...] = Field(default=(), strict=False, max_length=16)
    """In order of preference: each is turned to while those before it are away."""
    suggest_difficulty: float | None = Field(default=None, gt=0, le=1e15)
    """What pools are asked for, in SV1's difficulty; they need not follow."""
    gather_ms: float = Field(default=20.0, ge=0, le=1_000)
    """How long a share waits for others, to be stored with and to go to the pool with: one commit and one
    write for several cost less. A block goes at once.
    """
    slices: SliceSettings = SliceSettings()
    upstream: UpstreamTimes = UpstreamTimes()
    upstream_limits: UpstreamLimits = UpstreamLimits()

    def review(self, shared: Any) -> Iterator[Finding]:
        """There is a pool to mine at, and none stands there twice."""
        yield from super().review(shared)
        if not self.pools:
            yield Finding("pools", "is missing: there is no pool to mine at", "write [[pools]]", wanted=True)
        labels: dict[str, str] = {}
        addresses: dict[tuple[str, str | None], str] = {}
        for place, pool in enumerate(self.pools):
            here = f"pools.{place}"
            yield from pool.review(here)
            if other := addresses.get((str(pool.address), pool.user)):
                yield Finding(f"{here}.address", f"is also that of {other}, with the same user")
            elif other := labels.get(pool.label):
                yield Finding(f"{here}.name", f"is also that of {other}")
            labels.setdefault(pool.label, here)
            addresses.setdefault((str(pool.address), pool.user), here)
