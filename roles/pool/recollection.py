"""What is remembered of miners that have gone: how much work their shares took, and which keys they used."""

from collections import OrderedDict
from collections.abc import Callable

from prometheus_client import Counter


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


class ShareKeys:
    """The locking keys that came with one connection's accepted shares, so that each is checked once.

    A key is looked at after its share has been found good: whoever names many must work for it. `forgotten`
    counts those beyond the limit.
    """

    __slots__ = ("_check", "_forgotten", "_known", "_limit")

    def __init__(self, check: Callable[[bytes], bool], limit: int, forgotten: Counter) -> None:
        self._check = check
        self._limit = limit
        self._forgotten = forgotten
        self._known: dict[bytes, None] | None = None

    def __len__(self) -> int:
        return len(self._known or ())

    def accept(self, key: bytes) -> bool:
        """Whether the key of a good share is one; it is remembered if so, and the oldest forgotten."""
        if self._known and key in self._known:
            return True
        if not self._check(key):
            return False
        if self._known is None:
            self._known = {}
        self._known[key] = None
        if len(self._known) > self._limit:
            del self._known[next(iter(self._known))]
            self._forgotten.inc()
        return True
