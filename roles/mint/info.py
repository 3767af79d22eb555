"""What the mint says of itself in /v1/info (NUT-06)."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from protocols.ehash.amount import AMOUNT_LIMIT
from protocols.ehash.errors import UnitError
from protocols.ehash.shift import METHOD, parse_unit
from roles.mint.keysets import KeysetBook
from roles.mint.request import Sizes

_SUPPORTED = ("7", "9", "10", "11", "12", "14", "20")
_CACHED = ("/v1/swap", f"/v1/mint/{METHOD}", f"/v1/mint/{METHOD}/batch")


@dataclass(frozen=True, slots=True)
class MintInfo:
    """Names, keys (33 bytes) and sizes; units come from the keysets of the moment."""

    name: str
    description: str
    contact_email: str | None
    url: str
    info_key: bytes
    quote_key: bytes
    sizes: Sizes
    clock: Callable[[], float] = time.time
    is_stopped: Callable[[], bool] = lambda: False

    def to_json(self, book: KeysetBook) -> dict[str, object]:
        """The body of /v1/info."""
        contact = [] if self.contact_email is None else [{"method": "email", "info": self.contact_email}]
        return {
            "name": self.name,
            "pubkey": self.info_key.hex(),
            "quote_key": self.quote_key.hex(),
            "version": version_text(),
            "description": self.description,
            "contact": contact,
            "urls": [self.url],
            "time": int(self.clock()),
            "max_array_length": self.sizes.array,
            "nuts": self._nuts(book),
        }

    def _nuts(self, book: KeysetBook) -> dict[str, object]:
        methods = [_method(unit) for unit in dict.fromkeys(keyset.unit for keyset in book if keyset.active)]
        return {
            "4": {"methods": methods, "disabled": self.is_stopped()},
            "5": {"methods": [], "disabled": True},
            **{number: {"supported": True} for number in _SUPPORTED},
            "19": {"ttl": None, "cached_endpoints": [{"method": "POST", "path": path} for path in _CACHED]},
            "29": {"max_batch_size": self.sizes.batch, "methods": [METHOD]},
            "XX": {"supported": True, "max_pubkeys": self.sizes.keys, "max_page_size": self.sizes.page},
        }


def version_text() -> str:
    """Name and version of this program."""
    try:
        return f"hashpool/{version('hashpool')}"
    except PackageNotFoundError:
        return "hashpool/unpacked"


def _method(unit: str) -> dict[str, object]:
    try:
        name = parse_unit(unit).display
    except UnitError:
        name = unit
    return {
        "method": METHOD,
        "unit": unit,
        "method_name": "Ehash",
        "unit_name": name,
        "min_amount": 1,
        "max_amount": AMOUNT_LIMIT - 1,
        "options": {},
    }
