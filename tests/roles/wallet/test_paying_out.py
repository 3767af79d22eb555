import json

import pytest

from protocols.lightning.invoice import Invoice, encode
from roles.wallet import history, purse
from roles.wallet.errors import MintUnreachable, MintWaitsError, NotEnoughError, RequestError
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Clock, Home
from tests.roles.wallet.fake_mint import FakeMint

PREIMAGE = "07" * 32


def bill(clock: Clock, sats: int | None, *, description: str = "a coffee", expiry_s: int = 600) -> str:
    msat = None if sats is None else sats * 1000
    now = int(clock.now())
    return encode(
        Invoice("bc", msat, now, bytes(32), description=description, expiry_s=expiry_s), b"\x09" * 32
    )


@pytest.fixture
async def wallet(home: Home, mint: FakeMint) -> Wallet:
    """A wallet with 100 sat, in tokens of 4, 32 and 64."""
    mint.add_keyset("sat")
    opened = await home.open()
    assert (await opened.receiver.receive(mint.give(opened.kit.mint.url, 100))).amount == 100
    return opened


async def sats(wallet: Wallet) -> int:
    return sum(item.amount for item in await wallet.kit.database.read(purse.balances))


async def explained(wallet: Wallet) -> int:
    return sum(event.amount for event in await wallet.kit.database.read(lambda c: history.events(c, 100)))


async def test_an_invoice_is_paid_and_what_was_too_much_comes_back(wallet: Wallet, home: Home) -> None:
    paid = await wallet.paying_out.pay(bill(home.clock, 20))
    assert (paid.amount, paid.fee, paid.preimage) == (20, 1, PREIMAGE)
    assert await sats(wallet) == 79
    (event, *_) = await wallet.kit.database.read(lambda c: history.events(c, 1))
    assert (event.kind, event.amount, event.fee, event.note) == ("melt", -21, 1, "a coffee")
    assert await explained(wallet) == 79


async def test_a_payment_that_fails_costs_nothing(wallet: Wallet, home: Home, mint: FakeMint) -> None:
    mint.fate = "UNPAID"
    with pytest.raises(RequestError, match="nothing was spent: no way was found"):
        await wallet.paying_out.pay(bill(home.clock, 20))
    assert await sats(wallet) == 100
    assert await explained(wallet) == 100


async def test_a_payment_under_way_is_waited_for_and_not_paid_again(
    wallet: Wallet, home: Home, mint: FakeMint
) -> None:
    mint.fate = "PENDING"
    with pytest.raises(MintWaitsError, match="under way"):
        await wallet.paying_out.pay(bill(home.clock, 20))
    for _ in range(2):
        with pytest.raises(MintUnreachable):
            await wallet.exchanger.settle_open()
    assert await sats(wallet) < 80
    mint.arrive("melt0")
    await wallet.exchanger.settle_open()
    assert await sats(wallet) == 79
    assert mint.paths().count("/v1/melt/bolt11") == 1
    assert await explained(wallet) == 79


async def test_a_payment_that_fails_after_a_while_gives_its_tokens_back(
    wallet: Wallet, home: Home, mint: FakeMint
) -> None:
    mint.fate = "PENDING"
    with pytest.raises(MintWaitsError):
        await wallet.paying_out.pay(bill(home.clock, 20))
    mint.melts["melt0"]["state"] = "UNPAID"
    await wallet.exchanger.settle_open()
    assert await sats(wallet) == 100
    assert mint.paths().count("/v1/melt/bolt11") == 1


@pytest.mark.parametrize("tells_change", [True, False])
async def test_an_answer_that_was_lost_is_found_by_the_next_life(
    wallet: Wallet, home: Home, mint: FakeMint, tells_change: bool
) -> None:
    async def cut(request: object, body: bytes) -> object:
        if mint.seen[-1][0] == "/v1/melt/bolt11":
            request.transport.abort()  # type: ignore[attr-defined]
            return object()
        return None

    mint.after = cut  # type: ignore[assignment]
    with pytest.raises(MintWaitsError):
        await wallet.paying_out.pay(bill(home.clock, 20))
    wallet.kit.database.close()
    mint.after = None
    if not tells_change:
        mint.melts["melt0"].pop("change")
    again = await home.open()
    await again.exchanger.settle_open()
    assert await sats(again) == 79
    assert await explained(again) == 79


async def test_a_melt_that_never_reached_the_mint_is_sent_by_the_next_life(
    wallet: Wallet, home: Home, mint: FakeMint
) -> None:
    async def cut(request: object, body: bytes) -> object:
        if mint.seen[-1][0] == "/v1/melt/bolt11":
            request.transport.abort()  # type: ignore[attr-defined]
            return object()
        return None

    mint.before = cut  # type: ignore[assignment]
    with pytest.raises(MintWaitsError):
        await wallet.paying_out.pay(bill(home.clock, 20))
    mint.before = None
    wallet.kit.database.close()
    again = await home.open()
    await again.exchanger.settle_open()
    assert await sats(again) == 79
    bodies = [body for path, body in mint.seen if path == "/v1/melt/bolt11"]
    assert bodies[0] == bodies[1]
    assert "dleq" not in json.loads(bodies[0])["inputs"][0]


async def test_what_cannot_be_paid_is_said(wallet: Wallet, home: Home, mint: FakeMint) -> None:
    pay = wallet.paying_out.pay
    with pytest.raises(RequestError, match="no invoice that can be read"):
        await pay("lnbc1nonsense")
    with pytest.raises(RequestError, match="names no amount"):
        await pay(bill(home.clock, None))
    with pytest.raises(RequestError, match="4 sat aside"):
        await pay(bill(home.clock, 20), max_fee=3)
    with pytest.raises(NotEnoughError):
        await pay(bill(home.clock, 97))
    late = bill(home.clock, 20, expiry_s=60)
    home.clock.advance(61)
    with pytest.raises(RequestError, match="expired"):
        await pay(late)
    assert await sats(wallet) == 100
