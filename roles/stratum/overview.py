"""What people are shown of miners and upstreams, the same by every daemon that serves miners."""

import time
from typing import Annotated, Any

from pydantic import AliasChoices, Field

from roles.runtime.api import Answer
from roles.runtime.readiness import Readiness
from roles.stratum.latencies import Latencies
from roles.stratum.tally import Tally
from roles.stratum.upstream_meters import UpstreamState
from roles.stratum.work_rate import WorkRate

__all__ = [
    "HashRate", "HashRates", "Latency", "Miner", "MinerPage", "Shares", "Summary", "Upstream",
    "Upstreams", "hash_rates", "latency", "of_session", "of_tally", "shares", "text", "unix",
]  # fmt: skip

Count = Annotated[int, Field(ge=0)]
Amount = Annotated[float, Field(ge=0)]


class HashRate(Answer):
    """Hashes a second over one window, from the work of the shares that were accepted in it."""

    hashes_per_s: Amount
    low: Amount
    """The true rate is below once in six times."""
    high: Amount | None
    """And above once in six times; null where nothing is known."""
    shares: Count
    seconds: Amount
    """How long the window is: at most a fifth more than its name says, or since the miner is known."""


def _window(name: str, told: str) -> Any:
    """A field that is told under a name which is none in Python, and read by either."""
    return Field(serialization_alias=told, validation_alias=AliasChoices(name, told))


class HashRates(Answer):
    """Over the last minute, five minutes, hour and day."""

    minute: HashRate = _window("minute", "1m")
    five_minutes: HashRate = _window("five_minutes", "5m")
    hour: HashRate = _window("hour", "1h")
    day: HashRate = _window("day", "24h")


class Shares(Answer):
    """Shares by what became of them; each is counted once."""

    accepted: Count
    local: Count
    """Good for the miner's own difficulty only: answered here, and not sent up."""
    rejected: Count
    rejected_by_reason: dict[str, Count]
    stale: Count
    """Of the rejected: for work that was over."""
    unknown: Count
    """The upstream went before it answered, or never did."""


class Miner(Answer):
    """One miner that is connected now: an SV1 connection, or an SV2 channel."""

    id: str
    """The same again when the miner comes back, for as long as it is remembered."""
    worker: str
    """The name that it gave, which is anybody's text."""
    user_agent: str | None
    """What it calls itself; behind a translator or proxy, what that calls itself."""
    address: str | None
    """Host and port, as far as the setting peer_addresses shows it."""
    connected_since: float
    known_since: float
    """Since when its figures count."""
    difficulty: Amount | None
    """Of its shares, as SV1 counts it; null before any work."""
    hash_rate: HashRates
    shares: Shares
    best_share: Amount | None
    """The difficulty that its best share would have met; null before any, and at the pool."""
    last_share: float | None
    """When its latest good share came, whatever the verdict; at the pool the latest accepted one."""
    ehash: Count | None
    """What the mint is known to owe or to have paid for its shares; null where this daemon cannot know."""
    worker_ehash: Count | None
    """What the proxy's wallet has earned by the worker's key, over all its connections and for ever; half a
    minute old at most. Null for a key of the miner's own, and elsewhere than at the proxy."""


class MinerPage(Answer):
    """Miners in the order of their ids."""

    miners: list[Miner]
    next: str | None
    """What to ask for as `after` to go on; null at the end."""
    total: Count
    """All miners that are connected."""


class Summary(Answer):
    """All miners together, those that have left included."""

    daemon: str
    started: float
    miners: Count
    """Connected now, with a channel."""
    remembered: Count
    """Gone, and known again if they come back."""
    hash_rate: HashRates
    shares: Shares
    best_share: Amount | None
    last_share: float | None
    ehash: Count | None
    """What the mint is known to owe or to have paid since the start; null where this daemon cannot know."""
    upstream: str | None
    """The name of the upstream that is mined at; null while there is none."""
    ready: bool
    reasons: dict[str, str]
    """Why it is not ready, by condition."""


class Latency(Answer):
    """From a share to the upstream's word on it, in seconds, over the last 512."""

    count: Count
    """All verdicts since the start."""
    median: Amount
    p99: Amount


class Upstream(Answer):
    """One upstream, the best first."""

    name: str
    state: UpstreamState
    since: float
    """When it came into this state."""
    turns: Count
    """Times that it became the one that is mined at."""
    failure: str
    """Why there is no connection with it; empty where there is one, or was."""


class Upstreams(Answer):
    """Where work comes from."""

    upstream: str | None
    """The name of the one that is mined at; null while there is none."""
    since: float | None
    """Since when it is mined at."""
    knows_ehash: bool | None
    """Whether it gives tokens; null while there is none."""
    failovers: Count
    """Times that another one was turned to."""
    channels: Count
    """Open there now."""
    verdicts: Latency | None
    """Null before the first."""
    upstreams: list[Upstream]


def hash_rates(rate: WorkRate, now: float, hashes: float = 0.0) -> HashRates:
    """The estimates of all windows at `now`, for somebody whose shares take so many hashes."""
    minute, five, hour, day = (
        HashRate.model_construct(
            hashes_per_s=told.rate,
            low=told.low,
            high=told.high,
            shares=told.shares,
            seconds=told.seconds,
        )
        for told in (rate.estimate(window, now, hashes) for window in ("1m", "5m", "1h", "24h"))
    )
    return HashRates(minute=minute, five_minutes=five, hour=hour, day=day)


def of_tally(
    tally: Tally,
    now: float,
    *,
    daemon: str,
    miners: int,
    remembered: int,
    upstream: str | None,
    readiness: Readiness,
) -> Summary:
    """What is told of all miners of a server for SV1, from their common tally at `now`."""
    return Summary(
        daemon=daemon,
        started=unix(tally.rate.began, now),
        miners=miners,
        remembered=remembered,
        hash_rate=hash_rates(tally.rate, now),
        shares=shares(tally),
        best_share=tally.best_difficulty,
        last_share=None if tally.last is None else unix(tally.last, now),
        ehash=None,
        upstream=upstream,
        ready=readiness.ready,
        reasons=readiness.reasons,
    )


def of_session(
    key: tuple[int, ...],
    since: float,
    tally: Tally,
    now: float,
    *,
    worker: str,
    agent: str,
    address: str | None,
    difficulty: float,
    hashes: float,
    ehash: int | None = None,
) -> Miner:
    """What is told of one SV1 miner that is connected `since`, from its tally at `now`."""
    return Miner(
        id=".".join(map(str, key)),
        worker=text(worker),
        user_agent=text(agent) or None,
        address=address,
        connected_since=unix(since, now),
        known_since=unix(tally.rate.began, now),
        difficulty=difficulty or None,
        hash_rate=hash_rates(tally.rate, now, hashes),
        shares=shares(tally),
        best_share=tally.best_difficulty,
        last_share=None if tally.last is None else unix(tally.last, now),
        ehash=ehash,
        worker_ehash=None,
    )


def shares(tally: Tally) -> Shares:
    """What became of the shares of a tally."""
    return Shares(
        accepted=tally.accepted,
        local=tally.local,
        rejected=tally.rejected.total(),
        rejected_by_reason=dict(tally.rejected),
        stale=tally.rejected["stale"] + tally.rejected["stale-share"],
        unknown=tally.unknown,
    )


def latency(latencies: Latencies) -> Latency | None:
    """Median and 99th percentile of the last verdicts."""
    told = latencies.quantiles(0.5, 0.99)
    return None if told is None else Latency(count=latencies.count, median=told[0], p99=told[1])


def text(name: str, most: int = 255) -> str:
    """A peer's text as JSON can carry it: what is no Unicode is a question mark."""
    return name[:most].encode("utf-8", "replace").decode()


def unix(moment: float, now: float) -> float:
    """Unix seconds of a moment of the monotonic clock, which shows `now`."""
    return round(time.time() - (now - moment), 3)
