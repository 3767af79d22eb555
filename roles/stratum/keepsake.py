"""What is kept of an upstream channel that was lost and can be resumed: its token and unanswered shares.

Shares wait until the upstream has resumed the channel, and are sent again then. Who submitted them hears
after a few seconds that nobody knows; a verdict that comes later is counted, and earns what it earns.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from protocols.ehash.messages import EXTENSION, TLV_RESUME_TOKEN
from protocols.ehash.resume_token import LIFE_S, MAX_SIZE
from protocols.sv2.tlv import Tlv
from roles.stratum.submissions import Settle, Submissions

__all__ = ["Keepsake", "Tie", "token_in"]

UNANSWERED_S: Final = 5.0
"""How long a share waits for a lost upstream until its miner is told that nobody knows."""
LOOK_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Tie:
    """How an open channel can be resumed: the token, where it is good, what has been granted there.

    `count` hears of shares that are given up, by what became of them; `late` of verdicts that come late.
    """

    token: bytes
    where: str
    extensions: frozenset[int]
    count: Callable[[str, int], None]
    late: Settle


@dataclass(slots=True)
class Keepsake:
    """A tie to a channel that was lost at `since`, in the loop's time; `over` is called when it wears out."""

    tie: Tie
    submissions: Submissions
    over: Callable[[], None]
    since: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    was_shown: bool = False
    """Whether the token was presented."""
    _timer: asyncio.TimerHandle | None = None

    def __post_init__(self) -> None:
        self._look()

    def tlvs(self, where: str, extensions: frozenset[int]) -> tuple[Tlv, ...]:
        """What goes with a request for a channel at an upstream."""
        if where != self.tie.where or EXTENSION not in extensions:
            return ()
        self.was_shown = True
        return (Tlv(EXTENSION, TLV_RESUME_TOKEN, self.tie.token),)

    def end(self) -> None:
        """The channel is open again, or is not wanted any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def give_up(self) -> None:
        """Nothing comes of it: the shares are lost."""
        self.end()
        self.tie.count("unknown", len(self.submissions))
        self.submissions.lose()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self.submissions.despair(loop.time() - UNANSWERED_S, self.tie.late)
        if loop.time() - self.since >= LIFE_S:
            self._timer = None
            self.over()
        else:
            self._timer = loop.call_later(LOOK_S, self._look)


def token_in(tlvs: tuple[Tlv, ...]) -> bytes:
    """The token that came with a channel, empty where none did."""
    found = (tlv.value for tlv in tlvs if tlv[:2] == (EXTENSION, TLV_RESUME_TOKEN))
    return next((token for token in found if len(token) <= MAX_SIZE), b"")
