import pytest

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu.errors import QuoteNotPaidError, SignatureError
from protocols.cashu.models import BlindedMessage
from roles.mint.keysets import KeysetBook, derive
from roles.mint.quote import Quote
from roles.mint.request import MintRequest, QuoteClaim
from roles.mint.rules import check_mint, check_unlocked

KEYSET = derive(b"\x01" * 32, "sat", 0, 8)
OUTPUT = BlindedMessage(4, KEYSET.keyset_id, public_key(b"\x02" * 32))


def _quote(paid: int, pubkey: bytes | None = None) -> Quote:
    return Quote("q", "bolt11", "sat", "", 4, paid, 0, 1, pubkey)


def test_a_quote_that_is_not_paid_gives_nothing() -> None:
    request = MintRequest((QuoteClaim("q", 4, None),), (OUTPUT,))
    assert _quote(0).state == "UNPAID"
    with pytest.raises(QuoteNotPaidError):
        check_mint(request, [_quote(0)], KeysetBook([KEYSET]), 0)
    assert check_mint(request, [_quote(4)], KeysetBook([KEYSET]), 0)[0].amount == 4


def test_a_quote_that_is_not_locked_takes_no_signature() -> None:
    check_unlocked(MintRequest((QuoteClaim("q", 4, None),), (OUTPUT,)), [_quote(4)])
    with pytest.raises(SignatureError, match="is not locked"):
        check_unlocked(MintRequest((QuoteClaim("q", 4, bytes(64)),), (OUTPUT,)), [_quote(4)])
