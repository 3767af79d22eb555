"""Answers that tell keys, kept as they went out until a keyset changes: to make one derives and spells out 64
keys for each of up to 32 keysets.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson

from roles.mint.keysets import KeysetBook, MintKeyset

KEPT: Final = 64
"""Answers that are kept; one has 6 KB for each keyset in it."""


class ToldKeys:
    """Bodies of /v1/keys by what was asked for; `describe` makes the items of keysets."""

    def __init__(
        self,
        book: KeysetBook,
        describe: Callable[[Sequence[MintKeyset]], Awaitable[list[dict[str, object]]]],
    ) -> None:
        self._book = book
        self._describe = describe
        self._kept: OrderedDict[tuple[str, str], tuple[int, bytes]] = OrderedDict()

    async def body(self, name: tuple[str, str], keysets: Sequence[MintKeyset]) -> bytes:
        """The JSON of keysets, which are what the book has under this name now."""
        changes = self._book.changes
        kept = self._kept.get(name)
        if kept is not None and kept[0] == changes:
            self._kept.move_to_end(name)
            return kept[1]
        body = orjson.dumps({"keysets": await self._describe(keysets)})
        self._kept[name] = (changes, body)
        self._kept.move_to_end(name)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return body
