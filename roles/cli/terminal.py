"""What `hashpool up` shows: log lines under their daemons' names, and a live summary on a terminal."""

import contextlib
import os
import sys
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from roles.cli.log_line import LogLine
from roles.cli.panel import Fact, Signpost, summary
from roles.cli.supervisor import Life

COLOURS: Final = (
    "green",
    "cyan",
    "yellow",
    "magenta",
    "blue",
    "bright_green",
    "bright_cyan",
    "bright_magenta",
)
OWN_NAME: Final = "hashpool"
PLAIN_SUMMARY_S: Final = 10.0
REFRESH_S: Final = 0.5
NARROWEST: Final = 20
"""Columns that a message gets at least, however narrow the terminal is."""


class LogFiles:
    """One append-only file per daemon, in the `logs` directory of the state."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: dict[str, TextIO] = {}
        self.failure = ""
        """Why the last line could not be kept, such as a full disk; the system runs on without."""

    def write(self, role: str, line: str) -> None:
        """Append a line to the role's file."""
        try:
            if role not in self._files:
                self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                path = self._directory / f"{role}.log"
                self._files[role] = path.open("a", encoding="utf-8", buffering=1)
            self._files[role].write(line + "\n")
            self.failure = ""
        except OSError as error:
            self.failure = f"{self._directory}: {error.strerror}"

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            # What a full disk did not take is lost already.
            with contextlib.suppress(OSError):
                file.close()


class Terminal:
    """Shows log lines on stderr; on a terminal for people, with a summary below them, else as they are."""

    def __init__(
        self, roles: Sequence[str], files: LogFiles, signpost: Signpost, *, console: Console | None = None
    ) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._for_people = self._console.is_terminal and not self._console.is_dumb_terminal
        self._files = files
        self._signpost = signpost
        self._width = max(map(len, roles))
        self._colours = {role: COLOURS[place % len(COLOURS)] for place, role in enumerate(roles)}
        self._live: Live | None = None
        self._keyboard = contextlib.ExitStack()
        self._last_plain = time.monotonic()
        self._ready_at: float | None = None

    def say(self, role: str, line: str) -> None:
        """Show a log line of a daemon and keep it, as it is, in its file."""
        was_failing = bool(self._files.failure)
        self._files.write(role, line)
        if self._files.failure and not was_failing:
            self.tell(f"log lines are not kept: {self._files.failure}")
        if not self._for_people:
            self._console.print(Text(f"{role:<{self._width}} │ {line}"), soft_wrap=True)
            return
        parsed = LogLine.parse(line)
        clock = parsed.time if parsed else time.strftime("%H:%M:%S")
        self._show(clock, role, self._colours.get(role, "white"), parsed.text() if parsed else Text(line))

    def tell(self, line: str) -> None:
        """Show a line of `up` itself."""
        if self._for_people:
            self._show(time.strftime("%H:%M:%S"), OWN_NAME, "bold green", Text(line, style="bold"))
        else:
            self._console.print(Text(f"{OWN_NAME:<{self._width}} │ {line}"), soft_wrap=True)

    def _show(self, clock: str, name: str, colour: str, message: Text) -> None:
        """Print one line, what does not fit indented below it."""
        head = Text.assemble((f"{clock} ", "dim"), (f"{name:<{self._width}} ", colour))
        room = max(NARROWEST, self._console.width - len(head))
        first, *others = message.wrap(self._console, room) or [Text()]
        indent = Text(" " * len(head))
        lines = [head + first, *(indent + other for other in others)]
        self._console.print(Text("\n").join(lines), soft_wrap=True)

    def open(self) -> None:
        """Begin the live summary, if a person looks on."""
        if self._for_people:
            self._keyboard.enter_context(silent_keyboard())
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def ready(self, seconds: float) -> None:
        """Say that everything is ready, after so long, and what to do now."""
        if self._ready_at is None:
            self._ready_at = time.monotonic()
        self.tell(f"everything is ready after {seconds:.1f} s; point miners at {self._signpost.miners}")

    def show(self, lives: Sequence[Life], facts: Callable[[], list[Fact]]) -> None:
        """Bring the summary up to date; without a terminal a plain line now and then."""
        now = time.monotonic()
        if self._live is not None:
            uptime = 0.0 if self._ready_at is None else now - self._ready_at
            self._live.update(summary(lives, facts(), self._signpost, uptime), refresh=True)
        elif now - self._last_plain >= PLAIN_SUMMARY_S:
            self._last_plain = now
            self.tell(" · ".join(map(str, facts())))

    def close_live(self) -> None:
        """End the live summary; lines can still be told."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._keyboard.close()

    def close(self) -> None:
        """End the live summary and close the log files."""
        self.close_live()
        self._files.close()


@contextlib.contextmanager
def silent_keyboard() -> Iterator[None]:
    """Keep what is typed, such as ^C, off a terminal that is drawn upon; it would tear the drawing."""
    try:
        terminal = sys.stdin.fileno()
        before = termios.tcgetattr(terminal)
        # A process in the background would be stopped for touching the terminal.
        is_ours = os.tcgetpgrp(terminal) == os.getpgrp()
    except (OSError, termios.error):
        is_ours = False
    if not is_ours:
        yield
        return
    changed = [*before]
    changed[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, changed)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):
            termios.tcsetattr(terminal, termios.TCSANOW, before)
