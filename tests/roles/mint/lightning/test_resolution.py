"""What an operator may say of a payment that is stuck."""

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.cashu.models import Proof
from protocols.lightning.invoice import Invoice, encode
from roles.mint import journal
from roles.mint.errors import RepairRefused
from roles.mint.lightning.errors import BackendUnavailable
from roles.mint.melting.quote import MeltQuote
from roles.mint.melting.resolution import Resolution
from tests.roles.mint.house import NOW
from tests.roles.mint.lightning.bank import GRACE_S, STRANGER, Bank
from tests.roles.mint.lightning.test_melting import check_books

PREIMAGE = bytes(range(32))
REASON = "seen at the node"


async def stuck(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> tuple[MeltQuote, list[Proof]]:
    """A melt whose tokens are put up, and that was never sent."""
    monkeypatch.setattr(bank.lightning.cashier, "pay", lambda _: None)
    invoice = Invoice("bc", 8_000, NOW, sha256(PREIMAGE), description="")
    quote = await bank.melt_quote(encode(invoice, STRANGER))
    proofs = await bank.tokens(8, 2)
    pending = await bank.desk.melt(bank.melt(quote, proofs, bank.basket(1, 1)), respond_async=True)
    assert pending.state == "PENDING"
    return quote, proofs


async def end(bank: Bank, quote: MeltQuote, outcome: str, **more: object) -> bool:
    resolution: Resolution = bank.lightning.resolution
    given = {"preimage": None, "routing_msat": None, "unasked": False} | more
    return await resolution.resolve(quote.quote_id, outcome, REASON, **given)  # type: ignore[arg-type]


async def actions(bank: Bank) -> list[tuple[str, str]]:
    entries = await bank.house.database.read(lambda c: journal.latest(c, 10))
    return [(entry.action, entry.detail) for entry in entries]


async def test_a_melt_that_was_never_sent_is_failed_once_no_call_can_be_on_its_way(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote, proofs = await stuck(bank, monkeypatch)
    with pytest.raises(RepairRefused, match="on its way"):
        await end(bank, quote, "failed")
    bank.house.clock.now += GRACE_S + 1
    assert await end(bank, quote, "failed")
    assert await bank.states(proofs) == ["UNSPENT", "UNSPENT"]
    assert await actions(bank) == [("fail", f"{REASON} (the node says unknown)")]
    with pytest.raises(RepairRefused, match="not pending, it is unpaid"):
        await end(bank, quote, "failed")
    await check_books(bank)


async def test_a_melt_that_the_node_has_forgotten_is_settled_with_its_proof_and_its_change(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote, proofs = await stuck(bank, monkeypatch)
    with pytest.raises(RepairRefused, match="not of this invoice"):
        await end(bank, quote, "paid", preimage=sha256(b"another"))
    assert await end(bank, quote, "paid", preimage=PREIMAGE, routing_msat=1_000)
    paid = await bank.desk.quote(quote.quote_id)
    assert (paid.state, sum(each.amount for each in paid.change or ())) == ("PAID", 1)
    assert await bank.states(proofs) == ["SPENT", "SPENT"]
    await check_books(bank)


async def test_without_a_cost_the_whole_reserve_counts_as_spent(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote, _ = await stuck(bank, monkeypatch)
    assert await end(bank, quote, "paid")
    assert not (await bank.desk.quote(quote.quote_id)).change
    await check_books(bank)


async def test_what_the_node_knows_counts_more_than_what_an_operator_says(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote, proofs = await stuck(bank, monkeypatch)
    await bank.node.pay(quote.request, 8_000, 2_000)
    bank.house.clock.now += GRACE_S + 1
    with pytest.raises(RepairRefused, match="has paid"):
        await end(bank, quote, "failed")
    assert await bank.states(proofs) == ["PENDING", "PENDING"]
    assert await end(bank, quote, "paid", routing_msat=2_000)
    paid = await bank.desk.quote(quote.quote_id)
    assert sum(each.amount for each in paid.change or ()) == 1, "what the node says that routing cost"
    await check_books(bank)


async def test_a_node_that_does_not_answer_is_gone_only_when_the_operator_says_so(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    quote, proofs = await stuck(bank, monkeypatch)

    async def away(_: bytes) -> None:
        raise BackendUnavailable("it is away")

    monkeypatch.setattr(bank.node, "find_payment", away)
    with pytest.raises(RepairRefused, match="does not say"):
        await end(bank, quote, "failed")
    assert await actions(bank) == []
    assert await end(bank, quote, "failed", unasked=True)
    assert await bank.states(proofs) == ["UNSPENT", "UNSPENT"]
    assert await actions(bank) == [("fail", f"{REASON} (the node was not asked)")]


async def test_a_quote_that_is_none_is_refused(bank: Bank) -> None:
    with pytest.raises(RepairRefused, match="no melt quote"):
        await bank.lightning.resolution.resolve(
            "none", "paid", REASON, preimage=None, routing_msat=None, unasked=False
        )
