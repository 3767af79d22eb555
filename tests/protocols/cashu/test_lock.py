import pytest

from protocols.bitcoin.hashing import sha256
from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.condition import Condition
from protocols.cashu.errors import MalformedError
from protocols.cashu.lock import Lock
from protocols.cashu.models import SECRET_LIMIT
from protocols.cashu.nut10 import ConditionSecret
from protocols.cashu.p2bk import unblind_secrets

SECRETS = [number.to_bytes(32, "big") for number in range(1, 13)]
KEYS = tuple(public_key(secret) for secret in SECRETS)
NONCE = b"\x09" * 32
DIGEST = sha256(b"\x07" * 32)


def _condition(lock: Lock) -> Condition:
    parsed = ConditionSecret.parse(lock.secret(NONCE))
    assert parsed is not None
    assert parsed.nonce == NONCE.hex()
    condition = Condition.parse(parsed)
    assert condition is not None
    return condition


def test_a_plain_lock_is_a_key_and_no_tags() -> None:
    expected = f'["P2PK",{{"nonce":"{NONCE.hex()}","data":"{KEYS[0].hex()}","tags":[]}}]'
    assert Lock(KEYS[:1]).secret(NONCE) == expected


def test_a_lock_says_in_its_tags_all_that_it_asks_for() -> None:
    lock = Lock(KEYS[:3], 2, 1_900_000_000, KEYS[3:5], 2, sig_all=True)
    condition = _condition(lock)
    assert (condition.lock.keys, condition.lock.required) == (KEYS[:3], 2)
    assert (condition.refund.keys, condition.refund.required) == (KEYS[3:5], 2)
    assert (condition.locktime, condition.sig_all, condition.preimage_hash) == (1_900_000_000, True, None)


def test_a_hash_lock_has_its_keys_in_the_tags_or_none() -> None:
    condition = _condition(Lock(KEYS[:1], preimage_hash=DIGEST))
    assert (condition.lock.keys, condition.preimage_hash) == (KEYS[:1], DIGEST)
    assert _condition(Lock((), preimage_hash=DIGEST)).lock.required == 0


@pytest.mark.parametrize(
    ("lock", "reason"),
    [
        (Lock(()), "needs a key"),
        (Lock((b"\x02" + b"\xff" * 32,)), "not on the curve"),
        (Lock(KEYS[:1], locktime=1, refund=(b"\x02",)), "not on the curve"),
        (Lock(KEYS[:2], 3), "number of signatures"),
        (Lock(KEYS[:2], 0), "number of signatures"),
        (Lock(KEYS[:1] * 2), "twice"),
        (Lock(KEYS[:12]), "more than 11"),
        (Lock(KEYS[:1], refund=KEYS[1:2]), "locktime"),
        (Lock(KEYS[:1], refund_required=2), "number of signatures"),
        (Lock(KEYS[:1], preimage_hash=b"short"), "hash"),
    ],
)
def test_a_lock_that_no_mint_would_open_is_not_made(lock: Lock, reason: str) -> None:
    with pytest.raises(MalformedError, match=reason):
        lock.secret(NONCE)


def test_the_largest_lock_fits_into_a_secret_and_a_longer_one_is_not_made() -> None:
    largest = Lock(KEYS[:10], 10, 1 << 40, KEYS[10:11], 1, sig_all=True)
    assert len(largest.secret(NONCE)) <= SECRET_LIMIT
    with pytest.raises(MalformedError, match="too long"):
        largest.secret(b"\x09" * 99)


@pytest.mark.parametrize("digest", [None, DIGEST])
def test_a_blinded_lock_opens_to_the_same_owners_and_names_none_of_them(digest: bytes | None) -> None:
    ephemeral = b"\x31" * 32
    lock = Lock(KEYS[:2], 2, 1_900_000_000, KEYS[2:3], preimage_hash=digest)
    blinded = lock.blinded(ephemeral)
    assert not {*blinded.keys, *blinded.refund} & set(KEYS)
    condition = _condition(blinded)
    slots = condition.lock.keys + condition.refund.keys
    for index, secret in enumerate(SECRETS[:3]):
        (found,) = unblind_secrets(secret, public_key(ephemeral), slots, condition.first_slot)
        assert public_key(found)[1:] == slots[index][1:]
