"""What the mint says of itself in /v1/info (NUT-06)."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from protocols.cashu.subscription import PROOF_STATE, melt_quote_kind, mint_quote_kind
from roles.mint.keysets import MintKeyset
from roles.mint.method import EhashMethod, Method
from roles.mint.request import Sizes
from shared_config.mint import InfoSettings

_SUPPORTED = ("7", "9", "10", "11", "12", "14", "20")


@dataclass(frozen=True, slots=True)
class MintInfo:
    """What the operator says, keys (33 bytes) and sizes; units come from the keysets of the moment."""

    settings: InfoSettings
    url: str
    info_key: bytes
    quote_key: bytes
    sizes: Sizes
    clock: Callable[[], float] = time.time
    is_stopped: Callable[[], bool] = lambda: False
    methods: Sequence[Method] = (EhashMethod(),)
    has_socket: bool = True

    def to_json(self, keysets: Iterable[MintKeyset]) -> dict[str, object]:
        """The body of /v1/info."""
        settings = self.settings
        contact = [{"method": each.method, "info": each.info} for each in settings.contact]
        if settings.contact_email is not None:
            contact.insert(0, {"method": "email", "info": settings.contact_email})
        optional = {
            "description_long": settings.description_long,
            "motd": settings.motd,
            "icon_url": settings.icon_url,
            "tos_url": settings.tos_url,
        }
        return {
            "name": settings.name,
            "pubkey": self.info_key.hex(),
            "quote_key": self.quote_key.hex(),
            "version": version_text(),
            "description": settings.description,
            **{name: value for name, value in optional.items() if value is not None},
            "contact": contact,
            "urls": [self.url, *settings.urls],
            "time": int(self.clock()),
            "max_array_length": self.sizes.array,
            "nuts": self._nuts(keysets),
        }

    def _nuts(self, keysets: Iterable[MintKeyset]) -> dict[str, object]:
        units = list(dict.fromkeys(keyset.unit for keyset in keysets if keyset.active))
        minting = [setting for method in self.methods for setting in method.settings(units)]
        melting = [setting for method in self.methods for setting in method.melt_settings(units)]
        return {
            "4": {"methods": minting, "disabled": not minting or self.is_stopped()},
            "5": {"methods": melting, "disabled": not melting or self.is_stopped()},
            **{number: {"supported": True} for number in _SUPPORTED},
            "8": {"supported": bool(melting)},
            "17": {"supported": _commands(minting, melting) if self.has_socket else []},
            "19": {"ttl": None, "cached_endpoints": self._cached(melting)},
            "29": {"max_batch_size": self.sizes.batch, "methods": [method.name for method in self.methods]},
            "XX": {"supported": True, "max_pubkeys": self.sizes.keys, "max_page_size": self.sizes.page},
        }

    def _cached(self, melting: Sequence[Mapping[str, object]]) -> list[dict[str, str]]:
        """Where a request that is repeated gets its first answer, for ever."""
        names = [method.name for method in self.methods]
        paths = ["/v1/swap", *(f"/v1/mint/{name}{end}" for name in names for end in ("", "/batch"))]
        paths += dict.fromkeys(f"/v1/melt/{setting['method']}" for setting in melting)
        return [{"method": "POST", "path": path} for path in paths]


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
