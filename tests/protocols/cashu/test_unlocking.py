from dataclasses import replace

import pytest

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.errors import SignatureError
from protocols.cashu.lock import Lock
from protocols.cashu.models import BlindedMessage, Dleq, Proof
from protocols.cashu.p2bk import blind
from protocols.cashu.p2pk import check_inputs
from protocols.cashu.unlocking import Keyring, unlock
from protocols.cashu.witness import Witness

NOW = 1_800_000_000
AUX = bytes(32)
SECRETS = [number.to_bytes(32, "big") for number in range(1, 8)]
KEYS = tuple(public_key(secret) for secret in SECRETS)
PREIMAGE = b"\x07" * 32
DIGEST = sha256(PREIMAGE)
OUTPUTS = [BlindedMessage(2, "00" * 8, KEYS[0])]
EPHEMERAL = b"\x31" * 32


def _proof(lock: Lock | str, number: int = 1) -> Proof:
    secret = lock if isinstance(lock, str) else lock.secret(bytes((number,)) * 32)
    return Proof(1, "00" * 8, secret, KEYS[0], None, Dleq(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32))


def _ring(*numbers: int, preimages: tuple[bytes, ...] = ()) -> Keyring:
    return Keyring(tuple(SECRETS[number] for number in numbers), preimages)


def _unlocked(proof: Proof, keyring: Keyring, now: int = NOW) -> Proof:
    """The input, which a mint takes."""
    (found,) = unlock([proof], keyring, now=now, aux=AUX)
    check_inputs([found], OUTPUTS, now)
    return found


def _locked(proof: Proof, keyring: Keyring, now: int = NOW) -> Proof:
    """The input, which a mint refuses."""
    (found,) = unlock([proof], keyring, now=now, aux=AUX)
    with pytest.raises(SignatureError):
        check_inputs([found], OUTPUTS, now)
    return found


def test_an_ordinary_proof_becomes_an_input_without_what_only_wallets_exchange() -> None:
    assert _unlocked(_proof("plain"), _ring(0)).to_json().keys() == {"amount", "id", "secret", "C"}


def test_a_lock_opens_to_its_key_and_to_no_other() -> None:
    proof = _proof(Lock(KEYS[:1]))
    assert _unlocked(proof, _ring(3, 0)).dleq is None
    assert _locked(proof, _ring(1)).witness is None


def test_no_more_signatures_are_made_than_the_lock_asks_for() -> None:
    found = _unlocked(_proof(Lock(KEYS[:3], 2)), _ring(0, 1, 2))
    assert len(Witness.parse(found.witness).signatures) == 2


def test_owners_sign_one_after_the_other() -> None:
    proof = _proof(Lock(KEYS[:3], 2))
    first = _locked(proof, _ring(2))
    assert _locked(first, _ring(2)) == first
    _unlocked(first, _ring(0))


def test_after_the_locktime_refund_keys_sign_and_the_owners_still_may() -> None:
    proof = _proof(Lock(KEYS[:2], 2, NOW - 1, KEYS[2:4], 2))
    _unlocked(proof, _ring(2, 3))
    _unlocked(proof, _ring(0, 1, 2, 3))
    _locked(proof, _ring(0, 2))
    _locked(proof, _ring(2, 3), NOW - 5)


def test_what_anybody_may_spend_is_not_signed() -> None:
    assert _unlocked(_proof(Lock(KEYS[:1], locktime=NOW - 1)), _ring(0)).witness is None


def test_an_htlc_opens_to_preimage_and_keys_or_after_its_time_to_the_sender() -> None:
    proof = _proof(Lock(KEYS[:1], locktime=NOW, refund=KEYS[1:2], preimage_hash=DIGEST))
    _unlocked(proof, _ring(0, preimages=(b"\x08" * 32, PREIMAGE)))
    _locked(proof, _ring(0, preimages=(b"\x08" * 32,)))
    _locked(proof, _ring(1))
    refunded = _unlocked(proof, _ring(0, 1), NOW + 1)
    assert Witness.parse(refunded.witness).preimage is None
    _unlocked(proof, _ring(0, 1, preimages=(PREIMAGE,)), NOW + 1)
    keyless = _unlocked(_proof(Lock((), preimage_hash=DIGEST)), Keyring(preimages=(PREIMAGE,)))
    assert Witness.parse(keyless.witness) == Witness((), PREIMAGE)


def test_with_sig_all_the_first_input_signs_for_all_and_for_the_outputs() -> None:
    lock = Lock(KEYS[:1], sig_all=True)
    proofs = [_proof(lock, 1), _proof(lock, 2)]
    found = unlock(proofs, _ring(0), now=NOW, aux=AUX, outputs=OUTPUTS, quote="q")
    assert [proof.witness is None for proof in found] == [False, True]
    check_inputs(found, OUTPUTS, NOW, "q")
    with pytest.raises(SignatureError):
        check_inputs(found, OUTPUTS, NOW, "r")


@pytest.mark.parametrize("digest", [None, DIGEST])
def test_blinded_keys_are_found_and_sign(digest: bytes | None) -> None:
    lock = Lock(KEYS[:2], 2, NOW, KEYS[2:3], preimage_hash=digest).blinded(EPHEMERAL)
    proof = replace(_proof(lock), ephemeral_key=public_key(EPHEMERAL))
    found = _unlocked(proof, _ring(5, 1, 0, preimages=(PREIMAGE,)))
    assert found.ephemeral_key is None
    _unlocked(proof, _ring(2), NOW + 1)
    _locked(proof, _ring(5))


def test_an_htlc_whose_slots_were_numbered_without_its_hash_opens_too() -> None:
    (key,) = blind(EPHEMERAL, KEYS[:1])
    proof = replace(_proof(Lock((key,), preimage_hash=DIGEST)), ephemeral_key=public_key(EPHEMERAL))
    _unlocked(proof, _ring(0, preimages=(PREIMAGE,)))


def test_a_malformed_condition_is_not_signed() -> None:
    secret = Lock(KEYS[:1]).secret(AUX).replace('"tags":[]', '"tags":[["n_sigs","2"]]')
    with pytest.raises(SignatureError, match="malformed"):
        unlock([_proof(secret)], _ring(0), now=NOW, aux=AUX)


def test_a_keyring_does_not_show_what_it_holds() -> None:
    assert repr(_ring(0, preimages=(PREIMAGE,))) == "Keyring()"
