"""An instance's figures beside those of any server of SV1 miners."""

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from roles.stratum.reception_metrics import ReceptionMetrics
from roles.sv1_proxy.relay import Relay

__all__ = ["PREFIX", "RelayMetrics"]

PREFIX: Final = "hashpool_sv1_proxy"


class RelayMetrics(ReceptionMetrics):
    """Those of the relay."""

    def __init__(self, relay: Relay[Any]) -> None:
        super().__init__(PREFIX, relay)
        self._relay = relay

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """The samples of this moment."""
        yield from super().collect()
        yield CounterMetricFamily(
            f"{PREFIX}_unseated",
            "miners refused because the pool's extranonce has no room for them",
            value=self._relay.unseated,
        )
        yield CounterMetricFamily(
            f"{PREFIX}_outgrown_layouts",
            "miners let go because another pool's extranonce is too small for what they roll",
            value=self._relay.let_go,
        )
