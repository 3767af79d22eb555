"""Whether the pool that is mined at has its quotes at the mint that the wallet uses."""

import logging
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from protocols.ehash.errors import KeyTextError
from protocols.ehash.key_text import parse_identity
from roles.runtime.readiness import Readiness
from roles.wallet.household import MINT

log = logging.getLogger(__name__)

SHOWN = 200
"""Characters that people are shown of what a pool says."""

Notice = Callable[[int, bytes, int, str], None]
Heard = Callable[[bytes, str, int], None]


class PoolsMint:
    """Hears which mint the pool names. Where it is another one, the wallet's asks nothing for its quotes, and
    people are told: the tokens wait there for the keys that they are locked to.
    """

    def __init__(
        self, url: str, notice: Notice, heard: Heard, readiness: Readiness, registry: CollectorRegistry
    ) -> None:
        self._url = url
        self._notice = notice
        self._heard = heard
        self._readiness = readiness
        self._named = b""
        self._is_other = False
        self._other = Gauge(
            "hashpool_proxy_other_mint",
            "1 while the pool that is mined at names another mint than the wallet's.",
            registry=registry,
        )

    def named(self, raw: bytes) -> None:
        """The pool says where its mint is."""
        if raw == self._named:
            return
        self._named = raw
        url = raw.decode("utf-8", "replace").rstrip("/")
        self._is_other = url.casefold() != self._url.casefold()
        self._other.set(self._is_other)
        text = ""
        if self._is_other:
            shown = "".join(letter if letter.isprintable() else "?" for letter in url[:SHOWN])
            text = (
                f"the pool names the mint {shown}, the wallet uses {self._url}: tokens wait at the pool's,"
                f" where hashpool wallet restore --mint {shown} finds them"
            )
            log.warning(
                "the pool has another mint than the wallet", extra={"pool": shown, "wallet": self._url}
            )
        self._readiness.note(MINT, text)

    def notice(self, key_index: int, share_hash: bytes, amount: int, unit: str) -> None:
        """A quote of the pool's mint for a key of the wallet."""
        if not self._is_other:
            self._notice(key_index, share_hash, amount, unit)

    def foreign(self, key: bytes, user: str, amount: int) -> None:
        """A quote for a key that the wallet does not hold, of the miner that calls itself `user`."""
        self._heard(key, worker_name(user), amount)


def worker_name(user: str) -> str:
    """What a user identity says beside its key."""
    try:
        return parse_identity(user).worker
    except KeyTextError:
        return user
