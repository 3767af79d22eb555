"""Miners that have left, so that one that comes back goes on where it was."""

from collections import OrderedDict
from itertools import count

from roles.stratum.tally import Tally
from roles.stratum.work_rate import WorkRate

__all__ = ["MinerRoll"]

NAMESAKES = 64
"""Miners of one name that are remembered."""


class MinerRoll:
    """Tallies of those that have left, by the name of the worker; the last `limit` are remembered.

    One that comes back is known by its name; of several with one name that have left, by where it comes
    from, else it is taken for the one that left last. Nothing is kept over a restart.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._numbers = count(1)
        self._places = count()
        self._gone: OrderedDict[int, tuple[str, str, Tally]] = OrderedDict()
        self._of_name: dict[str, list[int]] = {}

    def __len__(self) -> int:
        return len(self._gone)

    def begin(self, now: float) -> Tally:
        """The tally of somebody new, at `now` in monotonic seconds."""
        return Tally(next(self._numbers), WorkRate(now))

    def recall(self, name: str, host: str, fresh: Tally) -> Tally:
        """The tally of who has been here before, with what `fresh` has counted; else `fresh` itself."""
        places = self._of_name.get(name)
        if not places:
            return fresh
        place = next((each for each in reversed(places) if self._gone[each][1] == host), places[-1])
        known = self._forget(place)
        known.absorb(fresh)
        return known

    def leave(self, name: str, host: str, tally: Tally) -> None:
        """A miner has left."""
        places = self._of_name.setdefault(name, [])
        place = next(self._places)
        places.append(place)
        self._gone[place] = (name, host, tally)
        if len(places) > NAMESAKES:
            self._forget(places[0])
        while len(self._gone) > self.limit:
            self._forget(next(iter(self._gone)))

    def _forget(self, place: int) -> Tally:
        name, _, tally = self._gone.pop(place)
        places = self._of_name[name]
        places.remove(place)
        if not places:
            del self._of_name[name]
        return tally
