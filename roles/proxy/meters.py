"""What the proxy counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from protocols.mining import errors
from roles.proxy.errors import Overloaded, StoreFailed, UpstreamAway
from roles.proxy.figures import Figures
from roles.runtime.tally import Counts, Spread

_REASONS = frozenset(
    {
        errors.UnknownShareChannel.code,
        errors.StaleShare.code,
        errors.UnknownJob.code,
        errors.BadExtranonceSize.code,
        errors.InvalidShare.code,
        errors.VersionRollingNotAllowed.code,
        errors.InvalidVersionBit.code,
        errors.DifficultyTooLow.code,
        errors.DuplicateShare.code,
        errors.TooManyShares.code,
        Overloaded.code,
        errors.NoVerdict.code,
    }
)


_OPEN_REASONS = frozenset(
    {
        errors.UnknownUser.code,
        errors.InvalidUserIdentity.code,
        errors.InvalidNominalHashrate.code,
        errors.MaxTargetOutOfRange.code,
        errors.MinExtranonceSizeTooLarge.code,
        errors.StandardJobsRequired.code,
        errors.CapacityExhausted.code,
        errors.BannedByOperator.code,
        Overloaded.code,
        StoreFailed.code,
        UpstreamAway.code,
    }
)


def gauge_figures(registry: CollectorRegistry, figures: Figures) -> None:
    """Show what is counted of all miners together."""
    remembered = Gauge(
        "hashpool_proxy_figures_remembered",
        "Miners that have gone and whose figures are remembered.",
        registry=registry,
    )
    hashrate = Gauge(
        "hashpool_proxy_hashrate", "Hashes a second of all miners, over five minutes.", registry=registry
    )
    best_share = Gauge(
        "hashpool_proxy_best_share",
        "Difficulty that the best share would have met.",
        registry=registry,
    )
    remembered.set_function(lambda: float(len(figures.roll)))
    hashrate.set_function(lambda: figures.totals.rate.estimate("5m", figures.clock()).rate)
    best_share.set_function(lambda: figures.totals.best_difficulty or 0.0)


class Meters:
    """Counters and gauges of the proxy's downstream side."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.channels = Gauge(
            "hashpool_proxy_channels", "Downstream channels open.", ["kind"], registry=registry
        )
        self.shares = Counts(
            "hashpool_proxy_shares",
            "Shares by verdict: accepted, rejected, or unknown where the upstream went first; local ones miss"
            " the upstream's target, and were answered here.",
            ["result"],
            registry=registry,
        )
        self.accepted = self.shares.labels("accepted")
        self.local = self.shares.labels("local")
        self.rejected = Counter(
            "hashpool_proxy_shares_rejected",
            "Rejected shares by reason, and by who rejected them.",
            ["reason", "by"],
            registry=registry,
        )
        self.refused = Counter(
            "hashpool_proxy_opens_refused", "Channels not opened, by reason.", ["reason"], registry=registry
        )
        self.released = Counter(
            "hashpool_proxy_channels_released", "Channels given up after the hold.", registry=registry
        )
        self.notices = Counter(
            "hashpool_proxy_notices", "Notices of quotes, by whose key.", ["key"], registry=registry
        )
        self.credits_refused = Counter(
            "hashpool_proxy_credits_refused",
            "Accepted shares that the mint refused to credit.",
            registry=registry,
        )
        self.ignored = Counter(
            "hashpool_proxy_messages_ignored", "Messages of miners that mean nothing here.", registry=registry
        )
        self.throttled = Counter(
            "hashpool_proxy_throttled", "Times a miner was not read from for a while.", registry=registry
        )
        self.fanout = Histogram(
            "hashpool_proxy_fanout_seconds",
            "From new work of the upstream to the last channel that is sent it.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
            registry=registry,
        )
        self.verdict = Spread(
            "hashpool_proxy_verdict_seconds",
            "From a share to the upstream's word on it.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )

    def refusal(self, code: str) -> None:
        """Count a channel that is not opened; codes unknown here are counted together."""
        self.refused.labels(code if code in _OPEN_REASONS else "other").inc()

    def rejection(self, code: str, by: str) -> str:
        """Count a rejected share; `by` is edge or upstream, codes unknown here are counted together.

        Returns what it is counted as.
        """
        reason = code if code in _REASONS else "other"
        self.shares.labels("rejected").inc()
        self.rejected.labels(reason, by).inc()
        return reason
