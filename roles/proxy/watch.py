"""How long there has been no upstream, and whether miners are to look elsewhere meanwhile."""

import asyncio
import logging
from collections.abc import Callable

from roles.runtime.readiness import Readiness

log = logging.getLogger(__name__)

CONDITION = "upstream"


class UpstreamWatch:
    """Follows the upstream connection; after `hold_s` without one (None: never) new miners are refused.

    `on_return` is called when the upstream is back. The channels of miners that are here keep time of their
    own.
    """

    def __init__(
        self, readiness: Readiness, hold_s: float | None, on_return: Callable[[], None] = lambda: None
    ) -> None:
        self._readiness = readiness
        self._hold_s = hold_s
        self._on_return = on_return
        self._timer: asyncio.TimerHandle | None = None
        self._is_away = True
        self.is_released = False
        """Whether the hold is over: connections and channels are refused, not parked."""
        readiness.declare(CONDITION)
        self._hold()

    def changed(self, connected: bool, failure: str, note: str = "") -> None:
        """The upstream connection is set up, with a note for people; or it is not, and `failure` says why."""
        self._readiness.note(CONDITION, note)
        self._is_away = not connected
        if connected:
            self.close()
            self.is_released = False
            self._readiness.met(CONDITION)
            self._on_return()
        else:
            self._readiness.unmet(CONDITION, failure or "the connection was lost")
            self._hold()

    def hold(self, hold_s: float | None) -> None:
        """Miners are kept for so long from now on; where there is no upstream, counted from now."""
        if hold_s == self._hold_s:
            return
        self._hold_s = hold_s
        if self._is_away:
            self.close()
            self._hold()

    def close(self) -> None:
        """Keep time no longer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _hold(self) -> None:
        if self._hold_s is not None and self._timer is None and not self.is_released:
            self._timer = asyncio.get_running_loop().call_later(self._hold_s, self._release)

    def _release(self) -> None:
        self._timer = None
        self.is_released = True
        log.warning("the upstream has been away for the whole hold; miners are released")
