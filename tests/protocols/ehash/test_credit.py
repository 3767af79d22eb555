from dataclasses import replace

import pytest

from protocols.bitcoin.header import Header
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import MAX_TARGET, from_work
from protocols.ehash.amount import Valuation
from protocols.ehash.credit import Credit, check_credit
from protocols.ehash.errors import BadKey, BadWork, CreditCode
from protocols.ehash.messages import FLAG_BLOCK, CreditRow

KEY = public_key(bytes(31) + b"\x01")
TARGET = from_work(16 << 2)


def mined(target: int, bits: int = 0x207FFFFF) -> Header:
    nonce = 0
    while True:
        header = Header(0x20000000, bytes(32), bytes(32), 1_700_000_000, bits, nonce)
        if int.from_bytes(header.hash(), "little") <= target:
            return header
        nonce += 1


def row(header: Header, target: int = TARGET, flags: int = 0, key: bytes = KEY) -> CreditRow:
    return CreditRow(header.pack(), target, 1, flags, key)


def test_a_proven_row_is_credited_with_the_work_of_its_target() -> None:
    header = mined(TARGET)
    assert check_credit(row(header), 2, Valuation.TARGET) == Credit(header.hash(), 16, KEY, False)


def test_a_row_can_be_valued_by_what_it_achieved() -> None:
    header = mined(from_work(1 << 6))
    zeros = 256 - int.from_bytes(header.hash(), "little").bit_length()
    credit = check_credit(row(header, MAX_TARGET), 2, Valuation.ACHIEVED)
    assert credit.amount == 1 << zeros - 2


def test_a_header_above_its_target_proves_nothing() -> None:
    header = mined(TARGET)
    number = int.from_bytes(header.hash(), "little")
    with pytest.raises(BadWork) as caught:
        check_credit(row(header, number - 1), 0, Valuation.TARGET)
    assert caught.value.code is CreditCode.BAD_WORK
    assert check_credit(row(header, number), 0, Valuation.TARGET).share_hash == header.hash()


def test_work_worth_nothing_or_too_much_is_refused() -> None:
    header = mined(TARGET)
    with pytest.raises(BadWork, match="worth 0"):
        check_credit(row(header), 255, Valuation.TARGET)
    # No header meets a target of 2^53 hashes here, so the limit is shown by what a hash achieved elsewhere.
    hardest = from_work((1 << 53) << 2)
    with pytest.raises(BadWork, match="above"):
        check_credit(row(header, hardest), 2, Valuation.TARGET)


def test_an_amount_of_2_to_the_53_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.ehash.credit.share_amount", lambda *_: 1 << 53)
    with pytest.raises(BadWork, match="worth"):
        check_credit(row(mined(TARGET)), 2, Valuation.TARGET)


@pytest.mark.parametrize("key", [bytes(33), b"\x02" + b"\xff" * 32, b"\x04" + KEY[1:]])
def test_a_key_off_the_curve_is_refused(key: bytes) -> None:
    with pytest.raises(BadKey) as caught:
        check_credit(row(mined(TARGET), key=key), 2, Valuation.TARGET)
    assert caught.value.code is CreditCode.BAD_KEY


def test_a_block_must_meet_its_own_bits() -> None:
    header = mined(TARGET)
    assert check_credit(row(header, flags=FLAG_BLOCK), 2, Valuation.TARGET).block
    hard = mined(TARGET, bits=0x1D00FFFF)
    assert not check_credit(row(hard), 2, Valuation.TARGET).block
    with pytest.raises(BadWork, match="do not allow"):
        check_credit(row(hard, flags=FLAG_BLOCK), 2, Valuation.TARGET)
    broken = mined(TARGET, bits=0)
    with pytest.raises(BadWork, match="invalid"):
        check_credit(row(broken, flags=FLAG_BLOCK), 2, Valuation.TARGET)


def test_unknown_flags_are_ignored() -> None:
    header = mined(TARGET)
    with_flag = replace(row(header), flags=0xFE)
    assert not check_credit(with_flag, 2, Valuation.TARGET).block


def test_codes_from_retry_on_hold_and_have_a_label() -> None:
    assert [code.label for code in CreditCode] == [
        "bad-work",
        "bad-key",
        "duplicate-elsewhere",
        "retry",
        "over-bound",
    ]
    assert [code for code in CreditCode if code.holds] == [CreditCode.RETRY, CreditCode.OVER_BOUND]
