import asyncio
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.lightning.invoice import decode
from roles.mint.lightning import fake as fake_module
from roles.mint.lightning.backend import Fate
from roles.mint.lightning.errors import BackendUnavailable
from roles.mint.lightning.fake import FakeBackend
from shared_config.bolt11 import FakeLightning
from tests.roles.mint.house import NOW, Clock
from tests.roles.mint.lightning.bank import NODE, foreign_invoice


def open_fake(directory: Path, settings: FakeLightning, clock: Clock | None = None) -> FakeBackend:
    return FakeBackend(
        settings,
        NODE,
        directory / "fake.jsonl",
        clock=clock or Clock(),
        entropy=lambda size: sha256(b"once")[:size],
    )


async def test_an_invoice_pays_itself_and_is_told_of_once(tmp_path: Path) -> None:
    node = open_fake(tmp_path, FakeLightning(pays_after_s=0))
    made = await node.create_invoice(5_000, "tea", 60)
    assert decode(made.request).expires_at == made.expires_at == NOW + 60
    async with asyncio.timeout(30):
        assert await anext(aiter(node.receipts())) == [made.payment_hash]
    assert await node.is_paid(made.payment_hash)
    node.receive(made.payment_hash)
    assert node._paid.empty()


async def test_an_invoice_pays_itself_early_when_somebody_asks(tmp_path: Path) -> None:
    node = open_fake(tmp_path, FakeLightning(pays_after_s=3600))
    made = await node.create_invoice(5_000, "", 60)
    assert await node.is_paid(made.payment_hash)
    patient = open_fake(tmp_path, FakeLightning(pays_after_s=3600, pays_when_asked=False))
    made = await patient.create_invoice(5_000, "", 60)
    assert not await patient.is_paid(made.payment_hash)
    await patient.close()


async def test_an_invoice_that_says_unpaid_waits_for_a_payer(tmp_path: Path) -> None:
    node = open_fake(tmp_path, FakeLightning(pays_after_s=0))
    waiting = await node.create_invoice(5_000, "fake: unpaid", 60)
    assert not await node.is_paid(waiting.payment_hash)
    node.receive(waiting.payment_hash)
    assert await node.is_paid(waiting.payment_hash)


async def test_a_cancelled_invoice_pays_itself_no_more(tmp_path: Path) -> None:
    node = open_fake(tmp_path, FakeLightning(pays_after_s=0))
    made = await node.create_invoice(5_000, "", 60)
    await node.cancel_invoice(made.payment_hash)
    await asyncio.sleep(0.01)
    assert node._paid.empty()


async def test_a_payment_costs_what_is_set_and_never_more_than_the_reserve(tmp_path: Path) -> None:
    node = open_fake(tmp_path, FakeLightning(fee_msat=1_000, fee_ppm=100))
    fate = await node.pay(foreign_invoice(10_000_000), 10_000_000, 50_000)
    assert (fate.outcome, fate.fee_msat) == ("paid", 2_000)
    assert fate.preimage is not None
    assert (await node.pay(foreign_invoice(10_000_000, number=2), 10_000_000, 1_500)).fee_msat == 1_500
    assert await node.pay(foreign_invoice(10_000_000), 10_000_000, 9_999) == fate


async def test_fates_outlive_the_node(tmp_path: Path) -> None:
    clock = Clock()
    node = open_fake(tmp_path, FakeLightning(), clock)
    fates = {}
    for number, text in enumerate(
        ("", "fake: failed", "fake: pending 5", "fake: pending 5 failed", "fake: pending"), 1
    ):
        request = foreign_invoice(4_000, text, number)
        fates[decode(request).payment_hash] = await node.pay(request, 4_000, 2_000)
    assert [fate.outcome for fate in fates.values()] == ["paid", "failed", "pending", "pending", "paid"]
    again = open_fake(tmp_path, FakeLightning(), clock)
    assert [await again.find_payment(payment_hash) for payment_hash in fates] == list(fates.values())
    clock.now += 5
    outcomes = [(await again.find_payment(payment_hash)).outcome for payment_hash in fates]
    assert outcomes == ["paid", "failed", "paid", "failed", "paid"]
    assert await again.find_payment(bytes(32)) == Fate("unknown")


async def test_a_payment_may_take_its_time(tmp_path: Path) -> None:
    clock = Clock()
    node = open_fake(tmp_path, FakeLightning(pay_s=0.02), clock)
    paying = asyncio.create_task(node.pay(foreign_invoice(4_000), 4_000, 2_000))
    await asyncio.sleep(0)
    clock.now += 1
    assert (await paying).outcome == "paid"


async def test_the_answer_to_a_payment_may_be_lost(tmp_path: Path) -> None:
    node = open_fake(tmp_path, FakeLightning())
    request = foreign_invoice(4_000, "fake: lost")
    with pytest.raises(BackendUnavailable):
        await node.pay(request, 4_000, 2_000)
    assert (await node.find_payment(decode(request).payment_hash)).outcome == "paid"


async def test_what_failed_can_be_tried_again(tmp_path: Path) -> None:
    node = open_fake(tmp_path, FakeLightning())
    request = foreign_invoice(4_000, "fake: failed")
    assert (await node.pay(request, 4_000, 2_000)).outcome == "failed"
    assert (await node.pay(request, 4_000, 2_000)).outcome == "failed"
    assert len((tmp_path / "fake.jsonl").read_text().splitlines()) == 2


async def test_old_payments_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_module, "KEPT", 3)
    node = open_fake(tmp_path, FakeLightning())
    requests = [foreign_invoice(4_000, number=number) for number in range(10)]
    for request in requests:
        await node.pay(request, 4_000, 2_000)
    assert len((tmp_path / "fake.jsonl").read_text().splitlines()) <= 6
    assert (await node.find_payment(decode(requests[0]).payment_hash)).outcome == "unknown"
    assert (await node.find_payment(decode(requests[-1]).payment_hash)).outcome == "paid"


async def test_processes_of_one_mint_know_of_each_others_payments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_module, "KEPT", 2)
    nodes = [open_fake(tmp_path, FakeLightning()) for _ in range(2)]
    for number in range(9):
        request = foreign_invoice(10_000, number=number)
        paid = await nodes[number % 2].pay(request, 10_000, 1_000)
        assert await nodes[1 - number % 2].find_payment(decode(request).payment_hash) == paid
        assert (await nodes[1 - number % 2].pay(request, 10_000, 1_000)) == paid
    assert len((tmp_path / "fake.jsonl").read_text().splitlines()) <= 4
