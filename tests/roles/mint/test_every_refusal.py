"""Each error code of the NUTs that this mint can give, with a request that gets it from the real API.

3xxxx (clear and blind authentication) are of NUTs that this mint does not have.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import errors, lookup
from protocols.cashu.errors import CashuError, RpcError
from protocols.cashu.lock import Lock
from protocols.cashu.models import Proof
from tests.roles.mint.house import MINER, NOW, Basket
from tests.roles.mint.lightning.bank import foreign_invoice
from tests.roles.mint.shop import Shop, open_shop

Ask = tuple[str, object]
"""Path and body of a request."""
OWNER = b"\x71" * 32
SWAP = "/v1/swap"
MINT = "/v1/mint/ehash"
BATCH = "/v1/mint/ehash/batch"
LOOK_UP = "/v1/mint/quote/ehash/pubkey"
MELT = "/v1/melt/bolt11"
MELT_QUOTE = "/v1/melt/quote/bolt11"
SAT_QUOTE = "/v1/mint/quote/bolt11"


def _swap(inputs: list[Proof], outputs: Basket, /, **changes: object) -> Ask:
    body: dict[str, object] = {
        "inputs": [proof.to_json() for proof in inputs],
        "outputs": [output.to_json() for output in outputs.outputs],
    }
    return SWAP, body | changes


async def _malformed(shop: Shop) -> Ask:
    return _swap(await shop.house.tokens(1), shop.house.basket(1), inputs="none")


async def _long_secret(shop: Shop) -> Ask:
    (proof,) = await shop.house.tokens(1)
    return _swap([replace(proof, secret="s" * 1025)], shop.house.basket(1))


async def _long_witness(shop: Shop) -> Ask:
    (proof,) = await shop.house.tokens(1)
    return _swap([replace(proof, witness="w" * 2049)], shop.house.basket(1))


async def _unknown_quote(shop: Shop) -> Ask:
    (quote,) = await shop.house.credit(1)
    return MINT, shop.house.claim(replace(quote, quote_id="unknown"), shop.house.basket(1))


async def _forged_proof(shop: Shop) -> Ask:
    (proof,) = await shop.house.tokens(1)
    return _swap([replace(proof, secret="another")], shop.house.basket(1))


async def _spent(shop: Shop) -> Ask:
    proofs = await shop.house.tokens(1)
    await shop.bank.teller.swap(shop.house.swap(proofs))
    return _swap(proofs, shop.house.basket(1))


async def _signed_before(shop: Shop) -> Ask:
    first, second = await shop.house.tokens(1, 1)
    basket = shop.house.basket(1)
    await shop.bank.teller.swap(shop.house.swap([first], basket))
    return _swap([second], basket)


async def _unbalanced(shop: Shop) -> Ask:
    return _swap(await shop.house.tokens(2), shop.house.basket(1))


async def _batch_beyond_its_quotes(shop: Shop) -> Ask:
    quotes = await shop.house.credit(1, 2)
    return BATCH, shop.house.batch(quotes, shop.house.basket(4), quote_amounts=[2, 2])


async def _no_such_denomination(shop: Shop) -> Ask:
    (proof,) = await shop.house.tokens(4)
    return _swap([proof], shop.house.basket(3))


async def _too_small_a_quote(shop: Shop) -> Ask:
    return SAT_QUOTE, {"amount": 0, "unit": "sat"}


async def _too_large_a_quote(shop: Shop) -> Ask:
    return SAT_QUOTE, {"amount": shop.bank.settings.max_amount + 1, "unit": "sat"}


async def _input_twice(shop: Shop) -> Ask:
    return _swap(await shop.house.tokens(1) * 2, shop.house.basket(2))


async def _output_twice(shop: Shop) -> Ask:
    basket = shop.house.basket(1)
    return _swap(await shop.house.tokens(2), Basket(basket.outputs * 2, [], []))


async def _inputs_of_two_units(shop: Shop) -> Ask:
    return _swap(await shop.house.tokens(1) + await shop.bank.tokens(1), shop.house.basket(2))


async def _outputs_of_two_units(shop: Shop) -> Ask:
    outputs = shop.house.basket(1).outputs + shop.bank.basket(1).outputs
    return _swap(await shop.house.tokens(2), Basket(outputs, [], []))


async def _another_unit(shop: Shop) -> Ask:
    return _swap(await shop.house.tokens(1), shop.bank.basket(1))


async def _minted_into_another_unit(shop: Shop) -> Ask:
    (quote,) = await shop.house.credit(1)
    return MINT, shop.house.claim(quote, shop.bank.basket(1))


async def _unknown_unit(shop: Shop) -> Ask:
    return SAT_QUOTE, {"amount": 1, "unit": "usd"}


async def _unknown_method(shop: Shop) -> Ask:
    return "/v1/mint/quote/bolt12", {"amount": 1, "unit": "sat"}


async def _too_many_inputs(shop: Shop) -> Ask:
    return _swap(await shop.house.tokens(1), shop.house.basket(1), inputs=[{}] * 1001)


async def _too_many_states(shop: Shop) -> Ask:
    return "/v1/checkstate", {"Ys": [public_key(OWNER).hex()] * 1001}


async def _too_many_outputs(shop: Shop) -> Ask:
    return _swap(await shop.house.tokens(1), shop.house.basket(1), outputs=[{}] * 1001)


async def _too_many_restored(shop: Shop) -> Ask:
    return "/v1/restore", {"outputs": [{}] * 1001}


async def _quote_twice(shop: Shop) -> Ask:
    return BATCH, shop.house.batch(await shop.house.credit(1) * 2, shop.house.basket(2))


async def _checked_twice(shop: Shop) -> Ask:
    return "/v1/mint/quote/ehash/check", {"quotes": ["q", "q"]}


async def _too_many_quotes(shop: Shop) -> Ask:
    (quote,) = await shop.house.credit(1)
    many = [replace(quote, quote_id=f"q{number}") for number in range(101)]
    return BATCH, shop.house.batch(many, shop.house.basket(1))


def _look_up(shop: Shop, secrets: list[bytes], timestamp: int = NOW) -> dict[str, Any]:
    key = shop.house.seed.info_key
    return {
        "pubkeys": [public_key(secret).hex() for secret in secrets],
        "pubkey_signatures": [
            lookup.sign(secret, key, public_key(secret), timestamp, bytes(32)).hex() for secret in secrets
        ],
        "timestamp": timestamp,
    }


async def _too_many_keys(shop: Shop) -> Ask:
    return LOOK_UP, _look_up(shop, [number.to_bytes(32, "big") for number in range(1, 52)])


async def _unknown_keyset(shop: Shop) -> Ask:
    (proof,) = await shop.house.tokens(1)
    return _swap([replace(proof, keyset_id="01" + "00" * 32)], shop.house.basket(1))


async def _short_keyset_id(shop: Shop) -> Ask:
    (proof,) = await shop.house.tokens(1)
    return _swap([replace(proof, keyset_id=proof.keyset_id[:16])], shop.house.basket(1))


async def _inactive_keyset(shop: Shop) -> Ask:
    proofs, basket = await shop.house.tokens(1), shop.house.basket(1)
    book = shop.house.book
    book.add(replace(book.get(shop.house.keyset_id), active=False))
    return _swap(proofs, basket)


async def _expired_keyset(shop: Shop) -> Ask:
    proofs, basket = await shop.house.tokens(1), shop.house.basket(1)
    book = shop.house.book
    book.add(replace(book.get(shop.house.keyset_id), final_expiry=NOW - 1))
    return _swap(proofs, basket)


async def _unpaid(shop: Shop) -> Ask:
    quote = await shop.bank.quote(1)
    return "/v1/mint/bolt11", shop.bank.claim(quote, shop.bank.basket(1))


async def _issued(shop: Shop) -> Ask:
    (quote,) = await shop.house.credit(1)
    await shop.bank.teller.mint(shop.house.claim(quote, shop.house.basket(1)))
    return MINT, shop.house.claim(quote, shop.house.basket(1))


async def _quote_by_request(shop: Shop) -> Ask:
    return "/v1/mint/quote/ehash", {"amount": 1, "unit": shop.house.unit}


async def _paused(shop: Shop) -> Ask:
    proofs = await shop.house.tokens(1)
    await shop.bank.halts.stop("issuing", "a test")
    return _swap(proofs, shop.house.basket(1))


async def _expired_quote(shop: Shop) -> Ask:
    quote = await shop.bank.quote(1)
    shop.house.clock.now += 100_000
    return "/v1/mint/bolt11", shop.bank.claim(quote, shop.bank.basket(1))


async def _unsigned_quote(shop: Shop) -> Ask:
    (quote,) = await shop.house.credit(1)
    return MINT, shop.house.claim(quote, shop.house.basket(1)) | {"signature": None}


async def _wrongly_signed_quote(shop: Shop) -> Ask:
    (quote,) = await shop.house.credit(1)
    return MINT, shop.house.claim(quote, shop.house.basket(1), secret=OWNER)


async def _signature_for_an_open_quote(shop: Shop) -> Ask:
    quote = await shop.bank.paid(1)
    return "/v1/mint/bolt11", shop.bank.claim(quote, shop.bank.basket(1), OWNER)


async def _unsigned_batch(shop: Shop) -> Ask:
    quotes = await shop.house.credit(1, 1)
    return BATCH, shop.house.batch(quotes, shop.house.basket(2), signatures=None)


async def _locked(shop: Shop, lock: Lock) -> Ask:
    (proof,) = await shop.house.tokens(1, secrets=[lock.secret(bytes(32))])
    return _swap([proof], shop.house.basket(1))


async def _unsigned_lock(shop: Shop) -> Ask:
    return await _locked(shop, Lock((public_key(OWNER),)))


async def _unsigned_sig_all(shop: Shop) -> Ask:
    return await _locked(shop, Lock((public_key(OWNER),), sig_all=True))


async def _no_preimage(shop: Shop) -> Ask:
    return await _locked(shop, Lock((), preimage_hash=bytes(32)))


async def _old_look_up(shop: Shop) -> Ask:
    return LOOK_UP, _look_up(shop, [MINER], NOW - 301)


async def _look_up_for_a_stranger(shop: Shop) -> Ask:
    return LOOK_UP, _look_up(shop, [MINER]) | {"pubkeys": [public_key(OWNER).hex()]}


async def _malformed_key(shop: Shop) -> Ask:
    return SAT_QUOTE, {"amount": 1, "unit": "sat", "pubkey": "02"}


async def _key_off_the_curve(shop: Shop) -> Ask:
    return SAT_QUOTE, {"amount": 1, "unit": "sat", "pubkey": "02" + "ff" * 32}


async def _for_a_payment(
    shop: Shop, words: str = "", amount: int = 8_000, basket: Basket | None = None
) -> dict[str, object]:
    """The body that pays an invoice of others, whose description says how that goes."""
    quote = await shop.bank.melt_quote(foreign_invoice(amount, words))
    return shop.bank.melt(quote, await shop.bank.tokens(8, 2), basket)


async def _under_way(shop: Shop, basket: Basket | None = None) -> dict[str, object]:
    """A body that was sent, and whose payment takes its time."""
    body = await _for_a_payment(shop, "fake: pending 50", basket=basket)
    await shop.bank.desk.melt(body, respond_async=True)
    return body


async def _pending_inputs(shop: Shop) -> Ask:
    body = await _under_way(shop)
    outputs = [output.to_json() for output in shop.bank.basket(8, 2).outputs]
    return SWAP, {"inputs": body["inputs"], "outputs": outputs}


async def _pending_outputs(shop: Shop) -> Ask:
    blank = shop.bank.basket(1)
    await _under_way(shop, blank)
    other = await shop.bank.melt_quote(foreign_invoice(8_000, number=2))
    return MELT, shop.bank.melt(other, await shop.bank.tokens(8, 2), blank)


async def _unbalanced_melt(shop: Shop) -> Ask:
    body = await _for_a_payment(shop)
    inputs = body["inputs"]
    assert isinstance(inputs, list)
    return MELT, body | {"inputs": inputs[:1]}


async def _melt_of_another_unit(shop: Shop) -> Ask:
    body = await _for_a_payment(shop)
    return MELT, body | {"inputs": [proof.to_json() for proof in await shop.house.tokens(8, 2)]}


async def _no_amount(shop: Shop) -> Ask:
    return MELT_QUOTE, {"request": foreign_invoice(None), "unit": "sat"}


async def _another_amount(shop: Shop) -> Ask:
    options = {"amountless": {"amount_msat": 9_000}}
    return MELT_QUOTE, {"request": foreign_invoice(8_000), "unit": "sat", "options": options}


async def _unknown_unit_to_melt(shop: Shop) -> Ask:
    return MELT_QUOTE, {"request": foreign_invoice(8_000), "unit": "usd"}


async def _unknown_melt_quote(shop: Shop) -> Ask:
    return MELT, await _for_a_payment(shop) | {"quote": "unknown"}


async def _failed_payment(shop: Shop) -> Ask:
    return MELT, await _for_a_payment(shop, "fake: failed")


async def _payment_under_way(shop: Shop) -> Ask:
    body = await _under_way(shop)
    return MELT, body | {"inputs": [proof.to_json() for proof in await shop.bank.tokens(8, 2)]}


async def _paid_before(shop: Shop) -> Ask:
    body = await _for_a_payment(shop)
    await shop.bank.desk.melt(body)
    return MELT, body | {"inputs": [proof.to_json() for proof in await shop.bank.tokens(8, 2)]}


async def _paid_invoice(shop: Shop) -> Ask:
    await shop.bank.desk.melt(await _for_a_payment(shop))
    return MELT_QUOTE, {"request": foreign_invoice(8_000), "unit": "sat"}


async def _expired_melt_quote(shop: Shop) -> Ask:
    body = await _for_a_payment(shop)
    shop.house.clock.now += 100_000
    return MELT, body


REFUSALS: list[tuple[int, Callable[[Shop], Awaitable[Ask]], str]] = [
    (0, _malformed, "inputs is not an array"),
    (0, _long_secret, "secret is longer than 1024 characters"),
    (0, _long_witness, "witness is longer than 2048 characters"),
    (0, _unknown_quote, "not known"),
    (0, _unknown_melt_quote, "not known"),
    (10001, _forged_proof, "not signed by this mint"),
    (11001, _spent, "has been spent"),
    (11002, _pending_inputs, "an input is pending"),
    (11003, _signed_before, "signed before"),
    (11004, _pending_outputs, "an output is pending"),
    (11005, _unbalanced_melt, ""),
    (11005, _unbalanced, "are not outputs"),
    (11005, _batch_beyond_its_quotes, "holds 1, 2 are asked"),
    (11006, _no_such_denomination, "no key for 3"),
    (11006, _too_small_a_quote, "amounts are from"),
    (11006, _too_large_a_quote, "amounts are from"),
    (11007, _input_twice, "an input is there twice"),
    (11008, _output_twice, "an output is there twice"),
    (11009, _inputs_of_two_units, "the inputs are of several units"),
    (11009, _outputs_of_two_units, "the outputs are of several units"),
    (11010, _another_unit, "another unit"),
    (11010, _minted_into_another_unit, "another unit"),
    (11010, _melt_of_another_unit, "unit"),
    (11011, _no_amount, "amount"),
    (11012, _another_amount, "amount"),
    (11013, _unknown_unit, "usd"),
    (11013, _unknown_unit_to_melt, "usd"),
    (11013, _unknown_method, "bolt12"),
    (11014, _too_many_inputs, "at most 1000"),
    (11014, _too_many_states, "at most 1000"),
    (11015, _too_many_outputs, "at most 1000"),
    (11015, _too_many_restored, "at most 1000"),
    (11016, _quote_twice, "twice"),
    (11016, _checked_twice, "twice"),
    (11017, _too_many_quotes, "at most 100 quotes"),
    (11017, _too_many_keys, "at most 50 keys"),
    (12001, _unknown_keyset, "not known"),
    (12001, _short_keyset_id, "not known"),
    (12002, _inactive_keyset, "signs no more"),
    (12003, _expired_keyset, "has expired"),
    (20001, _unpaid, "is not paid"),
    (20002, _issued, "has been minted"),
    (20003, _quote_by_request, "not by request"),
    (20003, _paused, "issues nothing"),
    (20004, _failed_payment, "the payment failed"),
    (20005, _payment_under_way, "is being paid"),
    (20006, _paid_before, "has been paid"),
    (20006, _paid_invoice, "paid"),
    (20007, _expired_quote, "expired"),
    (20007, _expired_melt_quote, "expired"),
    (20008, _unsigned_quote, "has no signature"),
    (20008, _wrongly_signed_quote, "does not verify"),
    (20008, _signature_for_an_open_quote, "is not locked"),
    (20008, _unsigned_batch, "has no signature"),
    (20008, _unsigned_lock, "Signatures not provided: no witness for p2pk signature"),
    (20008, _unsigned_sig_all, "Signatures not provided: no witness for p2pk signature"),
    (20008, _no_preimage, "no witness with the HTLC preimage"),
    (20008, _old_look_up, "more than 300 s"),
    (20008, _look_up_for_a_stranger, "does not verify"),
    (20009, _malformed_key, "pubkey"),
    (20009, _key_off_the_curve, "curve"),
]


@pytest.mark.parametrize(
    ("code", "ask", "words"), REFUSALS, ids=[f"{code}{ask.__name__}" for code, ask, _ in REFUSALS]
)
async def test_a_request_is_refused_with_its_code_and_a_sentence(
    tmp_path: Path, code: int, ask: Callable[[Shop], Awaitable[Ask]], words: str
) -> None:
    async with open_shop(tmp_path) as shop:
        path, body = await ask(shop)
        status, answer = await shop.post(path, body)
        assert (status, answer["code"]) == (400, code)
        assert set(answer) == {"code", "detail"}
        assert words in answer["detail"]
        assert shop.house.metric("refusals_total", code=str(code)) == 1


def test_every_code_that_the_mint_can_give_has_a_request() -> None:
    classes = [item for item in vars(errors).values() if isinstance(item, type)]
    codes = {kind.code for kind in classes if issubclass(kind, CashuError) and kind is not RpcError}
    assert codes == {code for code, _, _ in REFUSALS}
