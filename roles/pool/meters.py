"""What the pool counts."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from roles.runtime.tally import Tally


class BlockMeters:
    """Of blocks that were found here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.found = Counter("hashpool_pool_blocks_found", "Blocks found.", registry=registry)
        self.by_status = Gauge(
            "hashpool_pool_blocks",
            "Blocks found ever, by what became of them.",
            ["status"],
            registry=registry,
        )


class TemplateMeters:
    """Of templates, and of the work that they become."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.taken = Counter(
            "hashpool_pool_templates", "Templates taken into work, by cause.", ["cause"], registry=registry
        )
        self.failures = Counter(
            "hashpool_pool_template_failures",
            "Links to the template provider failed or lost, by cause.",
            ["cause"],
            registry=registry,
        )
        self.fanout = Histogram(
            "hashpool_pool_work_fanout_seconds",
            "From new work until all channels have been sent it.",
            buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
            registry=registry,
        )


class ResumeMeters:
    """Of channels that can be resumed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.presented = Counter(
            "hashpool_pool_resumptions",
            "Resume tokens presented, by what became of them.",
            ["result"],
            registry=registry,
        )
        self.records = Gauge(
            "hashpool_pool_resume_records",
            "Channels, and connections of such, that are recorded so that they can be resumed.",
            registry=registry,
        )


class Meters:
    """Counters and gauges named ``hashpool_pool_…``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.blocks = BlockMeters(registry)
        self.templates = TemplateMeters(registry)
        self.resumptions = ResumeMeters(registry)
        self.accepted = Tally("hashpool_pool_shares_accepted", "Shares accepted.", registry=registry)
        self.repeated = Tally(
            "hashpool_pool_shares_repeated", "Accepted shares that came again.", registry=registry
        )
        self.rejected = Counter(
            "hashpool_pool_shares_rejected", "Shares refused, by code.", ["code"], registry=registry
        )
        self.work = Tally(
            "hashpool_pool_share_work", "Expected hashes of the shares accepted.", registry=registry
        )
        self.channels = Gauge(
            "hashpool_pool_channels", "Open channels, by kind.", ["kind"], registry=registry
        )
        self.opens_refused = Counter(
            "hashpool_pool_opens_refused", "Channels not opened, by code.", ["code"], registry=registry
        )
        self.retargets = Counter("hashpool_pool_retargets", "New targets for channels.", registry=registry)
        self.ignored = Counter(
            "hashpool_pool_messages_ignored", "Messages that are not known here.", registry=registry
        )
        self.throttled = Counter(
            "hashpool_pool_throttled", "Times a connection was not read from for a while.", registry=registry
        )
        self.disk_free = Gauge(
            "hashpool_pool_disk_free_bytes", "What is free on the ledger's disk.", registry=registry
        )
        self.remembered = Gauge(
            "hashpool_pool_miners_remembered",
            "Miners that have gone and whose difficulty is remembered.",
            registry=registry,
        )
        self.figures = Gauge(
            "hashpool_pool_figures_remembered",
            "Miners that have gone and whose figures are remembered.",
            registry=registry,
        )
        self.keys_forgotten = Counter(
            "hashpool_pool_share_keys_forgotten",
            "Locking keys of shares beyond those that are remembered of a connection.",
            registry=registry,
        )
        self.notices = Counter(
            "hashpool_pool_quote_notices", "Notices of quotes sent to miners.", registry=registry
        )
        self.hashrate = Gauge(
            "hashpool_pool_hashrate", "Estimated hashes a second of all channels.", registry=registry
        )
