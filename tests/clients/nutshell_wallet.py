"""Plays scenes with the nutshell wallet against a mint, and prints what became of each as a line of JSON.

Run by nutshell's own Python, never imported: `python nutshell_wallet.py '{"url": …, "scenes": […]}'`.
"""

import asyncio
import contextlib
import hashlib
import inspect
import io
import json
import secrets
import shutil
import sys
import tempfile
import traceback
from typing import Any

from cashu.core.base import MeltQuoteState, MintQuoteState, Proof
from cashu.core.helpers import sum_proofs
from cashu.core.secret import Tags
from cashu.wallet.helpers import deserialize_token_from_string, receive
from cashu.wallet.wallet import Wallet

PATIENCE_S = 250


class Stage:
    """What a scene is given: wallets of one mint, and money."""

    def __init__(self, url: str, directory: str) -> None:
        self.url = url
        self._directory = directory

    async def begin(self) -> None:
        """Make the empty store that every wallet's is a copy of, since making one takes long."""
        await Wallet.with_db(self.url, f"{self._directory}/empty", skip_db_read=True)

    async def wallet(self, mnemonic: str | None = None) -> Wallet:
        """A wallet with a store of its own that knows the mint's keys."""
        store = f"{self._directory}/{secrets.token_hex(8)}"
        shutil.copytree(f"{self._directory}/empty", store)
        wallet = await Wallet.with_db(self.url, store)
        if mnemonic is not None:
            await wallet._init_private_key(mnemonic)
        await wallet.load_mint()
        return wallet

    async def quote(self, wallet: Wallet, amount: int) -> str:
        """A quote whose invoice has been paid."""
        quote = await wallet.request_mint(amount)
        while (await wallet.get_mint_quote(quote.quote)).state != MintQuoteState.paid:
            await asyncio.sleep(0.05)
        return str(quote.quote)

    async def fund(self, wallet: Wallet, amount: int) -> list[Proof]:
        """Tokens of an amount; its quote is locked to a key of its own, as this wallet always does."""
        return list(await wallet.mint(amount, await self.quote(wallet, amount)))


async def a_quote_is_minted_to_its_whole_amount(stage: Stage) -> None:
    wallet = await stage.wallet()
    proofs = await stage.fund(wallet, 100)
    assert sum_proofs(proofs) == wallet.balance.amount == 100
    assert all(proof.dleq for proof in proofs)


async def amounts_may_be_chosen(stage: Stage) -> None:
    wallet = await stage.wallet()
    proofs = await wallet.mint(64, await stage.quote(wallet, 64), split=[32, 16, 8, 8])
    assert [proof.amount for proof in proofs] == [32, 16, 8, 8]


async def a_quote_is_not_minted_twice(stage: Stage) -> None:
    wallet = await stage.wallet()
    quote = await stage.quote(wallet, 64)
    await wallet.mint(64, quote)
    assert "20002" in await refused(wallet.mint(64, quote))


async def tokens_are_split_and_the_rest_kept(stage: Stage) -> None:
    wallet = await stage.wallet()
    proofs = await stage.fund(wallet, 64)
    keep, send = await wallet.split(proofs, 20)
    assert sum_proofs(send) == 20
    assert sum_proofs(keep) == 44 - wallet.get_fees_for_proofs(proofs)


async def a_token_of_the_present_form_is_received(stage: Stage) -> None:
    await _sent_and_received(stage, legacy=False)


async def a_token_of_the_older_form_is_received(stage: Stage) -> None:
    await _sent_and_received(stage, legacy=True)


async def _sent_and_received(stage: Stage, *, legacy: bool) -> None:
    wallet, other = await stage.wallet(), await stage.wallet()
    await stage.fund(wallet, 100)
    _, send = await wallet.swap_to_send(wallet.proofs, 32, set_reserved=True)
    token = await wallet.serialize_proofs(send, include_dleq=True, legacy=legacy)
    assert token.startswith("cashuA" if legacy else "cashuB")
    fee = other.get_fees_for_proofs(send)
    await receive(other, deserialize_token_from_string(token))
    assert other.balance.amount == 32 - fee
    assert "11001" in await refused(wallet.redeem(send))


async def spent_and_unspent_are_told_apart(stage: Stage) -> None:
    wallet = await stage.wallet()
    proofs = await stage.fund(wallet, 64)
    _, send = await wallet.swap_to_send(proofs, 16)
    assert [state.unspent for state in (await wallet.check_proof_state(send)).states] == [True] * len(send)
    await wallet.redeem(send)
    assert not any(state.unspent for state in (await wallet.check_proof_state(send)).states)


async def of_two_who_spend_the_same_one_fails(stage: Stage) -> None:
    wallet = await stage.wallet()
    proofs = await stage.fund(wallet, 64)
    outcomes = await asyncio.gather(
        *(other.redeem(proofs) for other in [await stage.wallet() for _ in range(6)]), return_exceptions=True
    )
    lost = [str(outcome) for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(lost) == 5, lost
    assert all("11001" in text or "11002" in text for text in lost), lost


async def a_locked_token_is_received_by_its_owner_alone(stage: Stage) -> None:
    wallet, owner, thief = await stage.wallet(), await stage.wallet(), await stage.wallet()
    await stage.fund(wallet, 64)
    lock = await wallet.create_p2pk_lock(await owner.create_p2pk_pubkey())
    _, send = await wallet.swap_to_send(wallet.proofs, 16, secret_lock=lock)
    await refused(thief.redeem(send))
    await owner.redeem(send)
    assert owner.balance.amount == 16 - owner.get_fees_for_proofs(send)


async def a_signature_over_everything_opens_a_lock(stage: Stage) -> None:
    wallet, owner = await stage.wallet(), await stage.wallet()
    await stage.fund(wallet, 64)
    lock = await wallet.create_p2pk_lock(await owner.create_p2pk_pubkey(), sig_all=True)
    _, send = await wallet.swap_to_send(wallet.proofs, 16, secret_lock=lock)
    await owner.redeem(send)
    assert owner.balance.amount == 16 - owner.get_fees_for_proofs(send)


async def a_lock_that_has_passed_is_opened_by_the_refund_key(stage: Stage) -> None:
    wallet, stranger = await stage.wallet(), await stage.wallet()
    await stage.fund(wallet, 64)
    tags = Tags([["refund", await wallet.create_p2pk_pubkey()], ["locktime", "1000000000"]])
    lock = await wallet.create_p2pk_lock(await stranger.create_p2pk_pubkey(), tags=tags)
    _, send = await wallet.swap_to_send(wallet.proofs, 16, secret_lock=lock)
    await wallet.redeem(send)


async def a_preimage_opens_a_hash_lock(stage: Stage) -> None:
    wallet, owner = await stage.wallet(), await stage.wallet()
    await stage.fund(wallet, 64)
    preimage = secrets.token_hex(32)
    lock = await wallet.create_htlc_lock(preimage=preimage)
    _, send = await wallet.swap_to_send(wallet.proofs, 16, secret_lock=lock)
    await owner.add_htlc_preimage_to_proofs(send, secrets.token_hex(32))
    await refused(owner.redeem(send))
    await owner.add_htlc_preimage_to_proofs(send, preimage)
    await owner.redeem(send)
    assert owner.balance.amount == 16 - owner.get_fees_for_proofs(send)


async def a_preimage_and_a_signature_open_a_hash_lock(stage: Stage) -> None:
    wallet, owner, thief = await stage.wallet(), await stage.wallet(), await stage.wallet()
    await stage.fund(wallet, 64)
    preimage = secrets.token_hex(32)
    digest = hashlib.sha256(bytes.fromhex(preimage)).hexdigest()
    lock = await wallet.create_htlc_lock(
        preimage_hash=digest, hashlock_pubkeys=[await owner.create_p2pk_pubkey()]
    )
    _, send = await wallet.swap_to_send(wallet.proofs, 16, secret_lock=lock)
    await thief.add_htlc_preimage_to_proofs(send, preimage)
    await refused(thief.redeem(send))
    await owner.add_htlc_preimage_to_proofs(send, preimage)
    await owner.redeem(send)


async def words_restore_what_is_unspent(stage: Stage) -> None:
    wallet = await stage.wallet()
    await stage.fund(wallet, 100)
    keep, _ = await wallet.swap_to_send(wallet.proofs, 21)
    heir = await stage.wallet(wallet.mnemonic)
    with contextlib.redirect_stdout(io.StringIO()):
        await heir.restore_wallet_from_mnemonic(wallet.mnemonic)
    assert {proof.secret for proof in keep} <= {proof.secret for proof in heir.proofs}
    assert heir.balance.amount == wallet.balance.amount
    await heir.redeem(heir.proofs)


async def an_invoice_of_another_mint_is_paid_and_the_rest_comes_back(stage: Stage) -> None:
    wallet = await stage.wallet()
    await stage.fund(wallet, 3_000)
    invoice = INVOICES["plain"].pop()
    quote = await wallet.melt_quote(invoice)
    assert quote.fee_reserve > 0
    send, _ = await wallet.select_to_send(wallet.proofs, quote.amount + quote.fee_reserve, include_fees=True)
    before = wallet.balance.amount
    paid = await wallet.melt(send, invoice, quote.fee_reserve, quote.quote)
    assert paid.state == MeltQuoteState.paid.value, paid
    assert 0 < sum(promise.amount for promise in paid.change or ()) < quote.fee_reserve
    await wallet.load_proofs(reload=True)
    assert before - quote.amount - quote.fee_reserve < wallet.balance.amount < before - quote.amount
    await wallet.redeem(wallet.proofs)


async def an_invoice_of_this_mint_is_paid_within_it(stage: Stage) -> None:
    wallet, payee = await stage.wallet(), await stage.wallet()
    await stage.fund(wallet, 200)
    send, _ = await wallet.select_to_send(wallet.proofs, 64, include_fees=True)
    asked = await payee.request_mint(64, memo="fake: unpaid")
    quote = await wallet.melt_quote(asked.request)
    assert quote.fee_reserve == 0
    paid = await wallet.melt(send, asked.request, quote.fee_reserve, quote.quote)
    assert paid.state == MeltQuoteState.paid.value
    assert sum_proofs(await payee.mint(64, asked.quote)) == 64


async def a_payment_is_told_by_the_socket(stage: Stage) -> None:
    wallet = await stage.wallet()
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def heard(message: Any) -> None:
        if message.payload["state"] == "PAID":
            loop.call_soon_threadsafe(told.set)

    quote, subscription = await wallet.request_mint_with_callback(64, heard)
    await asyncio.wait_for(told.wait(), 20)
    subscription.close()
    assert sum_proofs(await wallet.mint(64, quote.quote)) == 64


async def refused(attempt: Any) -> str:
    """The text of the error with which an attempt ends."""
    try:
        given = await attempt
    except Exception as error:  # noqa: BLE001
        return str(error)
    raise AssertionError(f"this should have been refused: {given}")


INVOICES: dict[str, list[str]] = {}


async def play(name: str, stage: Stage) -> None:
    """Play one scene and tell its outcome."""
    outcome: dict[str, Any] = {"name": name, "ok": True}
    try:
        await asyncio.wait_for(globals()[name](stage), PATIENCE_S)
    except Exception:  # noqa: BLE001
        outcome |= {"ok": False, "error": traceback.format_exc()}
    print(json.dumps(outcome), file=sys.__stdout__, flush=True)


async def perform(told: dict[str, Any]) -> None:
    """All scenes that are asked for, at once."""
    INVOICES.update(told.get("invoices", {}))
    with tempfile.TemporaryDirectory() as directory:
        stage = Stage(told["url"], directory)
        await stage.begin()
        assert all(inspect.iscoroutinefunction(globals()[name]) for name in told["scenes"])
        await asyncio.gather(*(play(name, stage) for name in told["scenes"]))


if __name__ == "__main__":
    asyncio.run(perform(json.loads(sys.argv[1])))
