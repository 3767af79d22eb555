import json
import logging
import sys
from typing import Any

import pytest

from roles.runtime.log import Format, LineFormatter, configure, summary


def line(form: Format = "logfmt", *, full: bool = False, **record: Any) -> str:
    made = logging.makeLogRecord(
        {"levelname": "INFO", "created": 0.25, "msecs": 250, "msg": "hello"} | record
    )
    return LineFormatter("pool", form, full_traceback=full).format(made)


def raised() -> tuple[Any, ...]:
    try:
        try:
            int("x")
        except ValueError as error:
            raise RuntimeError("no number") from error
    except RuntimeError:
        return sys.exc_info()
    raise AssertionError


def test_a_line_tells_time_level_daemon_message_and_fields() -> None:
    assert line(height=7, reason="a b", ok=True) == (
        'ts=1970-01-01T00:00:00.250Z level=info daemon=pool msg=hello height=7 reason="a b" ok=true'
    )


def test_json_holds_the_same_fields() -> None:
    assert json.loads(line("json", height=7)) == {
        "ts": "1970-01-01T00:00:00.250Z",
        "level": "info",
        "daemon": "pool",
        "msg": "hello",
        "height": 7,
    }


@pytest.mark.parametrize("hostile", ["a\nlevel=error", "\x1b[2J", "\u202e", 'quote"', "a=b", ""])
def test_what_a_peer_sends_can_neither_break_a_line_nor_steer_a_terminal(hostile: str) -> None:
    text = line(worker=hostile)
    assert text.isprintable()
    assert text.endswith('"')
    assert json.loads(text.partition("worker=")[2]) == hostile


def test_an_error_is_its_chain_of_texts_and_places() -> None:
    text = line(exc_info=raised())
    assert "RuntimeError: no number [runtime/test_log.py:" in text
    assert "<- ValueError: invalid literal for int() with base 10: 'x' [runtime/test_log.py:" in text
    assert "Traceback" not in text


def test_full_tracebacks_come_on_request_and_in_one_line() -> None:
    text = line(exc_info=raised(), full=True)
    assert "Traceback" in text
    assert "\n" not in text


def test_a_group_of_errors_names_its_members() -> None:
    group = ExceptionGroup("several", [ValueError("one"), KeyError("two")])
    assert summary(group) == "ValueError: one; KeyError: 'two'"


def test_configuring_sends_everything_to_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    try:
        configure("mint", "logfmt", "warning")
        logging.getLogger("x").info("hidden")
        logging.getLogger("x").warning("shown", extra={"n": 1})
    finally:
        root.setLevel(level)
        logging.captureWarnings(capture=False)
    error = capsys.readouterr().err
    assert "level=warning daemon=mint msg=shown n=1" in error
    assert "hidden" not in error
