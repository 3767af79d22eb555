"""The audit finds what is missing, doubled or unexplained, and nothing else."""

from dataclasses import replace
from pathlib import Path

import pytest

from protocols.bitcoin import secp256k1
from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.target import from_work, meets
from protocols.cashu import bdhke
from protocols.ehash.amount import Valuation
from roles.cli.auditing.credits import CreditRow, audit_credits
from roles.cli.auditing.findings import Findings
from roles.cli.auditing.ledger import LedgerRow, audit_ledger
from roles.cli.auditing.mint import KeysetTotals, QuoteRow, audit_handover, audit_keysets, audit_quotes
from roles.cli.auditing.payments import Melt, PaidQuote, audit_payments, count_outstanding
from roles.cli.auditing.sides import seed_words
from roles.cli.auditing.wallet import (
    Account,
    HandoutRow,
    ProofRow,
    SignatureRow,
    WalletQuote,
    audit_accounts,
    audit_balance,
    audit_handouts,
    audit_proofs,
    audit_spent,
    audit_wallet_quotes,
)
from roles.runtime.errors import OperatorError

TARGET = from_work(16 << 2)
ISSUER = secp256k1.public_key(b"\x11" * 32)
KEY = secp256k1.public_key(b"\x22" * 32)
UNIT = "hash_x_0"
STORE = b"\5" * 16


def share(seq: int) -> LedgerRow:
    nonce = seq << 20
    while not meets(sha256d(nonce.to_bytes(80, "little")), TARGET):
        nonce += 1
    header = nonce.to_bytes(80, "little")
    return LedgerRow(
        seq, 1000 + seq, sha256d(header), header, TARGET, 2, Valuation.TARGET, 16, KEY, UNIT, None
    )


def quote(row: LedgerRow, issued: int = 16) -> QuoteRow:
    return QuoteRow(row.share_hash, ISSUER, STORE, row.seq, row.amount, row.key, row.unit, row.amount, issued)


ROWS = [share(seq) for seq in (1, 2, 3)]


def found(rows: list[LedgerRow]) -> Findings:
    findings = Findings()
    audit_ledger(rows, 0, findings)
    return findings


def test_a_sound_ledger_passes() -> None:
    findings = found(ROWS)
    assert findings.ok
    assert findings.detail() == "Nothing is missing, doubled or unexplained (3 attributed shares)."


def test_what_is_wrong_is_said_with_its_number_and_where_it_is() -> None:
    findings = handover(ROWS, [quote(ROWS[0])], 2)
    assert findings.detail() == (
        f"1 confirmed share without a quote (such as row 2 (share {ROWS[1].share_hash[::-1].hex()}));"
        " looked at 3 attributed shares, 1 quote, 1 share on their way to the mint."
    )


def test_an_audit_of_nothing_says_so() -> None:
    assert Findings().detail() == "Nothing is missing, doubled or unexplained (nothing is there)."


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([ROWS[0], ROWS[2]], "gaps in the ledger"),
        ([ROWS[0], replace(ROWS[1], time=1)], "rows earlier than the row before"),
        ([ROWS[0], replace(ROWS[0], seq=2)], "shares credited twice"),
        ([replace(ROWS[0], header=ROWS[1].header)], "rows whose hash is not their header's"),
        ([replace(ROWS[0], target=1 << 100)], "rows above their target"),
        ([replace(ROWS[0], amount=17)], "rows with a wrong amount"),
    ],
)
def test_a_ledger_that_breaks_a_rule_is_found_out(rows: list[LedgerRow], kind: str) -> None:
    assert kind in found(rows).problems


def handover(
    rows: list[LedgerRow], quotes: list[QuoteRow], acked: int, refused: dict[int, str] | None = None
) -> Findings:
    findings = Findings()
    ledger = audit_ledger(rows, 0, findings)
    known = audit_quotes(quotes, findings)
    audit_handover(ledger, known, (ISSUER, STORE), acked, findings, refused=refused or {})
    return findings


def test_a_share_that_is_still_on_its_way_is_no_problem() -> None:
    findings = handover(ROWS, [quote(row) for row in ROWS[:2]], 2)
    assert findings.ok
    assert findings.counts["shares on their way to the mint"] == 1


def test_a_confirmed_share_without_a_quote_is_missing() -> None:
    assert "confirmed shares without a quote" in handover(ROWS, [quote(ROWS[0])], 2).problems


def test_a_refused_credit_is_explained_and_alarmed() -> None:
    findings = handover([replace(ROWS[0], refusal="bad-work")], [], 1)
    assert findings.ok
    assert findings.alarms == {"credits refused by the mint (bad-work)": 1}


def test_a_refusal_that_the_pool_has_not_heard_of_is_explained_by_the_mint() -> None:
    findings = handover(ROWS[:1], [], 1, {1: "bad-key"})
    assert findings.ok
    assert findings.alarms == {"credits refused by the mint (bad-key)": 1}


def test_a_share_that_another_ledger_was_credited_for_is_explained_by_its_refusal() -> None:
    elsewhere = replace(quote(ROWS[0]), store_id=bytes(16), seq=7)
    assert handover([replace(ROWS[0], refusal="duplicate-elsewhere")], [elsewhere], 1).ok
    assert "confirmed shares without a quote" in handover(ROWS[:1], [elsewhere], 1).problems


def test_a_refused_credit_must_not_have_a_quote() -> None:
    refused = [replace(ROWS[0], refusal="bad-work")]
    assert "refused credits with a quote" in handover(refused, [quote(ROWS[0])], 1).problems


@pytest.mark.parametrize("change", [{"amount": 15}, {"key": ISSUER}, {"unit": "sat"}, {"seq": 9}])
def test_a_quote_that_differs_from_its_share_is_found(change: dict[str, object]) -> None:
    odd = replace(quote(ROWS[0]), **change)  # type: ignore[arg-type]
    assert "quotes that differ from their share" in handover(ROWS[:1], [odd], 1).problems


def test_a_quote_of_the_issuer_without_a_share_is_unexplained_but_a_stranger_s_is_not_ours() -> None:
    quotes = [quote(row) for row in ROWS]
    assert "quotes without a share" in handover(ROWS[:2], quotes, 2).problems
    assert handover(ROWS[:2], [*quotes[:2], replace(quotes[2], issuer=KEY)], 2).ok


def credit(row: LedgerRow) -> CreditRow:
    return CreditRow(
        ISSUER,
        STORE,
        row.seq,
        row.share_hash,
        row.header,
        row.target,
        row.minimum,
        row.valuation,
        row.key,
        row.unit,
        row.refusal,
    )


def test_a_mint_whose_credits_and_quotes_agree_passes_and_tells_what_it_refused() -> None:
    findings = Findings()
    quotes = audit_quotes(map(quote, ROWS[:2]), findings)
    rows = [credit(ROWS[0]), credit(ROWS[1]), replace(credit(ROWS[2]), refusal="bad-key")]
    assert audit_credits(rows, quotes, findings) == {(ISSUER, STORE): {3: "bad-key"}}
    assert findings.ok


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"header": ROWS[1].header}, "credits whose header does not prove their work"),
        ({"target": 1 << 100}, "credits whose header does not prove their work"),
        ({"minimum": 1}, "quotes that differ from their credit"),
        ({"key": ISSUER}, "quotes that differ from their credit"),
        ({"unit": "sat"}, "quotes that differ from their credit"),
        ({"seq": 2}, "credits without a quote"),
        ({"share_hash": ROWS[1].share_hash}, "credits without a quote"),
        ({"refusal": "bad-work"}, "quotes without a credit"),
    ],
)
def test_a_credit_that_does_not_stand_behind_its_quote_is_found(change: dict[str, object], kind: str) -> None:
    findings = Findings()
    odd = replace(credit(ROWS[0]), **change)  # type: ignore[arg-type]
    audit_credits([odd], audit_quotes([quote(ROWS[0])], findings), findings)
    assert kind in findings.problems


@pytest.mark.parametrize(
    ("held", "ok"), [({UNIT: 16}, True), ({UNIT: 20}, True), ({UNIT: 15}, False), ({}, False)]
)
def test_what_was_minted_must_be_there(held: dict[str, int], ok: bool) -> None:
    findings = Findings()
    audit_balance({UNIT: 16}, held, findings)
    assert findings.ok is ok


@pytest.mark.parametrize(
    ("totals", "kind"),
    [
        (KeysetTotals("k", UNIT, 49, 0, 49, 0), "keysets whose signatures do not match their quotes"),
        (KeysetTotals("k", UNIT, 58, 10, 57, 10), "keysets whose counters differ from their rows"),
        (KeysetTotals("k", UNIT, 48, 50, 48, 50), "keysets redeemed above what they issued"),
    ],
)
def test_a_keyset_that_does_not_add_up_is_found(totals: KeysetTotals, kind: str) -> None:
    findings = Findings()
    audit_keysets([totals], [quote(row) for row in ROWS], findings)
    assert kind in findings.problems


def test_a_keyset_that_adds_up_passes() -> None:
    findings = Findings()
    audit_keysets([KeysetTotals("k", UNIT, 58, 10, 58, 10)], [quote(row) for row in ROWS], findings)
    assert findings.ok


MINT_SECRET = b"\x33" * 32
BLINDING = b"\x44" * 32
BLINDED = bdhke.blind("a secret", BLINDING)
SIGNED = SignatureRow("k", 8, bdhke.sign(MINT_SECRET, BLINDED))
MINT_KEYS = {"k": {8: secp256k1.public_key(MINT_SECRET)}}
PROOF = ProofRow("k", 8, "a secret", bdhke.unblind(SIGNED.signature, BLINDING, MINT_KEYS["k"][8]), BLINDING)


def proofs(rows: list[ProofRow], signed: SignatureRow) -> Findings:
    findings = Findings()
    audit_proofs(rows, MINT_KEYS, {BLINDED: signed}, findings)
    return findings


def test_a_proof_of_the_mint_s_own_signature_passes() -> None:
    assert proofs([PROOF], SIGNED).ok


def test_a_proof_is_shown_without_what_spends_it() -> None:
    assert repr(PROOF) == "ProofRow(keyset_id='k', amount=8)"


@pytest.mark.parametrize(
    ("rows", "signed", "kind"),
    [
        ([PROOF, PROOF], SIGNED, "proofs held twice"),
        ([replace(PROOF, secret="other")], SIGNED, "proofs that the mint has not signed"),
        ([replace(PROOF, amount=16)], SIGNED, "proofs that the mint has not signed"),
        ([replace(PROOF, signature=KEY)], SIGNED, "proofs that differ from their signature"),
    ],
)
def test_a_proof_that_is_not_the_mint_s_signature_is_found(
    rows: list[ProofRow], signed: SignatureRow, kind: str
) -> None:
    assert kind in proofs(rows, signed).problems


@pytest.mark.parametrize(
    ("mine", "kind"),
    [
        (WalletQuote(b"\0" * 32, 16, UNIT, True), "tokens of the wallet without a quote"),
        (WalletQuote(ROWS[0].share_hash, 15, UNIT, True), "quotes that differ between wallet and mint"),
        (WalletQuote(ROWS[1].share_hash, 16, UNIT, True), "quotes minted by the wallet but open at the mint"),
    ],
)
def test_a_credit_of_the_wallet_that_the_mint_does_not_bear_out_is_found(
    mine: WalletQuote, kind: str
) -> None:
    findings = Findings()
    theirs = {row.share_hash: quote(row, issued=0) for row in ROWS}
    audit_wallet_quotes([mine], theirs, findings)
    assert kind in findings.problems


def test_a_wallet_without_its_seed_words_is_refused_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="there are no seed words at") as caught:
        seed_words(tmp_path)
    assert "backup" in caught.value.hint


def test_damaged_seed_words_are_told_with_their_file_and_without_a_word(tmp_path: Path) -> None:
    file = tmp_path / "seed.words"
    file.write_text("abandon all hope")
    file.chmod(0o600)
    with pytest.raises(OperatorError, match=f"{file}: these words are no BIP39 phrase") as caught:
        seed_words(tmp_path)
    assert "abandon" not in str(caught.value)


@pytest.mark.parametrize(
    ("account", "ok"),
    [
        (Account(UNIT, 5, 5, 0), True),
        (Account(UNIT, 5, 2, 3), True),
        (Account(UNIT, 5, 4, 0), False),
        (Account(UNIT, 5, 5, 1), False),
    ],
)
def test_the_history_of_a_unit_must_come_to_what_is_held(account: Account, ok: bool) -> None:
    findings = Findings()
    audit_accounts([account], findings)
    assert findings.ok is ok


@pytest.mark.parametrize(
    ("token", "ok"),
    [
        (HandoutRow(1, 5, "open", 5, 5), True),
        (HandoutRow(1, 5, "open", 5, 1), True),
        (HandoutRow(1, 5, "claimed", 5, 0), True),
        (HandoutRow(1, 5, "claimed", 5, 1), False),
        (HandoutRow(1, 5, "open", 5, 0), False),
        (HandoutRow(1, 5, "open", 4, 4), False),
    ],
)
def test_a_token_that_was_handed_out_must_hold_what_it_says(token: HandoutRow, ok: bool) -> None:
    findings = Findings()
    audit_handouts([token], findings)
    assert findings.ok is ok


def test_what_the_wallet_holds_for_spent_must_be_redeemed_at_the_mint() -> None:
    findings = Findings()
    audit_spent([b"\x02" * 33], {b"\x02" * 33}, findings)
    assert findings.ok
    audit_spent([b"\x03" * 33], {b"\x02" * 33}, findings)
    assert findings.problems == {"spent proofs that the mint has not redeemed": 1}


PAID_MELT = Melt("number 1", "sat", True, 101, 91, 10, 101, 0)
PENDING_MELT = Melt("number 2", "sat", False, 50, 0, 0, 0, 50)
MINTED = PaidQuote("number 3", "sat", 200, 200, 150)


def test_payments_that_add_up_pass_and_tell_what_they_brought_and_cost() -> None:
    findings = Findings()
    flows = audit_payments([MINTED], [PAID_MELT, PENDING_MELT], {"sat": 3}, findings)
    assert flows == {"sat": 150 - 91 - 3}
    totals = [KeysetTotals("k", "sat", 150, 100, 150, 100), KeysetTotals("l", "sat", 20, 14, 20, 14)]
    audit_keysets(totals, [], findings, flows)
    count_outstanding(totals, "sat", findings)
    assert findings.ok
    assert findings.counts["sats outstanding"] == 56
    assert findings.counts["melts on their way"] == 1


@pytest.mark.parametrize(
    ("payment", "kind"),
    [
        (replace(PAID_MELT, change=9), "melts that do not add up"),
        (replace(PAID_MELT, spent=100), "melts that do not add up"),
        (replace(PAID_MELT, pending=1), "melts that do not add up"),
        (replace(PENDING_MELT, pending=49), "pending melts that do not add up"),
        (replace(PENDING_MELT, spent=1), "pending melts that do not add up"),
        (replace(PENDING_MELT, change=1), "pending melts that do not add up"),
        (replace(MINTED, paid=100), "invoices paid in part"),
        (replace(MINTED, issued=201), "quotes issued beyond what was paid"),
    ],
)
def test_a_payment_that_does_not_add_up_is_found(payment: Melt | PaidQuote, kind: str) -> None:
    findings = Findings()
    quotes = [payment] if isinstance(payment, PaidQuote) else []
    melts = [payment] if isinstance(payment, Melt) else []
    audit_payments(quotes, melts, {}, findings)
    assert kind in findings.problems
