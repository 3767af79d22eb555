from collections.abc import Awaitable, Callable

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import token
from protocols.cashu.lock import Lock
from roles.wallet import purse
from roles.wallet.errors import TokenLockedError
from roles.wallet.locking import drawing
from roles.wallet.wallet import Wallet
from tests.roles.mint.conftest import url
from tests.roles.mint.house import House
from tests.roles.wallet.conftest import Home
from tests.roles.wallet.test_with_the_mint import credit, home, house

__all__ = ["home", "house", "url"]

Locked = Callable[..., Awaitable[str]]
SECRET = b"\x61" * 32
STRANGE = public_key(b"\x62" * 32)


@pytest.fixture
async def locked(house: House, home: Home) -> Locked:
    """Makes a token with a lock, of 5 by default."""

    async def make(lock: Lock, *, blinded: bool = False, amount: int = 5) -> str:
        wallet = await home.open("giver")
        await credit(house, wallet, 16)
        await wallet.minter.mint_due()
        draw = drawing(lock, wallet.kit.entropy, blinded=blinded)
        sent = await wallet.sender.send(amount, "ehash", lock=draw)
        return sent.tokens[0].text or ""

    return make


async def balance(wallet: Wallet) -> int:
    return sum(item.amount for item in await wallet.kit.database.read(purse.balances))


@pytest.fixture
async def taker(home: Home) -> Wallet:
    return await home.open_stranger("taker")


@pytest.mark.parametrize("sig_all", [False, True])
@pytest.mark.parametrize("blinded", [False, True])
async def test_a_token_locked_to_a_key_of_the_wallet_is_received_by_it_alone(
    locked: Locked, home: Home, taker: Wallet, sig_all: bool, blinded: bool
) -> None:
    key = (await taker.key_for("bob")).public_key
    text = await locked(Lock((key,), sig_all=sig_all), blinded=blinded)
    assert (key.hex() in token.decode(text).proofs[0].secret) is not blinded
    other = await home.open_stranger("other", 3)
    await other.key_for("mallory")
    with pytest.raises(TokenLockedError, match="locked to"):
        await other.receiver.receive(text)
    assert (await taker.receiver.receive(text)).amount == 5
    assert await balance(taker) == 5


async def test_a_private_key_that_is_brought_opens_a_token(locked: Locked, taker: Wallet) -> None:
    text = await locked(Lock((public_key(SECRET),)))
    with pytest.raises(TokenLockedError):
        await taker.receiver.receive(text)
    assert (await taker.receiver.receive(text, secret=SECRET)).amount == 5


async def test_a_lock_opens_for_the_refund_key_when_its_time_has_come(
    house: House, home: Home, locked: Locked, taker: Wallet
) -> None:
    key = (await taker.key_for("bob")).public_key
    until = int(home.clock.now()) + 60
    text = await locked(Lock((STRANGE,), locktime=until, refund=(key,)))
    with pytest.raises(TokenLockedError, match="until 20"):
        await taker.receiver.receive(text)
    home.clock.advance(61)
    house.clock.now += 61
    assert (await taker.receiver.receive(text)).amount == 5


async def test_a_hash_opens_for_its_preimage(locked: Locked, taker: Wallet) -> None:
    preimage = b"\x07" * 32
    text = await locked(Lock((), preimage_hash=sha256(preimage)))
    for wrong in (None, b"\x08" * 32):
        with pytest.raises(TokenLockedError, match="HTLC"):
            await taker.receiver.receive(text, preimage=wrong)
    assert (await taker.receiver.receive(text, preimage=preimage)).amount == 5
