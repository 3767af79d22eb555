import pytest

from protocols.sv1.errors import ErrorCode, Rejection
from protocols.translation.verdict import code_of, is_known, rejection


@pytest.mark.parametrize(
    ("code", "text", "meant"),
    [
        (21, "Invalid JobID", "invalid-job-id"),
        (21, "Job not found", "invalid-job-id"),
        (20, "unknown-work", "invalid-job-id"),
        (21, "Stale", "stale-share"),
        (21, "stale-prevblk", "stale-share"),
        (21, "Old", "stale-share"),
        (22, "Duplicate", "duplicate-share"),
        (22, "Seen", "duplicate-share"),
        (20, "Duplicate share", "duplicate-share"),
        (23, "Above target", "difficulty-too-low"),
        (23, "high-hash", "difficulty-too-low"),
        (23, "No", "difficulty-too-low"),
        (20, "Difficulty too low", "difficulty-too-low"),
        (20, "Invalid version mask", "version-rolling-not-allowed"),
        (20, "Ntime out of range", "invalid-share"),
        (21, "time-too-new", "invalid-share"),
        (24, "Unauthorized worker", "Unauthorized worker"),
        (1234, "Whatever", "Whatever"),
    ],
)
def test_what_a_pool_says_of_a_share_is_told_to_its_miner_in_words_that_firmware_counts_by(
    code: int, text: str, meant: str
) -> None:
    assert code_of(Rejection(code, text)) == meant
    assert is_known(meant) is (meant != text)
    told = rejection(meant)
    assert told.code in set(ErrorCode)
