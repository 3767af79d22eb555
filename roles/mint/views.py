"""What a wallet sees of the mint, by the path that it uses.

Wallets that know no custom unit are confused by keysets of one, and a thousand units make long answers. So
under `/v1` stand the units of money alone, under `/hash/v1` the newest units of ehash, and under
`/hash/<unit>/v1` one unit. Everything else is the same under each, and every keyset is told by its id. A mint
without any unit of money shows the newest ehash under `/v1`, too: whoever comes there comes for that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from protocols.ehash.shift import is_ehash
from roles.mint.keysets import KeysetBook, MintKeyset

PREFIXES = ("", "/hash", "/hash/{unit}")
NEWEST = 32
"""Units of ehash that `/hash/v1` shows."""
UNIT_LIMIT = 255


@dataclass(slots=True)
class _Sight:
    """The keysets of a moment: those of money, those of the newest ehash units, and all by unit."""

    changes: int = -1
    money: list[MintKeyset] = field(default_factory=list)
    newest: list[MintKeyset] = field(default_factory=list)
    units: dict[str, list[MintKeyset]] = field(default_factory=dict)


class Views:
    """Keysets of a book by view: the part of a path before `/v1`."""

    def __init__(self, book: KeysetBook) -> None:
        self._book = book
        self._sight = _Sight()

    async def keysets(self, prefix: str, unit: str) -> Sequence[MintKeyset]:
        """What a view shows, oldest first; `unit` counts for the last of PREFIXES only. Empty for a unit that
        the mint does not have.
        """
        sight = self._look()
        if prefix == PREFIXES[0]:
            return sight.money or sight.newest
        if prefix == PREFIXES[1]:
            return sight.newest
        name = unit.lower()
        if name not in sight.units and is_ehash(name):
            # Another process may have opened that shift a moment ago.
            await self._book.meet([name])
            sight = self._look()
        return sight.units.get(name, ())

    def _look(self) -> _Sight:
        if self._sight.changes == self._book.changes:
            return self._sight
        sight = _Sight(self._book.changes)
        ehash: dict[str, int] = {}
        for keyset in sorted(self._book, key=lambda each: each.number):
            sight.units.setdefault(keyset.unit, []).append(keyset)
            if is_ehash(keyset.unit):
                ehash[keyset.unit] = keyset.number
            else:
                sight.money.append(keyset)
        chosen = sorted(ehash, key=ehash.__getitem__)[-NEWEST:]
        sight.newest = [keyset for unit in chosen for keyset in sight.units[unit]]
        self._sight = sight
        return sight
