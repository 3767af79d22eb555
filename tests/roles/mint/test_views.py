"""What stands under /v1, /hash/v1 and /hash/<unit>/v1."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from protocols.ehash.messages import Credits
from protocols.ehash.shift import ShiftRule, Unit
from roles.mint import keyset_rows
from roles.mint.keyset_watch import KeysetWatch
from roles.mint.keysets import KeyRing, KeysetBook, derive
from roles.mint.views import NEWEST, PREFIXES, Views
from tests.roles.mint.house import ISSUER, NOW, House
from tests.roles.mint.test_api import Api


@pytest.fixture
async def api(house: House, url: str) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(house, url, session)


UNITS = [Unit(ISSUER, number).name for number in range(NEWEST + 8)]


def _book(*units: str) -> KeysetBook:
    ring = KeyRing(b"\x44" * 32)
    return KeysetBook(derive(ring, unit, 0, 2, number=number) for number, unit in enumerate(units, 1))


async def _units(views: Views, prefix: str, unit: str = "") -> list[str]:
    return [keyset.unit for keyset in await views.keysets(prefix, unit)]


async def test_stock_wallets_see_money_alone_and_others_the_newest_shifts() -> None:
    book = _book(*UNITS[:3], "sat", *UNITS[3:])
    views = Views(book)
    assert await _units(views, PREFIXES[0]) == ["sat"]
    assert await _units(views, PREFIXES[1]) == UNITS[-NEWEST:]
    assert await _units(views, PREFIXES[2], UNITS[0].upper()) == [UNITS[0]]
    assert await _units(views, PREFIXES[2], Unit(ISSUER, 999).name) == []
    newer = derive(KeyRing(b"\x44" * 32), Unit(ISSUER, 999).name, 0, 2, number=999)
    book.add(newer)
    assert await _units(views, PREFIXES[1]) == [*UNITS[-NEWEST + 1 :], newer.unit]


async def test_a_mint_without_money_shows_the_newest_shifts_to_everybody() -> None:
    views = Views(_book(*UNITS))
    assert await _units(views, PREFIXES[0]) == UNITS[-NEWEST:]


async def test_a_unit_that_another_process_has_made_is_found_by_its_name(house: House) -> None:
    house.book.seek = KeysetWatch(house.book, house.database, house.seed, pause_s=0).seek
    made = await house.database.write(lambda c: keyset_rows.create(c, house.seed, UNITS[5], NOW))
    views = Views(house.book)
    assert await views.keysets(PREFIXES[2], UNITS[5]) == [made]


async def test_every_view_is_the_same_mint(api: Api) -> None:
    house = api.house
    made = await house.database.write(lambda c: keyset_rows.create(c, house.seed, "sat", NOW))
    house.book.add(made)
    quotes = await house.credit(4)
    for prefix, units in (("", {"sat"}), ("/hash", set(UNITS[:1])), (f"/hash/{house.unit}", {house.unit})):
        for path in ("keys", "keysets"):
            status, body = await api.get(f"{prefix}/v1/{path}")
            assert status == 200
            assert units <= {keyset["unit"] for keyset in body["keysets"]}
        _, info = await api.get(f"{prefix}/v1/info")
        assert info["pubkey"] == house.seed.info_key.hex()
        for keyset in house.book:
            _, one = await api.get(f"{prefix}/v1/keys/{keyset.keyset_id}")
            assert one["keysets"][0]["unit"] == keyset.unit
        status, quote = await api.get(f"{prefix}/v1/mint/quote/ehash/{quotes[0].quote_id}")
        assert (status, quote["amount"]) == (200, 4)
    _, plain = await api.get("/v1/keysets")
    assert {keyset["unit"] for keyset in plain["keysets"]} == {"sat"}
    status, refused = await api.get("/hash/hash_nothing/v1/keys")
    assert (status, refused["code"]) == (404, 11013)


async def _rotated(house: House, shifts: int) -> None:
    house.credits._rule = ShiftRule(block_hashes=1)
    for shift in range(shifts):
        await house.settle(Credits(house.seq, shift, 0, 0, (house.row(3),)))


async def test_shifts_are_told_the_newest_first_and_page_by_page(api: Api) -> None:
    await _rotated(api.house, 5)
    assert len(api.house.book) == 6
    told: list[Any] = []
    path = "/v1/ehash/shifts?limit=2"
    while path:
        status, page = await api.get(path)
        assert status == 200
        assert len(page["shifts"]) <= 2
        told += page["shifts"]
        path = page["next_cursor"] and f"/v1/ehash/shifts?limit=2&after={page['next_cursor']}"
    ours = [shift for shift in told if shift["issuer"] == ISSUER.hex()]
    assert [shift["shift"] for shift in ours] == [4, 3, 2, 1, 0]
    assert [shift["state"] for shift in ours] == ["open", "closed", "closed", "closed", "closed"]
    assert {(shift["credited"], shift["shares"], shift["valuation"]) for shift in ours} == {(3, 1, "target")}
    assert all(shift["keysets"] for shift in told)
    assert len(told) == 6
    status, one = await api.get(f"/v1/ehash/shifts/{UNITS[3]}")
    assert one == ours[1]
    status, refused = await api.get(f"/v1/ehash/shifts/{UNITS[9]}")
    assert (status, refused["code"]) == (400, 11013)
    _, nothing = await api.get(f"/v1/ehash/shifts?after={UNITS[9]}")
    assert nothing == {"shifts": [], "next_cursor": None}


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", "%D9%A1", "99999999999999999999"])
async def test_a_page_of_shifts_has_a_bound(api: Api, limit: str) -> None:
    status, _ = await api.get(f"/v1/ehash/shifts?limit={limit}")
    assert status == 400


async def test_a_new_shift_is_minted_and_swapped_like_any_other(house: House) -> None:
    await _rotated(house, 2)
    unit = UNITS[1]
    keyset = next(each for each in house.book if each.unit == unit)
    row = house.row(2)
    await house.settle(Credits(house.seq, 2, 0, 0, (row,)))
    shift = await house.teller.shift(unit)
    assert shift is not None
    assert shift.keysets == (keyset.keyset_id,)
    assert shift.closed_at == NOW
    assert replace(keyset, active=False) != keyset
