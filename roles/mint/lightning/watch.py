"""Whether the Lightning node is there: asked now and then, and told in /ready and metrics.

While it is away no invoices are made and no tokens are put up for payments; all else goes on.
"""

import asyncio
import logging

from prometheus_client import CollectorRegistry, Gauge

from roles.mint.lightning.errors import BackendError
from roles.mint.lightning.timed import TimedBackend
from roles.runtime.readiness import Readiness

CONDITION = "lightning"

_log = logging.getLogger(__name__)


class NodeWatch:
    """Asks the node every `every_s` whether it is there."""

    def __init__(self, backend: TimedBackend, registry: CollectorRegistry, *, every_s: float) -> None:
        self._backend = backend
        self._every_s = every_s
        up = Gauge("hashpool_mint_lightning_up", "1 while the Lightning node answers.", registry=registry)
        up.set_function(lambda: float(not backend.away))

    async def run(self, readiness: Readiness) -> None:
        """Ask until cancelled."""
        readiness.declare(CONDITION)
        while True:
            was_away = self._backend.away
            try:
                await self._backend.probe()
            except BackendError as error:
                self._backend.away = str(error)
                readiness.unmet(CONDITION, f"the Lightning node is away: {error}")
                if not was_away:
                    _log.error("the Lightning node is away: sats are not minted or melted: %s", error)
            else:
                self._backend.away = ""
                readiness.met(CONDITION)
                if was_away:
                    _log.info("the Lightning node is there again")
            await asyncio.sleep(self._every_s)
