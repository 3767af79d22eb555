"""What the pool-side instance counts of credits and of what it keeps."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from roles.runtime.tally import Counts, Tally

__all__ = ["CreditMeters"]


class CreditMeters:
    """Counters and gauges named ``hashpool_sv1_proxy_…``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.credited = Tally(
            "hashpool_sv1_proxy_shares_credited", "Shares that the ledger has taken.", registry=registry
        )
        self.repeated = Tally(
            "hashpool_sv1_proxy_shares_repeated", "Shares that the ledger had already.", registry=registry
        )
        self.work = Tally(
            "hashpool_sv1_proxy_share_work", "Expected hashes of the shares credited.", registry=registry
        )
        self.withheld = Counts(
            "hashpool_sv1_proxy_shares_not_credited",
            "Good shares that earn nothing: the pool's word, its silence, or a ledger that takes nothing.",
            ["why"],
            registry=registry,
        )
        self.forwarded = Counts(
            "hashpool_sv1_proxy_shares_forwarded",
            "Shares that went to the pool, by its word.",
            ["outcome"],
            registry=registry,
        )
        self.targets = Counter(
            "hashpool_sv1_proxy_retargets", "New credit targets for miners.", registry=registry
        )
        self.prices_kept = Counter(
            "hashpool_sv1_proxy_prices_kept",
            "Works that were sent again and kept the price that they had.",
            registry=registry,
        )
        self.logged = Counts(
            "hashpool_sv1_proxy_logged", "Rows of the log of jobs and verdicts.", ["what"], registry=registry
        )
        self.log_bytes = Gauge(
            "hashpool_sv1_proxy_job_log_bytes", "What the log of jobs takes, about.", registry=registry
        )
        self.disk_free = Gauge(
            "hashpool_sv1_proxy_disk_free_bytes", "What is free on the ledger's disk.", registry=registry
        )
        self.remembered = Gauge(
            "hashpool_sv1_proxy_difficulties_remembered",
            "Miners that have gone and whose difficulty is remembered.",
            registry=registry,
        )
