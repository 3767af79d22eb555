"""How fast one address may ask an HTTP API, and whose address that is behind a reverse proxy."""

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from roles.runtime.subnet import subnet_of

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Pace:
    """How often one address may ask: requests a second, and at once after a silence; 0 for no bound."""

    per_s: float = 0.0
    at_once: int = 0


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route is for: the name under which it is measured, and the pace that it shares with others.

    An empty `pace` is bounded by that of all requests alone.
    """

    name: str
    pace: str = ""


NO_BOUND: Final = Pace()
UNNAMED: Final = Operation("other")


class HttpPace:
    """A bucket of `burst` requests for each address that fills at `rate` a second; 0 of either is no bound.

    The /64 of an IPv6 address is what counts, because whoever has one address of it has them all. Of at most
    `addresses` the last are remembered; who is forgotten has a full bucket, which is what it would have soon.
    """

    def __init__(self, rate: float, burst: int, *, addresses: int = 65_536) -> None:
        self._spacing = 1 / rate if rate else 0.0
        self._slack = burst * self._spacing
        self._addresses = addresses
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, address: str, now: float) -> float:
        """Count a request at `now` (monotonic seconds); returns how long to wait instead, or 0."""
        if not self._slack:
            return 0.0
        name = source_of(address)
        full_at = max(self._full_at.get(name, 0.0), now) + self._spacing
        wait = full_at - now - self._slack
        if wait > 0:
            return wait
        self._remember(name, full_at)
        return 0.0

    def reserve(self, address: str, now: float, count: int) -> float:
        """Count `count` requests whatever the pace; returns how long to wait before they are served, or 0."""
        if not self._slack:
            return 0.0
        name = source_of(address)
        full_at = max(self._full_at.get(name, 0.0), now) + count * self._spacing
        self._remember(name, full_at)
        return max(0.0, full_at - now - self._slack)

    def _remember(self, name: str, full_at: float) -> None:
        self._full_at[name] = full_at
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._addresses:
            self._full_at.popitem(last=False)


def source_of(address: str) -> str:
    """What counts as one address: that of IPv4, the /64 of IPv6."""
    return subnet_of(address) if ":" in address else address


class ForwardedFor:
    """Finds the client behind reverse proxies that are trusted to name it; nobody else's word counts."""

    def __init__(self, proxies: Sequence[Network] = ()) -> None:
        self._proxies = proxies

    def client(self, peer: str, forwarded: Sequence[str]) -> str:
        """The client's address: `peer` as connected, `forwarded` the values of X-Forwarded-For in order."""
        if not forwarded or not self._trusts(peer):
            return peer
        named = [part.strip() for value in forwarded for part in value.split(",")]
        for address in reversed(named):
            if not _is_address(address):
                return peer
            peer = address
            if not self._trusts(address):
                break
        return peer

    def _trusts(self, text: str) -> bool:
        if not self._proxies or not _is_address(text):
            return False
        address = ipaddress.ip_address(text)
        return any(address in network for network in self._proxies)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
