import json
from collections.abc import Awaitable, Callable

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import dleq, token
from protocols.cashu.lock import Lock
from protocols.cashu.models import Proof
from roles.wallet import handout, history, purse
from roles.wallet.errors import (
    ForeignTokenError,
    MintUnreachable,
    NotEnoughError,
    TokenError,
    TokenSpentError,
)
from roles.wallet.locking import drawing
from roles.wallet.wallet import Wallet
from tests.roles.wallet.conftest import Home, Told
from tests.roles.wallet.fake_mint import UNIT, FakeMint, lose

LOCK = Lock((public_key(b"\x51" * 32),))
Rich = Callable[..., Awaitable[Wallet]]


@pytest.fixture
async def rich(home: Home, tell: Told) -> Rich:
    """Opens a wallet that holds the given amounts, each minted on its own."""

    async def open_rich(*amounts: int, name: str = "store") -> Wallet:
        wallet = await home.open(name)
        for number, amount in enumerate(amounts):
            await tell(wallet, number, amount)
            await wallet.minter.mint_due()
        return wallet

    return open_rich


async def balance(wallet: Wallet, unit: str | None = None) -> int:
    held = await wallet.kit.database.read(purse.balances)
    return sum(item.amount for item in held if unit in {None, item.unit})


async def is_explained(wallet: Wallet) -> bool:
    """Whether the history sums to the balance."""
    events = await wallet.kit.database.read(lambda c: history.events(c, 1000))
    return sum(event.amount for event in events) == await balance(wallet)


async def test_tokens_that_make_the_sum_are_handed_out_without_the_mint(rich: Rich, mint: FakeMint) -> None:
    wallet = await rich(0b1011)
    sent = await wallet.sender.send(9, UNIT)
    assert "/v1/swap" not in mint.paths()
    (made,) = sent.tokens
    read = token.decode(made.text or "")
    assert (read.amount, read.unit, sent.fee) == (9, UNIT, 0)
    keys = next(iter(mint.keysets.values())).public.keys
    assert all(dleq.verify_proof(keys[proof.amount], proof) for proof in read.proofs)
    assert await balance(wallet) == 2
    assert await is_explained(wallet)


async def test_a_sum_that_is_not_held_in_tokens_is_swapped_for(rich: Rich, mint: FakeMint) -> None:
    wallet = await rich(16)
    sent = await wallet.sender.send(5, "ehash", memo="for bread")
    assert mint.paths().count("/v1/swap") == 1
    read = token.decode(sent.tokens[0].text or "")
    assert (read.amount, read.memo) == (5, "for bread")
    assert await balance(wallet) == 11
    assert await is_explained(wallet)
    with pytest.raises(NotEnoughError, match="11 can be"):
        await wallet.sender.send(12, "ehash")


async def test_another_wallet_receives_what_was_sent_and_the_first_one_hears_of_it(
    rich: Rich, home: Home, mint: FakeMint
) -> None:
    first = await rich(16)
    sent = await first.sender.send(5, "ehash", memo="hello")
    other = await home.open_stranger("other")
    received = await other.receiver.receive(sent.tokens[0].text or "")
    assert (received.amount, received.fee, received.is_checked, received.memo) == (5, 0, True, "hello")
    assert await balance(other) == 5
    assert await is_explained(other)
    with pytest.raises(TokenSpentError):
        await (await home.open_stranger("third", 3)).receiver.receive(sent.tokens[0].text or "")
    assert [item.state for item in await first.sender.look_after()] == ["claimed"]
    assert await balance(first) == 11


async def test_a_token_that_nobody_took_is_taken_back(rich: Rich) -> None:
    wallet = await rich(16)
    sent = await wallet.sender.send(5, "ehash")
    received = await wallet.receiver.receive(sent.tokens[0].text or "")
    assert received.amount == 5
    assert await balance(wallet) == 16
    (item,) = await wallet.kit.database.read(lambda c: handout.newest(c, 10))
    assert (item.state, item.text) == ("returned", None)
    events = await wallet.kit.database.read(lambda c: history.events(c, 10))
    assert [(event.kind, event.amount) for event in events] == [("return", 5), ("send", -5), ("mint", 16)]


async def test_ehash_is_taken_from_the_oldest_shifts_first(home: Home, mint: FakeMint, tell: Told) -> None:
    wallet = await home.open()
    units = [UNIT[:-1] + shift for shift in ("10", "9", "2")]
    for number, unit in enumerate(units):
        mint.add_keyset(unit)
        alice = await wallet.key_for("alice")
        quote = mint.pay(alice.public_key, bytes([number]) * 32, 8, unit)
        wallet.notice(alice.key_index, quote.share_hash, 8, unit)
    await wallet.minter.mint_due()
    sent = await wallet.sender.send(17, "ehash")
    told = [(item.unit.rsplit("_", 1)[1], item.amount) for item in sent.tokens]
    assert told == [("2", 8), ("9", 8), ("10", 1)]
    assert await balance(wallet) == 7


async def test_fees_are_paid_by_the_sender_for_the_swap_and_by_the_receiver_for_his(
    rich: Rich, home: Home, mint: FakeMint
) -> None:
    mint.keysets.clear()
    mint.add_keyset(UNIT, fee=500)
    wallet = await rich(64)
    sent = await wallet.sender.send(20, "ehash")
    assert (sent.amount, sent.fee) == (20, 1)
    assert await balance(wallet) == 43
    other = await home.open_stranger("other")
    received = await other.receiver.receive(sent.tokens[0].text or "")
    assert (received.amount, received.fee) == (19, 1)
    assert await is_explained(wallet)
    assert await is_explained(other)


async def test_a_lost_answer_to_a_swap_is_asked_for_with_the_same_bytes(rich: Rich, mint: FakeMint) -> None:
    wallet = await rich(16)
    mint.after = lose
    with pytest.raises(MintUnreachable):
        await wallet.sender.send(5, "ehash")
    assert await balance(wallet) == 0
    mint.after = None
    await wallet.exchanger.settle_open()
    bodies = [body for path, body in mint.seen if path == "/v1/swap"]
    assert bodies[0] == bodies[1]
    assert await balance(wallet) == 11
    (item,) = await wallet.kit.database.read(handout.still_out)
    assert token.decode(item.text or "").amount == 5
    assert await is_explained(wallet)


@pytest.mark.parametrize("replays", [True, False])
async def test_a_swap_of_a_former_life_is_settled_by_the_next(
    rich: Rich, home: Home, mint: FakeMint, replays: bool
) -> None:
    mint.replays = replays
    wallet = await rich(16)
    mint.after = lose
    with pytest.raises(MintUnreachable):
        await wallet.sender.send(5, "ehash", lock=drawing(LOCK, wallet.kit.entropy))
    wallet.kit.database.close()
    mint.after = None
    again = await home.open()
    await again.exchanger.settle_open()
    assert await balance(again) == 11
    (item,) = await again.kit.database.read(handout.still_out)
    assert item.is_locked
    assert json.loads(token.decode(item.text or "").proofs[0].secret)[0] == "P2PK"


async def test_a_refused_swap_gives_its_tokens_back(rich: Rich, mint: FakeMint) -> None:
    wallet = await rich(16)
    (keyset,) = mint.keysets.values()
    keyset.active = False
    mint.add_keyset(UNIT, index=1)
    sent = await wallet.sender.send(5, "ehash")
    assert sent.tokens[0].amount == 5
    assert mint.paths().count("/v1/swap") == 2
    assert await balance(wallet) == 11
    assert await is_explained(wallet)


async def test_tokens_that_another_wallet_of_the_seed_has_spent_are_found_out(
    rich: Rich, mint: FakeMint
) -> None:
    wallet = await rich(16, 8)
    (first, *_) = await wallet.kit.database.read(purse.unspent)
    mint.spent.add(first.y)
    with pytest.raises(NotEnoughError):
        await wallet.sender.send(21, "ehash")
    assert await balance(wallet) == 16
    assert (await wallet.sender.send(3, "ehash")).amount == 3
    assert await is_explained(wallet)


async def test_a_payment_of_many_small_tokens_puts_them_together_first(rich: Rich, mint: FakeMint) -> None:
    wallet = await rich(*[1] * 12)
    wallet.sender.inputs = 5
    sent = await wallet.sender.send(11, "ehash", lock=drawing(LOCK, wallet.kit.entropy))
    assert sent.amount == 11
    sizes = [len(json.loads(body)["inputs"]) for path, body in mint.seen if path == "/v1/swap"]
    assert max(sizes) <= 5
    assert await balance(wallet) == 1


async def test_a_token_of_another_mint_is_refused(rich: Rich) -> None:
    wallet = await rich(16)
    sent = await wallet.sender.send(16, "ehash")
    read = token.decode(sent.tokens[0].text or "")
    foreign = token.encode_v4(token.Token("https://elsewhere.example", read.proofs, read.unit))
    with pytest.raises(ForeignTokenError, match=r"elsewhere\.example"):
        await wallet.receiver.receive(foreign)


async def test_a_token_that_is_damaged_or_forged_is_refused(rich: Rich, home: Home) -> None:
    wallet = await rich(16, 32)
    text = (await wallet.sender.send(16, "ehash")).tokens[0].text or ""
    read = token.decode(text)
    (proof,) = read.proofs
    assert proof.dleq is not None
    other = (await wallet.sender.send(32, "ehash")).tokens[0].text or ""
    (strange,) = token.decode(other).proofs
    forged = Proof(16, proof.keyset_id, proof.secret, strange.signature, None, proof.dleq)
    stranger = await home.open_stranger("other")
    for bad in (
        "",
        "cashuB",
        "lnbc1",
        text[:-9],
        token.encode_v4(token.Token(read.mint, (forged,), read.unit)),
    ):
        with pytest.raises(TokenError):
            await stranger.receiver.receive(bad)
    assert (await stranger.receiver.receive("cashu:" + text)).amount == 16


async def test_a_token_of_version_3_without_proofs_of_signature_is_received(rich: Rich, home: Home) -> None:
    wallet = await rich(16)
    read = token.decode((await wallet.sender.send(16, "ehash")).tokens[0].text or "")
    bare = tuple(proof.as_input() for proof in read.proofs)
    text = token.encode_v3(token.Token(read.mint, bare))
    received = await (await home.open_stranger("other")).receiver.receive(text)
    assert (received.amount, received.is_checked) == (16, False)


async def test_what_is_left_of_a_token_is_received(rich: Rich, home: Home, mint: FakeMint) -> None:
    wallet = await rich(0b11000)
    text = (await wallet.sender.send(24, "ehash")).tokens[0].text or ""
    mint.spent.add(purse.HeldProof(token.decode(text).proofs[0], None).y)
    received = await (await home.open_stranger("other")).receiver.receive(text)
    assert (received.amount, received.spent) == (16, 1)


async def test_the_wallet_does_not_receive_what_it_holds(rich: Rich) -> None:
    wallet = await rich(16)
    held = await wallet.kit.database.read(purse.unspent)
    text = token.encode_v4(
        token.Token(wallet.kit.mint.url, tuple(item.proof.as_input() for item in held), UNIT)
    )
    with pytest.raises(TokenError, match="already"):
        await wallet.receiver.receive(text)
    assert await balance(wallet) == 16
