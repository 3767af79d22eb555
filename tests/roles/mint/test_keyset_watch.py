"""Keysets that another process makes while this one serves."""

import asyncio
from dataclasses import replace

import pytest

from protocols.cashu.errors import KeysetUnknownError
from roles.mint import keyset_rows
from roles.mint.errors import KeysetMismatchError
from roles.mint.keyset_watch import KeysetWatch
from roles.mint.keysets import KeyRing, MintKeyset, derive
from roles.runtime.errors import ReadFailed
from tests.roles.mint.house import NOW, House

GARBAGE = "01" + "ab" * 32


def _watch(house: House, pause_s: float = 0.0) -> KeysetWatch:
    watch = KeysetWatch(house.book, house.database, house.seed, pause_s=pause_s)
    house.book.seek = watch.seek
    return watch


async def _elsewhere(house: House, unit: str = "sat") -> MintKeyset:
    """A keyset that is in the store and not in the book."""
    return await house.database.write(lambda c: keyset_rows.create(c, house.seed, unit, NOW))


async def test_a_keyset_that_another_process_has_made_is_found_when_it_is_named(house: House) -> None:
    _watch(house)
    made = await _elsewhere(house)
    basket = house.basket(1)
    basket.outputs[0] = replace(basket.outputs[0], keyset_id=made.keyset_id)
    with pytest.raises(KeysetUnknownError):
        house.book.get(made.keyset_id)
    await house.book.meet([made.keyset_id])
    assert house.book.get(made.keyset_id) == made
    assert house.book.last_number == made.number


async def test_no_crowd_that_names_keysets_at_random_makes_the_store_busy(house: House) -> None:
    watch = _watch(house, pause_s=0.02)
    async with asyncio.TaskGroup() as crowd:
        for number in range(500):
            crowd.create_task(house.book.meet([f"01{number:064x}"]))
    assert watch.looks == 2
    await house.book.meet([house.keyset_id])
    assert watch.looks == 2
    assert GARBAGE not in house.book


async def test_what_is_stored_while_a_look_is_under_way_is_found_by_the_next(house: House) -> None:
    watch = _watch(house, pause_s=0.02)
    first = asyncio.create_task(house.book.meet([GARBAGE]))
    while not watch.looks:
        await asyncio.sleep(0)
    made = await _elsewhere(house)
    await house.book.meet([made.keyset_id])
    assert made.keyset_id in house.book
    await first


async def test_a_caller_who_leaves_does_not_take_the_look_with_it(house: House) -> None:
    _watch(house, pause_s=0.02)
    made = await _elsewhere(house)
    leaver = asyncio.create_task(house.book.meet([GARBAGE]))
    stayer = asyncio.create_task(house.book.meet([made.keyset_id]))
    await asyncio.sleep(0)
    leaver.cancel()
    await stayer
    assert made.keyset_id in house.book


async def test_a_keyset_that_signs_no_more_elsewhere_signs_no_more_here(house: House) -> None:
    watch = _watch(house)
    await house.database.write(lambda c: c.execute("UPDATE keyset SET active = 0") and None)
    changes = house.book.changes
    await watch.refresh(everything=True)
    assert not any(keyset.active for keyset in house.book)
    assert house.book.changes == changes + 2
    await watch.refresh(everything=True)
    assert house.book.changes == changes + 2


async def test_a_store_that_cannot_be_read_leaves_the_book_as_it_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = _watch(house)

    async def fail(_: object) -> None:
        raise ReadFailed("the disk is gone")

    monkeypatch.setattr(house.database, "read", fail)
    await house.book.meet([GARBAGE])
    assert watch.looks == 2
    assert len(house.book) == 2


async def test_a_keyset_from_elsewhere_that_is_not_of_this_seed_is_refused(house: House) -> None:
    _watch(house)
    made = await _elsewhere(house)
    await house.database.write(
        lambda c: (
            c.execute("UPDATE keyset SET denominations = 9 WHERE keyset_no = ?", (made.number,)) and None
        )
    )
    with pytest.raises(KeysetMismatchError):
        await house.book.meet([made.keyset_id])
    assert made.keyset_id not in house.book


def test_only_the_keys_of_keysets_used_last_are_kept_and_others_come_out_the_same() -> None:
    ring = KeyRing(b"\x44" * 32, limit=3)
    keysets = [derive(ring, f"unit-{number}", 0, 8) for number in range(10)]
    assert len(ring) == 3
    again = [derive(KeyRing(b"\x44" * 32), f"unit-{number}", 0, 8) for number in range(10)]
    assert [keyset.key(4) for keyset in keysets] == [keyset.key(4) for keyset in again]
    assert [keyset.public_keys() for keyset in keysets] == [keyset.public_keys() for keyset in again]
    assert len(ring) == 3
