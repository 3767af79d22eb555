"""A mint that shows money under /v1, the newest ehash under /hash/v1 and each unit under /hash/<unit>/v1."""

import hashlib

from protocols.cashu import token
from roles.wallet import purse
from roles.wallet.restore import restore
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Home, Told
from tests.roles.wallet.fake_mint import UNIT, FakeMint


def unit(shift: int) -> str:
    return f"{UNIT[:-1]}{shift}"


async def total(wallet: Wallet) -> int:
    return sum(item.amount for item in await wallet.kit.database.read(purse.balances))


async def earn(wallet: Wallet, mint: FakeMint, shift: int, amount: int) -> None:
    alice = await wallet.key_for("alice")
    quote = mint.pay(alice.public_key, hashlib.sha256(bytes([shift])).digest(), amount, unit(shift))
    wallet.notice(alice.key_index, quote.share_hash, amount, quote.unit)
    await wallet.minter.mint_due()


async def test_ehash_is_minted_sent_and_received_by_the_view_of_its_unit(
    home: Home, mint: FakeMint, tell: Told
) -> None:
    mint.views = True
    wallet = await home.open()
    await tell(wallet, 1, 24)
    await wallet.minter.mint_due()
    for amount in (8, 3):
        sent = await wallet.sender.send(amount, "ehash")
        read = token.decode(sent.tokens[0].text or "")
        assert read.mint == f"{wallet.kit.mint.url}/hash/{UNIT}"
        stranger = await home.open_stranger(f"other{amount}", amount)
        assert (await stranger.receiver.receive(sent.tokens[0].text or "")).amount == amount
        assert await total(stranger) == amount


async def test_a_mint_without_views_is_named_by_its_own_address(home: Home, tell: Told) -> None:
    wallet = await home.open()
    await tell(wallet, 1, 8)
    await wallet.minter.mint_due()
    sent = await wallet.sender.send(8, "ehash")
    assert token.decode(sent.tokens[0].text or "").mint == wallet.kit.mint.url


async def test_a_restore_looks_at_every_shift_from_the_first_on(home: Home, mint: FakeMint) -> None:
    mint.views = True
    for shift in range(1, 40):
        mint.add_keyset(unit(shift))
    wallet = await home.open("old")
    await earn(wallet, mint, 1, 5)
    await earn(wallet, mint, 39, 7)
    again = await home.open("again")
    result = await restore(again)
    assert result.balance == 12
    assert result.keysets == 40
