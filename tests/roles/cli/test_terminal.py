"""What `hashpool up` shows, on terminals of several widths and without one."""

import errno
import io
import os
import pty
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from roles.cli.panel import Fact, Signpost, duration, summary
from roles.cli.supervisor import Life, Member, State
from roles.cli.terminal import LogFiles, Terminal, silent_keyboard

SIGNPOST = Signpost("stratum+tcp://127.0.0.1:34255", "./hashpool wallet list", ".state/logs")
ROLES = ("regtest_node", "mint", "template_provider", "pool", "proxy", "translator", "cpu_miner")
LINE = 'ts=2026-03-01T12:34:56.789Z level=info daemon=pool msg="a block is found" height=7'
FACTS = [
    Fact("hashrate", "203 kH/s"),
    Fact("miners", "2"),
    Fact("shares", "1,234,567", "12 rejected"),
    Fact("blocks", "12"),
    Fact("height", "1,234"),
    Fact("balance", "123,456,789 ehash", "12,345 more on the way"),
]


def console(width: int = 80, *, terminal: bool = True) -> Console:
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, legacy_windows=False
    )


def lives(state: State = State.READY) -> list[Life]:
    return [Life(Member(role, (), ""), state) for role in ROLES]


def shown(made: Console) -> str:
    assert isinstance(made.file, io.StringIO)
    return made.file.getvalue()


def drawn(width: int, all_lives: list[Life], uptime_s: float = 75) -> list[str]:
    made = console(width)
    made.print(summary(all_lives, FACTS, SIGNPOST, uptime_s))
    return shown(made).splitlines()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_summary_fits_and_says_what_a_person_wants_to_know(width: int) -> None:
    lines = drawn(width, lives())
    assert {len(line) for line in lines} == {width}
    text = "\n".join(lines)
    for part in (*ROLES, *(fact.value for fact in FACTS), "12 rejected", SIGNPOST.miners, "up 1 min 15 s"):
        assert part in text
    assert "Ctrl-C" in lines[-1]


def test_the_summary_keeps_its_height_while_figures_come_and_go() -> None:
    calm = [Fact(fact.name, fact.value) for fact in FACTS]
    made = console()
    made.print(summary(lives(), calm, SIGNPOST, 75))
    assert len(shown(made).splitlines()) == len(drawn(80, lives()))


def test_a_daemon_that_is_not_ready_says_why_in_one_line() -> None:
    some = lives()
    some[3].state, some[3].reason = State.STARTING, "templates: cannot reach 127.0.0.1:18447: " + "x" * 200
    some[1].state, some[1].restarts, some[1].reason = State.RESTARTING, 2, "ended by SIGKILL"
    lines = drawn(80, some)
    assert {len(line) for line in lines} == {80}
    assert any("pool: templates: cannot reach 127.0.0.1:18447" in line for line in lines)
    assert any("mint ↻2" in line for line in lines)
    assert any("mint: ended by SIGKILL" in line for line in lines)


def test_before_all_is_ready_the_title_says_so() -> None:
    assert "starting" in drawn(80, lives(State.WAITING), 0)[0]


@pytest.mark.parametrize(
    ("seconds", "text"), [(42.9, "42 s"), (180, "3 min 0 s"), (7500, "2 h 5 min"), (90_000, "25 h 0 min")]
)
def test_time_spans_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_on_a_terminal_a_log_line_is_short_and_wrapped_under_its_message(tmp_path: Path) -> None:
    made = console(60)
    terminal = Terminal(ROLES, LogFiles(tmp_path), SIGNPOST, console=made)
    terminal.say("pool", LINE + ' reason="many words that do not fit into what is left of the line"')
    terminal.say("pool", "no log line")
    terminal.close()
    lines = shown(made).splitlines()
    assert lines[0].split()[1:] == ["pool", "a", "block", "is", "found", "height=7"]
    assert all(len(line) <= 60 for line in lines)
    assert lines[1].startswith(" " * 27 + "reason=many words that do")
    assert lines[-1].endswith("pool              no log line")


def test_without_a_terminal_lines_are_as_the_daemon_wrote_them(tmp_path: Path) -> None:
    made = console(40, terminal=False)
    terminal = Terminal(ROLES, LogFiles(tmp_path), SIGNPOST, console=made)
    terminal.open()
    terminal.say("pool", LINE)
    terminal.ready(3.14)
    terminal.close()
    assert shown(made) == (
        f"pool              │ {LINE}\n"
        f"hashpool          │ everything is ready after 3.1 s; point miners at {SIGNPOST.miners}\n"
    )
    assert (tmp_path / "pool.log").read_text() == LINE + "\n"


def test_without_a_terminal_the_figures_are_a_line_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((100.0, 101.0, 110.0, 111.0))
    monkeypatch.setattr("roles.cli.terminal.time.monotonic", lambda: next(clock))
    made = console(40, terminal=False)
    terminal = Terminal(ROLES, LogFiles(tmp_path), SIGNPOST, console=made)
    for _ in range(3):
        terminal.show(lives(), lambda: FACTS[:3])
    assert shown(made) == (
        "hashpool          │ hashrate 203 kH/s · miners 2 · shares 1,234,567 (12 rejected)\n"
    )


def test_a_full_disk_costs_log_files_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = console(terminal=False)
    terminal = Terminal(ROLES, LogFiles(tmp_path), SIGNPOST, console=made)

    def full(*_arguments: Any, **_options: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        terminal.say("pool", "one")
        terminal.say("pool", "two")
    terminal.say("pool", "three")
    terminal.close()
    assert [line.split(" │ ")[1] for line in shown(made).splitlines()] == [
        f"log lines are not kept: {tmp_path}: No space left on device",
        "one",
        "two",
        "three",
    ]
    assert (tmp_path / "pool.log").read_text() == "three\n"


def test_a_directory_that_cannot_be_made_costs_log_files_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "logs").touch()
    made = console(terminal=False)
    terminal = Terminal(ROLES, LogFiles(tmp_path / "logs"), SIGNPOST, console=made)
    terminal.say("pool", "one")
    terminal.close()
    assert [line.split(" │ ")[1] for line in shown(made).splitlines()] == [
        f"log lines are not kept: {tmp_path / 'logs'}: File exists",
        "one",
    ]


def test_what_is_typed_does_not_tear_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = pty.openpty()
    with open(terminal, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp())
        with silent_keyboard():
            assert not termios.tcgetattr(terminal)[3] & termios.ECHO
        assert termios.tcgetattr(terminal)[3] & termios.ECHO
        monkeypatch.setattr(os, "tcgetpgrp", lambda _: os.getpgrp() + 1)
        with silent_keyboard():
            assert termios.tcgetattr(terminal)[3] & termios.ECHO
    os.close(controller)


def test_a_closed_keyboard_is_no_obstacle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with silent_keyboard():
        pass
