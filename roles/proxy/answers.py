"""The order in which a miner hears of its shares, where the edge answers some and the upstream others.

A success names no share: it settles as many of the oldest as it counts. So what the edge accepts itself has
to wait until older shares have been answered. Errors name theirs, and leave at once.
"""

from roles.proxy.verdicts import Verdicts


class Answers:
    """The shares of one downstream channel that wait for their answer, the oldest first."""

    __slots__ = ("_last", "_verdicts", "_waiting")

    def __init__(self, verdicts: Verdicts) -> None:
        self._verdicts = verdicts
        self._waiting: dict[int, tuple[int, int | None]] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def forwarded(self, sequence: int) -> int:
        """A share waits for the upstream's word; returns its place here, as miners may repeat numbers."""
        self._last += 1
        self._waiting[self._last] = (sequence, None)
        return self._last

    def local(self, sequence: int, work: int) -> None:
        """The edge itself accepts a share of so many expected hashes."""
        self._verdicts.count_local(work)
        if self._waiting:
            self._last += 1
            self._waiting[self._last] = (sequence, work)
        else:
            self._verdicts.acknowledge(sequence, work)

    def accepted(self, place: int, work: int, now: float) -> None:
        """The upstream has accepted the share of a place, at `now` in monotonic seconds."""
        self._verdicts.count_accepted(work, now)
        self._waiting[place] = (self._waiting[place][0], work)
        self._pass_on()

    def refused(self, place: int, code: str, by: str) -> None:
        """The share of a place is refused."""
        self._verdicts.refused(self._waiting.pop(place)[0], code, by)
        self._pass_on()

    def lost(self, place: int) -> None:
        """Nobody will say what became of the share of a place."""
        self._verdicts.lost(self._waiting.pop(place)[0])
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            place = next(iter(self._waiting))
            sequence, work = self._waiting[place]
            if work is None:
                return
            del self._waiting[place]
            self._verdicts.acknowledge(sequence, work)
