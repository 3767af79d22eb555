import asyncio
from pathlib import Path

import pytest

from roles.mint import keyset_rows
from roles.mint.errors import KeysetMismatchError
from roles.mint.keysets import KeysetBook
from roles.mint.seed import MintSeed
from roles.runtime.errors import OperatorError
from tests.roles.mint.house import NOW, House, open_house


async def test_every_keyset_is_made_from_the_seed_again_at_each_start(house: House) -> None:
    made = await house.database.write(lambda c: keyset_rows.create(c, house.seed, "sat", NOW))
    next_one = await house.database.write(lambda c: keyset_rows.create(c, house.seed, "sat", NOW))
    assert (made.index, next_one.index) == (0, 1)
    book = await house.database.read(lambda c: keyset_rows.load(c, house.seed))
    assert book.get(next_one.keyset_id) == next_one
    assert len(book) == 4


async def test_a_mint_does_not_run_on_another_seed(house: House) -> None:
    with pytest.raises(KeysetMismatchError, match="another seed") as caught:
        await house.database.read(lambda c: keyset_rows.load(c, MintSeed(b"\x01" * 32)))
    assert isinstance(caught.value, OperatorError)
    assert "seed.key" in caught.value.hint


@pytest.mark.parametrize(
    "change", ["denominations = 52", "input_fee_ppk = 1", "final_expiry = 5", "derivation_index = 9"]
)
async def test_a_mint_does_not_run_on_a_keyset_that_comes_out_differently(house: House, change: str) -> None:
    await house.database.write(
        lambda c: c.execute(f"UPDATE keyset SET {change} WHERE keyset_no = 1") and None
    )
    with pytest.raises(KeysetMismatchError, match="comes out as"):
        await house.database.read(lambda c: keyset_rows.load(c, house.seed))


async def test_a_restart_makes_no_second_keyset_for_an_issuer(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        house = await open_house(tmp_path)
        ids.append([keyset.keyset_id for keyset in house.book])
        await asyncio.to_thread(house.database.close)
    assert ids[0] == ids[1]
    assert len(ids[0]) == 2


async def test_the_store_itself_refuses_what_must_never_be(house: House) -> None:
    await house.credit(3)
    wrong = [
        "UPDATE quote SET amount_issued = 4",
        "UPDATE quote SET amount_issued = -1",
        "UPDATE quote SET pubkey = NULL",
        "UPDATE quote SET amount = 9007199254740992",
        "UPDATE keyset SET redeemed = 1",
        "UPDATE keyset SET issued = 9223372036854775807 + 1",
        "UPDATE keyset SET unit = 'SAT'",
        "INSERT INTO quote SELECT 9, 'x', method, unit, 1, 1, 0, 1, 1, pubkey, share_hash, 1, 9 FROM quote",
    ]
    for statement in wrong:
        with pytest.raises(Exception, match=r"constraint|cannot store|out of range"):
            await house.database.write(lambda c, sql=statement: c.execute(sql) and None)  # type: ignore[misc]


def test_keys_and_seed_do_not_show_in_a_representation(tmp_path: Path) -> None:
    seed = MintSeed(b"\x44" * 32)
    assert "44" not in repr(seed)
    assert "D" * 4 not in repr(seed)
    assert len({seed.quote_secret, seed.cursor_key, seed.fingerprint, seed.info_key}) == 4
    assert not list(KeysetBook())
