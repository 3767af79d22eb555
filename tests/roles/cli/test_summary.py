"""Pool and mint can audit each other by signed summaries, without seeing one store."""

from pathlib import Path

import pytest

from protocols.bitcoin import secp256k1
from protocols.ehash.ledger_chain import STEP, Link
from roles.cli.audit import main
from roles.cli.auditing.findings import Findings
from roles.cli.auditing.summary import Summary, SummaryError, compare, export, load, summarise

SECRET = b"\x11" * 32
ISSUER = secp256k1.public_key(SECRET)
STORE = b"\x05" * 16


def links(count: int, *, odd: int = 0) -> list[Link]:
    return [Link(seq, seq.to_bytes(32, "big"), 7 + (seq == odd), ISSUER) for seq in range(1, count + 1)]


def summary(count: int) -> Summary:
    return summarise("pool", ISSUER, STORE, links(count))


def compared(ours: list[Link], theirs: Summary) -> Findings:
    findings = Findings()
    compare(ours, theirs, findings)
    return findings


def test_a_summary_is_read_back_with_its_signer() -> None:
    read, signer = load(export(summary(3), SECRET, bytes(32)))
    assert read == summary(3)
    assert signer == ISSUER[1:]


def test_a_changed_summary_is_refused() -> None:
    data = export(summary(3), SECRET, bytes(32))
    with pytest.raises(SummaryError, match="signature is false"):
        load(data.replace(b'"credited": 21', b'"credited": 22'))


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"summary": {}}', b"\xff"])
def test_what_is_no_summary_is_refused(data: bytes) -> None:
    with pytest.raises(SummaryError, match="no audit summary"):
        load(data)


def test_equal_ledgers_agree_and_say_how_far() -> None:
    findings = compared(links(5), summary(5))
    assert findings.ok
    assert findings.counts["rows compared with the other side"] == 5


@pytest.mark.parametrize("odd", [1, 3, 5])
def test_one_row_that_differs_is_found(odd: int) -> None:
    assert "ledgers that differ between the sides" in compared(links(5, odd=odd), summary(5)).problems


def test_a_side_that_is_ahead_compares_at_the_other_s_last_row() -> None:
    findings = compared(links(9), summary(5))
    assert findings.ok
    assert findings.counts["rows compared with the other side"] == 5


def test_a_side_that_lags_behind_compares_at_the_last_row_that_both_have() -> None:
    findings = compared(links(STEP + 5), summary(STEP + 9))
    assert findings.ok
    assert findings.counts["rows compared with the other side"] == STEP
    assert compared(links(3), summary(5)).counts["rows that the other side can compare"] == 3


def test_an_export_of_nothing_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--pool", "--export", str(tmp_path / "pool.json"), "--state", str(tmp_path)])
    assert code == 66
    assert "holds no store of the pool" in capsys.readouterr().err


def test_a_summary_goes_with_one_side_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--export", str(tmp_path / "x")])
    assert "exactly one of --pool and --mint" in capsys.readouterr().err
