"""What the mint says of itself in /v1/info (NUT-06)."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from protocols.cashu.subscription import PROOF_STATE, melt_quote_kind, mint_quote_kind
from roles.mint.keysets import KeysetBook
from roles.mint.method import EhashMethod, Method
from roles.mint.request import Sizes

_SUPPORTED = ("7", "9", "10", "11", "12", "14", "20")


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
    methods: Sequence[Method] = (EhashMethod(),)

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
        units = list(dict.fromkeys(keyset.unit for keyset in book if keyset.active))
        minting = [setting for method in self.methods for setting in method.settings(units)]
        melting = [setting for method in self.methods for setting in method.melt_settings(units)]
        return {
            "4": {"methods": minting, "disabled": not minting or self.is_stopped()},
            "5": {"methods": melting, "disabled": not melting or self.is_stopped()},
            **{number: {"supported": True} for number in _SUPPORTED},
            "8": {"supported": bool(melting)},
            "17": {"supported": _commands(minting, melting)},
            "19": {
                "ttl": None,
                "cached_endpoints": [{"method": "POST", "path": path} for path in self._cached()],
            },
            "29": {"max_batch_size": self.sizes.batch, "methods": [method.name for method in self.methods]},
            "XX": {"supported": True, "max_pubkeys": self.sizes.keys, "max_page_size": self.sizes.page},
        }

    def _cached(self) -> list[str]:
        """Where a repeated request gets its first answer."""
        names = [method.name for method in self.methods]
        return ["/v1/swap", *(f"/v1/mint/{name}{end}" for name in names for end in ("", "/batch"))]


def version_text() -> str:
    """Name and version of this program."""
    try:
        return f"hashpool/{version('hashpool')}"
    except PackageNotFoundError:
        return "hashpool/unpacked"


def _commands(
    minting: Sequence[Mapping[str, object]], melting: Sequence[Mapping[str, object]]
) -> list[dict[str, object]]:
    """What can be listened to of each method and unit on the websocket."""
    kinds: dict[tuple[object, object], list[str]] = {}
    for settings, kind_of in ((minting, mint_quote_kind), (melting, melt_quote_kind)):
        for each in settings:
            kinds.setdefault((each["method"], each["unit"]), []).append(kind_of(str(each["method"])))
    return [
        {"method": method, "unit": unit, "commands": [*names, PROOF_STATE]}
        for (method, unit), names in kinds.items()
    ]
