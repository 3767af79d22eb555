import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import bdhke, dleq, quote_signature
from protocols.cashu.errors import (
    AmountOutOfLimitsError,
    BatchTooLargeError,
    CashuError,
    DuplicateOutputsError,
    DuplicateQuotesError,
    KeysetInactiveError,
    KeysetUnknownError,
    MalformedError,
    NotBalancedError,
    OutputsSignedError,
    QuoteIssuedError,
    QuoteUnknownError,
    SeveralUnitsError,
    SignatureError,
    TooManyOutputsError,
    UnitsDifferError,
)
from protocols.cashu.models import BlindedMessage, BlindSignature
from roles.mint.quote import Quote
from roles.mint.request import MintRequest, Sizes
from tests.roles.mint.house import MINER, OTHER_ISSUER, House

STRANGER = b"\x55" * 32


async def test_a_quote_is_minted_into_signatures_that_prove_their_key_and_open_to_valid_tokens(
    house: House,
) -> None:
    (quote,) = await house.credit(13)
    basket = house.basket(1, 4, 8)
    signatures = await house.teller.mint(house.claim(quote, basket))
    assert [signature.amount for signature in signatures] == [1, 4, 8]
    for output, signature in zip(basket.outputs, signatures, strict=True):
        key = house.book.get(signature.keyset_id).key(signature.amount)
        assert signature.dleq is not None
        assert dleq.verify(key.public, output.blinded, signature.signature, signature.dleq)
    for proof in basket.open(signatures, house.book):
        key = house.book.get(proof.keyset_id).key(proof.amount)
        assert bdhke.verify(key.private, proof.secret, proof.signature)
    after = await house.teller.quote(quote.quote_id)
    assert (after.state, after.amount_paid, after.amount_issued) == ("ISSUED", 13, 13)
    assert await house.totals() == (13, 0)
    assert house.metric("issued_ehash_total") == 13


async def test_the_accounting_of_a_quote_moves_forward_even_when_the_clock_stands(house: House) -> None:
    (quote,) = await house.credit(7)
    seen = [quote.updated_at]
    for amount in (1, 2, 4):
        await house.teller.mint(house.claim(quote, house.basket(amount)))
        seen.append((await house.teller.quote(quote.quote_id)).updated_at)
    assert seen == sorted(set(seen))


async def test_a_quote_can_be_minted_in_parts_and_never_beyond_what_was_paid(house: House) -> None:
    (quote,) = await house.credit(5)
    await house.teller.mint(house.claim(quote, house.basket(4)))
    assert (await house.teller.quote(quote.quote_id)).state == "PAID"
    with pytest.raises(NotBalancedError, match="holds 1"):
        await house.teller.mint(house.claim(quote, house.basket(2)))
    await house.teller.mint(house.claim(quote, house.basket(1)))
    with pytest.raises(QuoteIssuedError):
        await house.teller.mint(house.claim(quote, house.basket(1)))
    assert await house.totals() == (5, 0)


async def test_the_identical_request_gets_the_identical_answer_and_issues_once(house: House) -> None:
    (quote,) = await house.credit(9)
    body = house.claim(quote, house.basket(1, 8))
    first = await house.teller.mint(body)
    for _ in range(3):
        assert await house.teller.mint(body) == first
    assert await house.totals() == (9, 0)
    assert house.metric("replays_total") == 3


async def test_a_partial_mint_repeated_takes_nothing_more(house: House) -> None:
    (quote,) = await house.credit(8)
    body = house.claim(quote, house.basket(2))
    first = await house.teller.mint(body)
    assert await house.teller.mint(body) == first
    assert (await house.teller.quote(quote.quote_id)).amount_issued == 2


async def test_a_replay_is_answered_even_when_its_keyset_signs_no_more(house: House) -> None:
    (quote,) = await house.credit(4)
    body = house.claim(quote, house.basket(4))
    first = await house.teller.mint(body)
    keyset = house.book.get(house.keyset_id)
    house.book.add(replace(keyset, active=False))
    assert await house.teller.mint(body) == first
    with pytest.raises(KeysetInactiveError):
        await house.teller.mint(house.claim(quote, house.basket(1)))


async def test_of_sixteen_requests_for_one_quote_at_once_one_wins(house: House) -> None:
    (quote,) = await house.credit(8)
    bodies = [house.claim(quote, house.basket(8)) for _ in range(16)]
    outcomes = await asyncio.gather(*map(house.teller.mint, bodies), return_exceptions=True)
    assert Counter(type(outcome) for outcome in outcomes) == {list: 1, QuoteIssuedError: 15}
    assert await house.totals() == (8, 0)


async def test_sixteen_copies_of_one_request_at_once_all_get_the_same_signatures(house: House) -> None:
    (quote,) = await house.credit(8)
    body = house.claim(quote, house.basket(8))
    outcomes = await asyncio.gather(*(house.teller.mint(body) for _ in range(16)))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    assert await house.totals() == (8, 0)


async def test_the_legacy_signature_unlocks_a_quote_too(house: House) -> None:
    (quote,) = await house.credit(2)
    basket = house.basket(2)
    body = house.claim(quote, basket)
    body["signature"] = quote_signature.sign_legacy(MINER, quote.quote_id, basket.outputs, bytes(32)).hex()
    assert len(await house.teller.mint(body)) == 1


async def test_a_locked_quote_needs_the_signature_of_its_key_over_these_outputs(house: House) -> None:
    (quote,) = await house.credit(2)
    basket = house.basket(2)
    good = house.claim(quote, basket)
    with pytest.raises(SignatureError, match="has no signature"):
        await house.teller.mint(good | {"signature": None})
    with pytest.raises(SignatureError, match="does not verify"):
        await house.teller.mint(house.claim(quote, basket, secret=STRANGER))
    other = house.basket(2)
    with pytest.raises(SignatureError, match="does not verify"):
        await house.teller.mint(good | {"outputs": [output.to_json() for output in other.outputs]})
    assert await house.totals() == (0, 0)


async def test_an_output_is_signed_once(house: House) -> None:
    first, second = await house.credit(2, 2)
    basket = house.basket(2)
    await house.teller.mint(house.claim(first, basket))
    with pytest.raises(OutputsSignedError):
        await house.teller.mint(house.claim(second, basket))
    assert (await house.teller.quote(second.quote_id)).amount_issued == 0


async def _refused(
    house: House, quote: Quote, outputs: list[BlindedMessage], error: type[CashuError]
) -> None:
    basket = house.basket()
    basket.outputs = outputs
    with pytest.raises(error):
        await house.teller.mint(house.claim(quote, basket))
    assert (await house.teller.quote(quote.quote_id)).amount_issued == 0


async def test_outputs_that_the_mint_cannot_sign_are_refused_each_with_its_code(house: House) -> None:
    (quote,) = await house.credit(4)
    (output,) = house.basket(4).outputs
    two = house.basket(2).outputs[0]
    other = next(keyset for keyset in house.book if keyset.keyset_id != house.keyset_id)
    await _refused(house, quote, [replace(output, amount=3)], AmountOutOfLimitsError)
    await _refused(house, quote, [replace(output, amount=0)], AmountOutOfLimitsError)
    await _refused(house, quote, [replace(output, amount=1 << 53)], AmountOutOfLimitsError)
    await _refused(house, quote, [replace(output, keyset_id="01" + "00" * 32)], KeysetUnknownError)
    await _refused(house, quote, [replace(output, keyset_id=output.keyset_id[:16])], KeysetUnknownError)
    await _refused(house, quote, [two, two], DuplicateOutputsError)
    await _refused(house, quote, [replace(output, keyset_id=other.keyset_id)], UnitsDifferError)
    await _refused(house, quote, [two, replace(two, keyset_id=other.keyset_id)], DuplicateOutputsError)
    mixed = [two, replace(house.basket(2).outputs[0], keyset_id=other.keyset_id)]
    await _refused(house, quote, mixed, SeveralUnitsError)
    await _refused(house, quote, [replace(output, blinded=b"\x02" + b"\xff" * 32)], MalformedError)
    await _refused(house, quote, [], MalformedError)
    house.teller.sizes = Sizes(array=2)
    await _refused(house, quote, house.basket(1, 1, 2).outputs, TooManyOutputsError)
    assert await house.totals() == (0, 0)


async def test_a_batch_mints_several_quotes_into_one_set_of_outputs(house: House) -> None:
    quotes = await house.credit(5, 3)
    basket = house.basket(8)
    signatures = await house.teller.mint_batch(house.batch(quotes, basket))
    assert [signature.amount for signature in signatures] == [8]
    states = await house.teller.check_quotes({"quotes": [quote.quote_id for quote in quotes]})
    assert [state.state for state in states] == ["ISSUED", "ISSUED"]
    assert await house.totals() == (8, 0)


async def test_a_batch_without_amounts_takes_all_that_its_quotes_hold(house: House) -> None:
    quotes = await house.credit(5, 3)
    body = house.batch(quotes, house.basket(8), quote_amounts=None)
    assert len(await house.teller.mint_batch(body)) == 1


async def test_a_batch_may_take_a_part_of_its_quotes(house: House) -> None:
    quotes = await house.credit(5, 3)
    await house.teller.mint_batch(house.batch(quotes, house.basket(4), quote_amounts=[3, 1]))
    states = await house.teller.check_quotes({"quotes": [quote.quote_id for quote in quotes]})
    assert [state.mintable for state in states] == [2, 2]


async def test_a_batch_that_is_wrong_in_any_part_changes_nothing(house: House) -> None:
    quotes = await house.credit(5, 3)
    basket = house.basket(8)
    good = house.batch(quotes, basket)
    first, second = good["signatures"]
    wrong: list[tuple[dict[str, object], type[CashuError]]] = [
        ({"quotes": []}, MalformedError),
        ({"quotes": [quotes[0].quote_id] * 2}, DuplicateQuotesError),
        ({"quotes": [quotes[0].quote_id, "unknown"]}, QuoteUnknownError),
        ({"quotes": ["x" * 129, "y"]}, MalformedError),
        ({"quotes": [f"q{number}" for number in range(101)]}, BatchTooLargeError),
        ({"quote_amounts": [5]}, MalformedError),
        ({"quote_amounts": [5, 2]}, NotBalancedError),
        ({"quote_amounts": [8, 0]}, NotBalancedError),
        ({"quote_amounts": [4, 4]}, NotBalancedError),
        ({"quote_amounts": [5, "3"]}, MalformedError),
        ({"signatures": [first]}, MalformedError),
        ({"signatures": None}, SignatureError),
        ({"signatures": [first, None]}, SignatureError),
        ({"signatures": [second, first]}, SignatureError),
        ({"outputs": {}}, MalformedError),
    ]
    for change, error in wrong:
        with pytest.raises(error):
            await house.teller.mint_batch(good | change)
    with pytest.raises(MalformedError, match="nothing is taken"):
        await house.teller.mint_batch(house.batch(quotes, house.basket(4, 1), quote_amounts=[5, 0]))
    states = await house.teller.check_quotes({"quotes": [quote.quote_id for quote in quotes]})
    assert [state.amount_issued for state in states] == [0, 0]
    assert await house.totals() == (0, 0)


async def test_quotes_of_several_units_do_not_mix_in_a_batch(house: House) -> None:
    (mine,) = await house.credit(4)
    frame = house.frame([house.row(4)], first_seq=1)
    await house.settle(frame, issuer=OTHER_ISSUER)
    ids = await house.database.read(
        lambda c: [row["quote_id"] for row in c.execute("SELECT quote_id FROM quote")]
    )
    theirs = await house.teller.quote(next(quote_id for quote_id in ids if quote_id != mine.quote_id))
    with pytest.raises(SeveralUnitsError):
        await house.teller.mint_batch(house.batch([mine, theirs], house.basket(8)))


async def test_one_unknown_quote_refuses_a_whole_check(house: House) -> None:
    (quote,) = await house.credit(1)
    with pytest.raises(QuoteUnknownError):
        await house.teller.check_quotes({"quotes": [quote.quote_id, "nobody"]})
    with pytest.raises(DuplicateQuotesError):
        await house.teller.check_quotes({"quotes": [quote.quote_id] * 2})


async def test_a_keyset_never_issues_beyond_63_bits(house: House) -> None:
    (quote,) = await house.credit(4)
    await house.database.write(lambda c: c.execute("UPDATE keyset SET issued = ?", ((1 << 63) - 4,)) and None)
    with pytest.raises(AmountOutOfLimitsError, match="2\\^63"):
        await house.teller.mint(house.claim(quote, house.basket(4)))
    assert (await house.teller.quote(quote.quote_id)).amount_issued == 0


async def test_what_was_signed_can_be_restored_from_its_outputs(house: House) -> None:
    (quote,) = await house.credit(6)
    basket = house.basket(2, 4)
    signatures = await house.teller.mint(house.claim(quote, basket))
    never = house.basket(1)
    outputs = [basket.outputs[1], never.outputs[0], basket.outputs[0]]
    found = await house.teller.restore({"outputs": [replace(o, amount=0).to_json() for o in outputs]})
    assert [output.blinded for output, _ in found] == [outputs[0].blinded, outputs[2].blinded]
    assert [signature for _, signature in found] == [signatures[1], signatures[0]]


def test_a_request_is_named_by_what_it_asks_and_not_by_its_signature() -> None:
    output = BlindedMessage(2, "01" + "00" * 32, public_key(MINER))
    body = {"quote": "q", "outputs": [output.to_json()]}
    plain = MintRequest.from_json(body, Sizes())
    signed = MintRequest.from_json(body | {"signature": "00" * 64}, Sizes())
    assert plain.digest == signed.digest
    others = [
        body | {"quote": "r"},
        body | {"outputs": [replace(output, amount=3).to_json()]},
        body | {"outputs": [replace(output, blinded=public_key(STRANGER)).to_json()]},
        body | {"outputs": [output.to_json()] * 2},
    ]
    digests = {MintRequest.from_json(other, Sizes()).digest for other in others}
    assert len(digests | {plain.digest}) == 5


async def test_a_signature_in_the_store_is_the_one_that_was_answered(house: House) -> None:
    (quote,) = await house.credit(1)
    signatures = await house.teller.mint(house.claim(quote, house.basket(1)))
    stored = await house.database.read(lambda c: dict(c.execute("SELECT * FROM promise").fetchone()))
    assert isinstance(signatures[0], BlindSignature)
    assert stored["signature"] == signatures[0].signature
