"""What is remembered of miners that have gone: how much work their shares took."""

from collections import OrderedDict
from collections.abc import Callable


class Difficulties:
    """How many hashes a share of a miner took, by its host and user; forgets who left longest ago.

    A miner that comes back begins where it left, instead of flooding us until its target is found again.
    `listener` hears of those that leave here; other processes tell us of theirs by `learn`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.listener: Callable[[str, str, int], None] | None = None
        self._hashes: OrderedDict[tuple[str, str], int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hashes)

    def keep(self, host: str, user: str, hashes: int) -> None:
        """A miner has gone."""
        self.learn(host, user, hashes)
        if self.listener is not None:
            self.listener(host, user, hashes)

    def learn(self, host: str, user: str, hashes: int) -> None:
        """A miner has gone, from here or from elsewhere."""
        name = (host, user)
        self._hashes[name] = hashes
        self._hashes.move_to_end(name)
        if len(self._hashes) > self._limit:
            self._hashes.popitem(last=False)

    def recall(self, host: str, user: str) -> int:
        """The hashes of a share of this miner, 0 when it is not known."""
        return self._hashes.get((host, user), 0)
