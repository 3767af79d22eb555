"""What wallets do at the mint: the names under which it is measured, and the pace of each kind."""

from typing import Final

from roles.runtime.http import HttpBounds, Operation, Pace
from shared_config.mint import HttpLimits

QUOTE: Final = Operation("quote", "quotes")
LOOK_UP: Final = Operation("look-up", "quotes")
MINT: Final = Operation("mint", "exchanges")
SWAP: Final = Operation("swap", "exchanges")
MELT: Final = Operation("melt", "exchanges")
CHECK: Final = Operation("check", "checks")
RESTORE: Final = Operation("restore", "checks")
KEYS: Final = Operation("keys")
INFO: Final = Operation("info")
SOCKET: Final = Operation("socket")


def http_bounds(limits: HttpLimits) -> HttpBounds:
    """The bounds of the HTTP API as they are set; without a bound on all requests there is none on a kind."""
    paces = {
        "quotes": Pace(limits.quotes_per_s, limits.quotes_at_once),
        "exchanges": Pace(limits.exchanges_per_s, limits.exchanges_at_once),
        "checks": Pace(limits.checks_per_s, limits.checks_at_once),
    }
    return HttpBounds(
        connections=limits.connections,
        body_bytes=limits.body_bytes,
        request_s=limits.request_s,
        pace=Pace(limits.requests_per_s, limits.requests_at_once),
        paces=paces if limits.requests_per_s and limits.requests_at_once else {},
        trusted_proxies=limits.trusted_proxies,
    )
