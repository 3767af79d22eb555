import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key, schnorr_sign
from protocols.cashu import p2pk
from protocols.cashu.curve import secret_point
from protocols.cashu.errors import (
    AmountOutOfLimitsError,
    CashuError,
    DuplicateInputsError,
    DuplicateOutputsError,
    KeysetExpiredError,
    KeysetInactiveError,
    KeysetUnknownError,
    MalformedError,
    NotBalancedError,
    OutputsSignedError,
    ProofNotVerifiedError,
    ProofsSpentError,
    SeveralUnitsError,
    SignatureError,
    TooManyInputsError,
    TooManyOutputsError,
    UnitsDifferError,
)
from protocols.cashu.models import BlindedMessage, Proof
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.witness import Witness
from roles.mint.errors import CountersBrokenError, OverloadedError
from roles.mint.request import Sizes
from roles.mint.signatory import Signatory
from tests.roles.mint.house import MINER, NOW, House

OWNER = b"\x66" * 32


async def test_tokens_are_swapped_for_fresh_ones_of_the_same_sum(house: House) -> None:
    proofs = await house.tokens(1, 4)
    basket = house.basket(1, 2, 2)
    fresh = basket.open(await house.teller.swap(house.swap(proofs, basket)), house.book)
    again = await house.teller.swap(house.swap(fresh))
    assert sum(signature.amount for signature in again) == 5
    assert await house.totals() == (15, 10)


async def test_a_spent_token_is_refused_in_any_other_request(house: House) -> None:
    (proof,) = await house.tokens(4)
    await house.teller.swap(house.swap([proof]))
    with pytest.raises(ProofsSpentError):
        await house.teller.swap(house.swap([proof]))
    assert await house.totals() == (8, 4)


async def test_the_identical_swap_gets_the_identical_answer_and_spends_once(house: House) -> None:
    body = house.swap(await house.tokens(4))
    first = await house.teller.swap(body)
    assert await house.teller.swap(body) == first
    assert await house.totals() == (8, 4)


async def test_of_sixteen_swaps_of_one_token_at_once_one_wins(house: House) -> None:
    proofs = await house.tokens(8)
    outcomes = await asyncio.gather(
        *(house.teller.swap(house.swap(proofs)) for _ in range(16)), return_exceptions=True
    )
    assert Counter(type(outcome) for outcome in outcomes) == {list: 1, ProofsSpentError: 15}
    assert await house.totals() == (16, 8)


async def test_of_swaps_that_share_one_input_none_is_half_carried_out(house: House) -> None:
    shared, *own = await house.tokens(1, 2, 2, 2, 2)
    outcomes = await asyncio.gather(
        *(house.teller.swap(house.swap([shared, proof])) for proof in own), return_exceptions=True
    )
    assert Counter(type(outcome) for outcome in outcomes) == {list: 1, ProofsSpentError: 3}
    states = await house.teller.check_state({"Ys": [secret_point(p.secret).hex() for p in [shared, *own]]})
    assert [state.spent for state in states].count(True) == 2
    assert await house.totals() == (12, 3)


async def _refused(
    house: House,
    inputs: list[Proof],
    outputs: list[BlindedMessage],
    error: type[CashuError],
) -> None:
    body = {"inputs": [p.to_json() for p in inputs], "outputs": [o.to_json() for o in outputs]}
    with pytest.raises(error):
        await house.teller.swap(body)


async def test_inputs_and_outputs_that_are_wrong_are_refused_each_with_its_code(house: House) -> None:
    proof, second = await house.tokens(4, 8)
    before = await house.totals()
    outputs = house.basket(4).outputs
    other = next(keyset for keyset in house.book if keyset.keyset_id != house.keyset_id)
    foreign = replace(proof, keyset_id=other.keyset_id)
    await _refused(house, [], outputs, MalformedError)
    await _refused(house, [proof], [], MalformedError)
    await _refused(house, [proof, proof], house.basket(8).outputs, DuplicateInputsError)
    await _refused(house, [proof], house.basket(2, 4).outputs, NotBalancedError)
    await _refused(house, [proof], house.basket(2).outputs, NotBalancedError)
    await _refused(house, [replace(proof, keyset_id="01" + "00" * 32)], outputs, KeysetUnknownError)
    await _refused(house, [replace(proof, amount=3)], outputs, AmountOutOfLimitsError)
    await _refused(house, [replace(proof, amount=8)], house.basket(8).outputs, ProofNotVerifiedError)
    await _refused(house, [replace(proof, secret="other")], outputs, ProofNotVerifiedError)
    await _refused(house, [replace(proof, signature=second.signature)], outputs, ProofNotVerifiedError)
    await _refused(house, [replace(proof, signature=b"\x02" + b"\xff" * 32)], outputs, ProofNotVerifiedError)
    await _refused(house, [foreign], outputs, UnitsDifferError)
    await _refused(house, [foreign, second], house.basket(4, 8).outputs, SeveralUnitsError)
    await _refused(house, [second], [outputs[0], outputs[0]], DuplicateOutputsError)
    house.teller.sizes = Sizes(array=1)
    await _refused(house, [proof, second], outputs, TooManyInputsError)
    await _refused(house, [proof], house.basket(2, 2).outputs, TooManyOutputsError)
    assert await house.totals() == before


async def test_an_output_that_was_signed_before_undoes_the_whole_swap(house: House) -> None:
    first, second = await house.tokens(4, 4)
    basket = house.basket(4)
    await house.teller.swap(house.swap([first], basket))
    with pytest.raises(OutputsSignedError):
        await house.teller.swap(house.swap([second], basket))
    await house.teller.swap(house.swap([second]))


async def test_fees_are_those_of_each_inputs_own_keyset(house: House) -> None:
    proofs = await house.tokens(4, 4)
    keyset = house.book.get(house.keyset_id)
    house.book.add(replace(keyset, input_fee_ppk=600))
    with pytest.raises(NotBalancedError, match="fees 2"):
        await house.teller.swap(house.swap(proofs))
    await house.teller.swap(house.swap(proofs, house.basket(2, 4)))
    assert await house.totals() == (14, 8)


async def test_a_keyset_that_signs_no_more_is_still_redeemed_and_an_expired_one_is_not(house: House) -> None:
    proofs = await house.tokens(4)
    keyset = house.book.get(house.keyset_id)
    house.book.add(replace(keyset, active=False))
    with pytest.raises(KeysetInactiveError):
        await house.teller.swap(house.swap(proofs))
    house.book.add(replace(keyset, final_expiry=NOW - 1))
    with pytest.raises(KeysetExpiredError):
        await house.teller.swap(house.swap(proofs))


async def test_a_token_locked_to_a_key_needs_its_signature(house: House) -> None:
    secret = ConditionSecret("P2PK", "n", public_key(OWNER).hex()).to_text()
    (proof,) = await house.tokens(4, secrets=[secret])
    with pytest.raises(SignatureError, match="no witness for p2pk signature"):
        await house.teller.swap(house.swap([proof]))
    with pytest.raises(SignatureError):
        await house.teller.swap(house.swap([_signed(proof, MINER)]))
    signed = _signed(proof, OWNER)
    body = house.swap([signed])
    first = await house.teller.swap(body)
    anew = body | {"inputs": [_signed(proof, OWNER, aux=b"\x01" * 32).to_json()]}
    assert await house.teller.swap(anew) == first
    (state,) = await house.teller.check_state({"Ys": [secret_point(secret).hex()]})
    assert state.to_json() == {
        "Y": secret_point(secret).hex(),
        "state": "SPENT",
        "witness": signed.witness,
    }


def _signed(proof: Proof, key: bytes, aux: bytes = bytes(32)) -> Proof:
    signature = schnorr_sign(key, p2pk.input_hash(proof.secret), aux)
    return replace(proof, witness=Witness((signature,)).to_text())


async def test_a_locktime_is_over_within_its_second(house: House) -> None:
    lock = ("locktime", str(NOW))
    secret = ConditionSecret("P2PK", "n", public_key(OWNER).hex(), (lock,)).to_text()
    body = house.swap(await house.tokens(2, secrets=[secret]))
    with pytest.raises(SignatureError):
        await house.teller.swap(body)
    house.clock.now = NOW + 0.01
    await house.teller.swap(body)


async def test_with_sig_all_the_outputs_cannot_be_exchanged(house: House) -> None:
    secret = ConditionSecret("P2PK", "n", public_key(OWNER).hex(), (("sigflag", "SIG_ALL"),)).to_text()
    (proof,) = await house.tokens(4, secrets=[secret])
    basket = house.basket(4)
    message = sha256(p2pk.all_message([proof], basket.outputs).encode())
    signed = replace(proof, witness=Witness((schnorr_sign(OWNER, message, bytes(32)),)).to_text())
    with pytest.raises(SignatureError):
        await house.teller.swap(house.swap([signed]))
    await house.teller.swap(house.swap([signed], basket))


async def test_states_are_told_in_the_order_of_the_request(house: House) -> None:
    spent, unspent = await house.tokens(1, 2)
    await house.teller.swap(house.swap([spent]))
    points = [secret_point(secret).hex() for secret in (unspent.secret, spent.secret, "never seen")]
    states = await house.teller.check_state({"Ys": points})
    assert [state.to_json()["state"] for state in states] == ["UNSPENT", "SPENT", "UNSPENT"]
    house.teller.sizes = Sizes(array=2)
    with pytest.raises(TooManyInputsError):
        await house.teller.check_state({"Ys": points})
    with pytest.raises(MalformedError):
        await house.teller.check_state({"Ys": ["00"]})


async def test_a_valid_token_beyond_what_was_issued_is_refused_as_an_alarm(house: House) -> None:
    (proof,) = await house.tokens(4)
    await house.database.write(lambda c: c.execute("UPDATE keyset SET issued = 3") and None)
    with pytest.raises(CountersBrokenError):
        await house.teller.swap(house.swap([proof]))
    (state,) = await house.teller.check_state({"Ys": [secret_point(proof.secret).hex()]})
    assert not state.spent


async def test_requests_beyond_the_bound_of_waiting_ones_are_turned_away(house: House) -> None:
    proofs = await house.tokens(1, 1, 1)
    narrow = Signatory(threads=1, waiting=2)
    house.signatory = narrow
    teller = house.open_teller()
    outcomes = await asyncio.gather(
        *(teller.swap(house.swap([proof])) for proof in proofs), return_exceptions=True
    )
    assert Counter(type(outcome) for outcome in outcomes) == {list: 2, OverloadedError: 1}
