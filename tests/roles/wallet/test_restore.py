import hashlib

import pytest

from protocols.cashu.curve import secret_point
from roles.wallet import identity, purse, request
from roles.wallet.errors import MintUnreachable, StoreNotEmptyError
from roles.wallet.restore import UNUSED_STRETCHES, check_empty, restore
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Clock, Home, Told
from tests.roles.wallet.fake_mint import UNIT, FakeMint, lose


@pytest.fixture(autouse=True)
def narrow_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unused keys cost a signature and a check each."""
    monkeypatch.setattr("roles.wallet.restore.UNUSED_STRETCHES", 2)


async def balance(wallet: Wallet) -> int:
    return sum(item.amount for item in await wallet.kit.database.read(purse.balances))


async def test_the_seed_alone_finds_every_token_and_mints_every_open_quote(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    first = await home.open("first")
    for number in range(40):
        await tell(first, number, 7)
    await first.minter.mint_due()
    for name in ("bob", "carol"):
        key = (await first.key_for(name)).public_key
        for number in range(4):
            mint.pay(key, hashlib.sha256(f"{name}{number}".encode()).digest(), 3)
    second = await home.open("second")
    await second.kit.database.read(check_empty)
    told: list[str] = []
    result = await restore(second, told.append)
    assert (result.quotes, result.waiting, result.balance) == (8, 0, 40 * 7 + 8 * 3)
    assert await balance(second) == mint.issued() == result.balance
    assert told


async def test_a_restored_wallet_goes_on_without_using_a_counter_or_a_key_again(
    home: Home, mint: FakeMint, clock: Clock, tell: Told
) -> None:
    first = await home.open("first")
    await tell(first, 1, 7)
    await first.minter.mint_due()
    second = await home.open("second")
    await restore(second)
    names = {item.key_index for item in await second.kit.database.read(identity.everyone)}
    assert (await second.key_for("dave")).key_index not in names
    outputs = set(mint.signed)
    mint.pay((await second.key_for("dave")).public_key, b"\x05" * 32, 7)
    await second.discovery.look_up_all()
    await second.minter.mint_due()
    assert await balance(second) == 14
    assert len(set(mint.signed) - outputs) == 3


async def test_spent_tokens_are_found_and_not_counted(home: Home, mint: FakeMint, tell: Told) -> None:
    first = await home.open("first")
    await tell(first, 1, 7)
    await first.minter.mint_due()
    held = await first.kit.database.read(purse.unspent)
    mint.spent.add(secret_point(held[0].proof.secret))
    second = await home.open("second")
    result = await restore(second)
    assert (result.proofs, result.spent, result.balance) == (3, 1, 6)


async def test_tokens_of_a_retired_keyset_are_found(home: Home, mint: FakeMint, tell: Told) -> None:
    first = await home.open("first")
    await tell(first, 1, 7)
    await first.minter.mint_due()
    next(iter(mint.keysets.values())).active = False
    mint.add_keyset(UNIT, 1)
    result = await restore(await home.open("second"))
    assert (result.keysets, result.balance) == (2, 7)


async def test_tokens_beyond_a_gap_of_two_hundred_counters_are_found(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    first = await home.open("first")
    await tell(first, 1, 7)
    await first.minter.mint_due()
    keyset_id = next(iter(mint.keysets))
    await first.kit.database.write(lambda c: request.reserve(c, keyset_id, 200))
    await tell(first, 2, 8)
    await first.minter.mint_due()
    assert (await restore(await home.open("second"))).balance == 15


async def test_tokens_beyond_a_wider_gap_are_found_because_the_mint_says_what_it_has_issued(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    first = await home.open("first")
    await tell(first, 1, 7)
    await first.minter.mint_due()
    keyset_id = next(iter(mint.keysets))
    # A mint that refuses for an hour: each attempt takes counters that are never signed.
    for number in (2, 3):
        await first.kit.database.write(lambda c: request.reserve(c, keyset_id, 1000))
        await tell(first, number, 8)
        await first.minter.mint_due()
    second = await home.open("second")
    assert (await restore(second)).balance == 7 + 8 + 8
    outputs = len(mint.signed)
    await tell(second, 9, 1)
    await second.minter.mint_due()
    assert len(mint.signed) == outputs + 1
    assert await balance(second) == mint.issued()


async def test_the_search_ends_where_tokens_were_issued_to_nobody_of_this_seed(
    home: Home, mint: FakeMint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.wallet.restore.WIDEST_GAP", 600)
    first = await home.open("first")
    mint.pay((await first.key_for("alice")).public_key, b"\x05" * 32, 9).issued = 9
    second = await home.open("second")
    told: list[str] = []
    assert (await restore(second, told.append)).balance == 0
    assert mint.paths().count("/v1/restore") == 3 + 6
    assert told == [f"{UNIT}: 9 were issued to these keys and not found"]


async def test_quotes_of_a_key_far_behind_unused_ones_are_found(
    home: Home, mint: FakeMint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.wallet.restore.UNUSED_STRETCHES", UNUSED_STRETCHES)
    first = await home.open("first")
    mint.pay(first.kit.keyring.quote_public(999), b"\x05" * 32, 9)
    assert (await restore(await home.open("second"))).balance == 9


async def test_a_restore_that_was_cut_short_is_run_again(home: Home, mint: FakeMint, tell: Told) -> None:
    first = await home.open("first")
    await tell(first, 1, 7)
    await first.minter.mint_due()
    await tell(first, 2, 5)
    second = await home.open("second")
    mint.after = lose
    with pytest.raises(MintUnreachable):
        await restore(second)
    mint.after = None
    assert (await restore(second)).balance == mint.issued() == 12


async def test_a_store_that_holds_something_is_not_empty(home: Home) -> None:
    wallet = await home.open()
    await wallet.key_for("alice")
    with pytest.raises(StoreNotEmptyError) as refusal:
        await wallet.kit.database.read(check_empty)
    assert "--state" in refusal.value.hint


async def test_what_was_swapped_does_not_hide_that_tokens_are_behind_a_gap(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    first = await home.open("first")
    await tell(first, 1, 7)
    await first.minter.mint_due()
    for _ in range(3):
        held = await first.kit.database.read(purse.unspent)
        await first.consolidation.merge(UNIT, [each.y for each in held])
    keyset_id = next(iter(mint.keysets))
    await first.kit.database.write(lambda c: request.reserve(c, keyset_id, 1000))
    await tell(first, 2, 8)
    await first.minter.mint_due()
    assert (await restore(await home.open("second"))).balance == 15
