"""Payment methods: how a mint quote of each comes into being and is paid; the teller does the rest."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from protocols.cashu.errors import MintingDisabledError
from protocols.ehash.amount import AMOUNT_LIMIT
from protocols.ehash.errors import UnitError
from protocols.ehash.shift import METHOD, parse_unit
from roles.mint.quote import Quote


class Method(Protocol):
    """A way to pay for tokens."""

    @property
    def name(self) -> str:
        """As in paths: bolt11."""
        ...

    async def create(self, body: object) -> Quote:
        """Make the quote that a wallet asks for; raises CashuError."""
        ...

    def recall(self, quote_ids: Sequence[str]) -> Sequence[Quote] | None:
        """These quotes as the store has them, in their order, if that is known; None if it must be asked."""
        ...

    async def look(self, quotes: Sequence[Quote]) -> Sequence[Quote]:
        """The same quotes, in their order, as they stand when those who are paid have been asked."""
        ...

    def leave(self, quote_ids: Iterable[str]) -> None:
        """Others than the method are about to change these quotes in the store, or have done so."""
        ...

    def minted(self, quotes: Iterable[Quote]) -> None:
        """These quotes, as they were looked at, were minted, durably."""
        ...

    def settings(self, units: Iterable[str]) -> list[dict[str, object]]:
        """What /v1/info says of minting, for those of the units that are paid in this way (NUT-04)."""
        ...

    def melt_settings(self, units: Iterable[str]) -> list[dict[str, object]]:
        """The same of melting (NUT-05)."""
        ...


class EhashMethod:
    """Quotes are made of mining shares, over the issuance link, and are paid from the start."""

    name = METHOD

    async def create(self, body: object) -> Quote:
        """Refused, whatever is asked."""
        del body
        raise MintingDisabledError("quotes are made of mining shares by the pool, not by request")

    def recall(self, quote_ids: Sequence[str]) -> Sequence[Quote] | None:
        """Nothing is known here."""
        del quote_ids
        return None

    async def look(self, quotes: Sequence[Quote]) -> Sequence[Quote]:
        """Nothing can have changed."""
        return quotes

    def leave(self, quote_ids: Iterable[str]) -> None:
        """Nothing is known here."""

    def minted(self, quotes: Iterable[Quote]) -> None:
        """They were paid before."""

    def settings(self, units: Iterable[str]) -> list[dict[str, object]]:
        """All units that are named after an issuer and a shift."""
        return [setting for unit in units if (setting := _ehash_setting(unit)) is not None]

    def melt_settings(self, units: Iterable[str]) -> list[dict[str, object]]:
        """None: ehash buys no payments."""
        del units
        return []


def _ehash_setting(unit: str) -> dict[str, object] | None:
    try:
        name = parse_unit(unit).display
    except UnitError:
        return None
    return {
        "method": METHOD,
        "unit": unit,
        "method_name": "Ehash",
        "unit_name": name,
        "min_amount": 1,
        "max_amount": AMOUNT_LIMIT - 1,
        "options": {},
    }
