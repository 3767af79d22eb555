import pytest

from protocols.ehash.resume_token import DIGEST_SIZE, SIZE, ResumeToken, digest

TOKEN = ResumeToken(0xDEADBEEF, 7, bytes(range(24)))


def test_a_token_has_32_bytes_and_is_read_as_it_was_written() -> None:
    assert len(TOKEN.pack()) == SIZE
    assert ResumeToken.parse(TOKEN.pack()) == TOKEN


@pytest.mark.parametrize("size", [0, SIZE - 1])
def test_bytes_of_another_length_are_no_token_of_ours(size: int) -> None:
    assert ResumeToken.parse(bytes(size)) is None


def test_the_secret_of_a_token_is_not_shown() -> None:
    assert repr(TOKEN) == "ResumeToken(store=deadbeef, slot=7)"


def test_what_is_recorded_of_a_token_depends_on_the_key_that_it_is_for() -> None:
    digests = {digest(TOKEN.pack(), key) for key in (None, b"\2" * 33, b"\3" * 33)}
    assert {len(each) for each in digests} == {DIGEST_SIZE}
    assert len(digests) == 3
