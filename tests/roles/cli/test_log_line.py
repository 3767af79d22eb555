"""Log lines as people read them."""

import time
from collections.abc import Iterator

import pytest

from roles.cli.log_line import LogLine


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


LOGFMT = (
    'ts=2026-03-01T12:34:56.789Z level=info daemon=pool msg="a \\"block\\" is found" height=7 hash= who="a b"'
)
JSON = (
    '{"ts": "2026-03-01T12:34:56.789Z", "level": "info", "daemon": "pool",'
    ' "msg": "a \\"block\\" is found", "height": 7, "hash": "", "who": "a b"}'
)


@pytest.mark.parametrize("line", [LOGFMT, JSON])
def test_a_line_comes_apart_whichever_format_it_has(line: str) -> None:
    parsed = LogLine.parse(line)
    assert parsed == LogLine(
        "12:34:56", "info", 'a "block" is found', {"height": "7", "hash": "", "who": "a b"}
    )
    assert str(parsed.text()) == 'a "block" is found  height=7  hash=  who=a b'


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Traceback (most recent call last):",
        '  File "x.py", line 3, in y',
        "level=info msg=timeless",
        "ts=yesterday level=info msg=x",
        'ts=2026-03-01T12:34:56.789Z level=info msg="never closed',
        'ts=2026-03-01T12:34:56.789Z level=info msg="\\x"',
        "{",
        "{}",
        "[1]",
        '{"ts": 3, "level": "info", "msg": "x"}',
    ],
)
def test_what_is_no_log_line_is_left_as_it_is(line: str) -> None:
    assert LogLine.parse(line) is None


def test_a_hash_is_cut_except_where_a_person_may_need_it_whole() -> None:
    digits = "00000155" + "ab" * 20 + "564cb5"
    head = "ts=2026-03-01T12:34:56.789Z level={} msg=x "
    calm = LogLine.parse(head.format("info") + f"hash={digits} unit=hash_{digits}_0 id=0123456789abcdef")
    assert calm is not None
    assert str(calm.text()) == "x  hash=00000155…564cb5  unit=hash_00000155…564cb5_0  id=0123456789abcdef"
    grave = LogLine.parse(head.format("error") + f"hash={digits}")
    assert grave is not None
    assert str(grave.text()) == f"x  hash={digits}"
