"""What an upstream is asked beside shares and openings: to close channels and to change them, at a pace.

An upstream that counts requests reads slower when there are too many of them, and shares wait behind. So a
crowd that leaves, or changes its mind, in one moment is not told of in that moment.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from itertools import islice

from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from protocols.sv2.mining import CloseChannel, UpdateChannel

TURN_S = 0.01
CLOSINGS = 64
"""Of one turn. Who opened a channel has paid our pool for its end, too."""
UPDATES = 4
"""Of one turn: 400 a second take 2,000 of the 5,000 shares a second that our pool grants a connection."""
SPACING_S = 1.0
"""Between two updates of one channel."""


class UpstreamRequests:
    """Sends the first at once and others as their turns come, of a channel's updates the last alone.

    `transmit` sends a frame; `closed` is called when nothing waits to be closed any more. It goes when the
    connection does, with `end`.
    """

    __slots__ = ("_closed", "_closings", "_loop", "_recent", "_timer", "_transmit", "_updates")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        transmit: Callable[[Frame], None],
        closed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._transmit = transmit
        self._closed = closed
        self._closings: deque[tuple[int, str]] = deque()
        self._updates: dict[int, tuple[float, int]] = {}
        # When channels were changed, the longest ago first, as far as it matters.
        self._recent: dict[int, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_closing(self) -> bool:
        """Whether channels wait to be closed; what takes their place is asked for behind them."""
        return len(self._closings) > 0

    def close(self, channel_id: int, reason: str) -> None:
        """Close a channel, for a reason that the wire can carry."""
        self.forget(channel_id)
        self._closings.append((channel_id, reason))
        self._begin()

    def update(self, channel_id: int, hash_rate: float, maximum_target: int) -> None:
        """Tell of another hash rate (hashes/s) and easiest target of a channel, which the wire can carry."""
        self._updates[channel_id] = hash_rate, maximum_target
        self._begin()

    def forget(self, channel_id: int) -> None:
        """A channel has ended: there is nothing to change."""
        self._updates.pop(channel_id, None)
        self._recent.pop(channel_id, None)

    def end(self) -> None:
        """Nobody is there to be asked any more."""
        self._closings.clear()
        self._updates.clear()
        self._recent.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        if self._timer is None:
            self._turn()

    def _turn(self) -> None:
        self._timer = None
        if self._closings or self._updates:
            self._timer = self._loop.call_later(TURN_S, self._turn)
            self._change_some()
            self._close_some()

    def _change_some(self) -> None:
        updates, recent, now = self._updates, self._recent, self._loop.time()
        while recent and now - next(iter(recent.values())) >= SPACING_S:
            del recent[next(iter(recent))]
        for channel_id in tuple(islice((each for each in updates if each not in recent), UPDATES)):
            self._transmit(encode(UpdateChannel(channel_id, *updates.pop(channel_id))))
            recent[channel_id] = now

    def _close_some(self) -> None:
        closings = self._closings
        if not closings:
            return
        for _ in range(min(CLOSINGS, len(closings))):
            self._transmit(encode(CloseChannel(*closings.popleft())))
        if not closings:
            self._closed()
