from collections.abc import Sequence
from dataclasses import replace

import orjson

from roles.mint.keysets import KeyRing, KeysetBook, MintKeyset, derive
from roles.mint.told_keys import KEPT, ToldKeys


class Teller:
    """Describes keysets and counts how often it must."""

    def __init__(self) -> None:
        self.asked = 0

    async def describe(self, keysets: Sequence[MintKeyset]) -> list[dict[str, object]]:
        self.asked += 1
        return [keyset.to_json() for keyset in keysets]


async def test_keys_are_made_once_and_anew_when_a_keyset_changes() -> None:
    teller, keyset = Teller(), derive(KeyRing(bytes(64)), "sat", 0, 4)
    book = KeysetBook([keyset])
    told = ToldKeys(book, teller.describe)
    first = await told.body(("", ""), [keyset])
    assert orjson.loads(first) == {"keysets": [keyset.to_json()]}
    assert await told.body(("", ""), [keyset]) is first
    assert teller.asked == 1
    ended = replace(keyset, active=False)
    book.add(ended)
    assert orjson.loads(await told.body(("", ""), [ended]))["keysets"][0]["active"] is False
    assert teller.asked == 2


async def test_only_the_answers_asked_for_last_are_kept() -> None:
    teller, keyset = Teller(), derive(KeyRing(bytes(64)), "sat", 0, 1)
    told = ToldKeys(KeysetBook([keyset]), teller.describe)
    for number in range(KEPT + 1):
        await told.body(("/hash/{unit}", str(number)), [keyset])
    await told.body(("/hash/{unit}", str(KEPT)), [keyset])
    assert teller.asked == KEPT + 1
    await told.body(("/hash/{unit}", "0"), [keyset])
    assert teller.asked == KEPT + 2
