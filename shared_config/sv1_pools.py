"""SV1 pools as upstreams: which there are, who we are there, and bounds on what they may cost us."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from shared_config.address import Address
from shared_config.settings import Finding, Settings
from shared_config.values import FilePath, SecondsOrForever, peer_address

_SCHEMES = {
    "stratum+tcp": False,
    "tcp": False,
    "stratum+ssl": True,
    "stratum+tls": True,
    "ssl": True,
    "tls": True,
}
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StratumUrl:
    """Where an SV1 pool is, and whether it is spoken to by TLS."""

    address: Address
    tls: bool

    def __str__(self) -> str:
        return f"stratum+{'ssl' if self.tls else 'tcp'}://{self.address}"


def _url(value: Any) -> StratumUrl:
    if isinstance(value, StratumUrl):
        return value
    text = value if isinstance(value, str) else ""
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "tcp", text
    if scheme.lower() not in _SCHEMES:
        raise ValueError("must begin with stratum+tcp:// or stratum+ssl://")
    if "@" in rest:
        raise ValueError("user and password do not belong into the URL; write user and password")
    return StratumUrl(peer_address(rest.rstrip("/")), _SCHEMES[scheme.lower()])


def _fingerprint(value: Any) -> str:
    digits = value.replace(":", "").lower() if isinstance(value, str) else ""
    if not _FINGERPRINT.fullmatch(digits):
        raise ValueError("must be the SHA-256 of the pool's certificate: 64 hex digits")
    return digits


class Sv1PoolSettings(Settings):
    """A pool that speaks SV1."""

    url: Annotated[StratumUrl, BeforeValidator(_url)]
    """`stratum+tcp://host:port`, with TLS `stratum+ssl://host:port`; without a scheme it is the former."""
    user: str = Field(default="", max_length=255)
    """Our account there, or the address that it pays."""
    password: str = Field(default="x", max_length=255)
    """Most pools ignore it, or read settings from it; it is no secret."""
    name: str = Field(default="", max_length=64)
    """For people and metrics; host and port if it is empty."""
    suggest_difficulty: float | None = Field(default=None, gt=0, le=1e15)
    """What the pool is asked to begin with."""
    certificate_authority: FilePath | None = None
    """With TLS: a PEM file with those who may vouch for the pool, instead of the system's."""
    certificate_fingerprint: Annotated[str, BeforeValidator(_fingerprint)] | None = None
    """With TLS: the SHA-256 of the one certificate that the pool may show, whoever vouches for it."""

    @property
    def label(self) -> str:
        """What it is called."""
        return self.name or str(self.url.address)


class Sv1UpstreamLimits(Settings):
    """How pools are waited for, and bounds on what one may make grow."""

    connect_s: float = Field(default=10.0, ge=0.1, le=120)
    setup_s: float = Field(default=15.0, ge=0.1, le=120)
    """From the connection to the first work."""
    head_start_s: float = Field(default=3.0, ge=0, le=120)
    """How much later the next pool is tried while one does not answer."""
    failback_s: SecondsOrForever = 120.0
    """How long a better pool has to be back before it is used again; "forever" never does."""
    check_s: float = Field(default=15.0, ge=0.01, le=3_600)
    """How often it is looked at meanwhile."""
    stall_s: float = Field(default=90.0, ge=0.1, le=3_600)
    """A pool that says nothing for so long is asked, and left after as long again."""
    work_s: float = Field(default=600.0, ge=1, le=86_400)
    """One that gives no new work for so long is left."""
    answer_s: float = Field(default=120.0, ge=0.1, le=3_600)
    """A share that a pool has not answered for so long is given up."""
    resume_s: float = Field(default=120.0, ge=0, le=3_600)
    """How long after a loss the pool is asked to let us go on with the session."""
    farewell_s: float = Field(default=5.0, ge=0, le=60)
    """How long a pool that is left for a better one may still answer shares."""
    connections: int = Field(default=16, ge=1, le=1_024)
    """To one pool at once: a further one is opened when the extranonce of those before is used up."""
    miners_per_connection: int = Field(default=65_536, ge=1, le=1_000_000)
    names: int = Field(default=10_000, ge=1, le=1_000_000)
    """Workers that one connection has let in by the pool."""
    open_submits: int = Field(default=10_000, ge=1, le=1_000_000)
    """Shares of one connection that wait for the pool's verdict; further ones are not sent."""
    line_bytes: int = Field(default=65_536, ge=4_096, le=1 << 24)
    """A pool that sends a longer line is left."""
    jobs: int = Field(default=256, ge=1, le=65_536)
    """Of one tip that are remembered, so that shares for them can be sent."""
    notifies_per_s: float = Field(default=2.0, gt=0, le=1_000)
    """Jobs that are passed on, eight at once; of more than that, the newest."""
    follow_redirects: bool = True
    """Whether client.reconnect may send us elsewhere in the pool's domain."""


def review_pools(key: str, pools: Sequence[Sv1PoolSettings]) -> Iterator[Finding]:
    """There is a pool, none stands there twice, and certificates belong to TLS."""
    if not pools:
        yield Finding(key, "is missing: there is no pool to mine at", f"write [[{key}]] with url and user")
    urls: dict[str, int] = {}
    labels: dict[str, int] = {}
    for place, pool in enumerate(pools):
        here = f"{key}.{place}"
        if str(pool.url) in urls:
            yield Finding(f"{here}.url", "is also that of another pool of the list")
        elif pool.label in labels:
            yield Finding(f"{here}.name", f"is also that of {key}.{labels[pool.label]}")
        if not pool.label.isprintable():
            yield Finding(f"{here}.name", "must be printable")
        named = pool.certificate_authority is not None or pool.certificate_fingerprint is not None
        if named and not pool.url.tls:
            yield Finding(
                f"{here}.url", "speaks no TLS, so no certificate is looked at", "write stratum+ssl://"
            )
        if pool.certificate_authority is not None and pool.certificate_fingerprint is not None:
            reason = "names one certificate already; certificate_authority has no meaning beside it"
            yield Finding(f"{here}.certificate_fingerprint", reason)
        urls.setdefault(str(pool.url), place)
        labels.setdefault(pool.label, place)
