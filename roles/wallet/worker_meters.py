"""What each worker has earned, as metrics: of so many workers as the operator wants to see one by one."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Gauge

from roles.wallet.readout import Stranger, Worker

LABEL = 64
OTHERS = "(others)"
UNNAMED = "(unnamed)"


class WorkerMeters:
    """Gauges by worker's name; those that earned least are one, beyond `limit`."""

    def __init__(self, registry: CollectorRegistry, limit: int) -> None:
        self._limit = limit
        self._gauge = Gauge(
            "hashpool_wallet_worker_ehash",
            "Ehash by worker: minted, waiting for the mint, or foreign, earned by a key of somebody else.",
            ["worker", "state"],
            registry=registry,
        )

    def show(self, workers: Iterable[Worker], strangers: Iterable[Stranger]) -> None:
        """Set the gauges to what the store says."""
        if not self._limit:
            return
        sums: Counter[tuple[str, str]] = Counter()
        for worker in workers:
            name = _label(worker.name)
            sums[name, "minted"] += worker.minted
            sums[name, "waiting"] += worker.waiting
        for stranger in strangers:
            sums[_label(stranger.name), "foreign"] += stranger.ehash
        most: Counter[str] = Counter()
        for (name, _), ehash in sums.items():
            most[name] += ehash
        shown = {name for name, _ in most.most_common(self._limit)}
        self._gauge.clear()
        for (name, state), ehash in sums.items():
            self._gauge.labels(name if name in shown else OTHERS, state).inc(ehash)


def _label(name: str | None) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:LABEL]) if name else UNNAMED
