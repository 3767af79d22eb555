"""Which keys a connection's shares have named."""

from collections.abc import Callable

from prometheus_client import Counter


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
