"""Our wallet finds every unit of a mint that shows sats alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from protocols.cashu.keyset import short_id
from protocols.ehash.messages import Credits
from protocols.ehash.shift import ShiftRule, Unit
from roles.mint import keyset_rows
from roles.runtime.storage import Database
from roles.wallet.errors import NoKeysetError
from roles.wallet.keyset_book import KeysetBook
from roles.wallet.mint_client import MintClient
from roles.wallet.schema import MIGRATIONS
from tests.roles.mint.house import ISSUER, NOW, House

SHIFTS = 40
"""More than the mint shows at once."""


@pytest.fixture
async def book(house: House, url: str, tmp_path: Path) -> AsyncIterator[KeysetBook]:
    made = await house.database.write(lambda c: keyset_rows.create(c, house.seed, "sat", NOW))
    house.book.add(made)
    house.credits._rule = ShiftRule(block_hashes=1)
    for shift in range(SHIFTS):
        await house.settle(Credits(house.seq, shift, 0, 0, (house.row(),)))
    async with (
        aiohttp.ClientSession() as session,
        Database.open(tmp_path / "wallet.sqlite", MIGRATIONS) as database,
    ):
        yield KeysetBook(database, MintClient(url, session, waits=()))


async def test_a_shift_is_found_by_its_unit_however_old_it_is(book: KeysetBook) -> None:
    for shift in (0, SHIFTS - 1):
        unit = Unit(ISSUER, shift).name
        assert (await book.active(unit)).unit == unit
    assert (await book.active("sat")).unit == "sat"
    with pytest.raises(NoKeysetError):
        await book.active(Unit(ISSUER, SHIFTS).name)


async def test_a_token_of_an_old_shift_is_known_by_its_short_id(house: House, book: KeysetBook) -> None:
    keyset = next(each for each in house.book if each.unit == Unit(ISSUER, 1).name)
    assert list(await book.named([short_id(keyset.keyset_id)], keyset.unit)) == [keyset.keyset_id]


async def test_a_restore_goes_through_every_shift(house: House, book: KeysetBook) -> None:
    assert {keyset.unit for keyset in await book.everything()} == {keyset.unit for keyset in house.book}
