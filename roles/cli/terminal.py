"""What `hashpool up` shows: prefixed, coloured log lines, and a live summary where there is a terminal."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from roles.cli.supervisor import Life, State

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
STATE_STYLES: Final = {
    State.READY: ("●", "green"),
    State.STARTING: ("◐", "yellow"),
    State.RESTARTING: ("↻", "red"),
    State.WAITING: ("○", "dim"),
    State.STOPPED: ("■", "dim"),
}
PLAIN_SUMMARY_S: Final = 10.0
REFRESH_S: Final = 0.5


class LogFiles:
    """One append-only file per daemon, in the `logs` directory of the state."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._files: dict[str, TextIO] = {}

    def write(self, role: str, line: str) -> None:
        """Append a line to the role's file."""
        if role not in self._files:
            path = self._directory / f"{role}.log"
            self._files[role] = path.open("a", encoding="utf-8", buffering=1)
        self._files[role].write(line + "\n")

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            file.close()


class Terminal:
    """Prints log lines to stderr and, on a terminal, keeps a summary below them."""

    def __init__(self, roles: list[str], files: LogFiles, *, quiet: bool) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._files = files
        self._quiet = quiet
        self._width = max(map(len, roles))
        self._colours = {role: COLOURS[place % len(COLOURS)] for place, role in enumerate(roles)}
        self._live: Live | None = None
        self._last_plain = time.monotonic()

    def say(self, role: str, line: str) -> None:
        """Show a log line of a daemon and keep it in its file."""
        self._files.write(role, line)
        if self._quiet:
            return
        text = Text.assemble(
            (f"{role:<{self._width}} │ ", self._colours.get(role, "white")), (line, line_style(line))
        )
        self._console.print(text, soft_wrap=True)

    def tell(self, line: str) -> None:
        """Show a line of `up` itself."""
        self._console.print(Text.assemble(("hashpool", "bold green"), " ", line), soft_wrap=True)

    def open(self) -> None:
        """Begin the live summary, if stderr is a terminal."""
        if self._console.is_terminal and not self._quiet:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def show(self, lives: list[Life], facts: Callable[[], dict[str, str]]) -> None:
        """Bring the summary up to date; without a terminal a plain line now and then."""
        if self._live is not None:
            self._live.update(summary(lives, facts()), refresh=True)
        elif not self._quiet and time.monotonic() - self._last_plain >= PLAIN_SUMMARY_S:
            self._last_plain = time.monotonic()
            self.tell(" · ".join(f"{name} {value}" for name, value in facts().items()))

    def close_live(self) -> None:
        """End the live summary; lines can still be told."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def close(self) -> None:
        """End the live summary and close the log files."""
        self.close_live()
        self._files.close()


def line_style(line: str) -> str:
    """Return the style of a log line by its level (logfmt `level=…`)."""
    head = line[:120]
    if "level=error" in head or "level=critical" in head or '"level":"error"' in head:
        return "bold red"
    if "level=warning" in head or '"level":"warning"' in head:
        return "yellow"
    return ""


def summary(lives: list[Life], facts: dict[str, str]) -> RenderableType:
    """Return the panel with one line of daemons and the figures of the run."""
    daemons = Table.grid(padding=(0, 2))
    for _ in range(4):
        daemons.add_column()
    cells = [daemon_cell(life) for life in lives]
    for first in range(0, len(cells), 4):
        daemons.add_row(*cells[first : first + 4])
    figures = Table.grid(padding=(0, 3))
    names = list(facts)
    for _ in names:
        figures.add_column(justify="left")
    figures.add_row(*(Text(name, style="dim") for name in names))
    figures.add_row(*(Text(facts[name], style="bold") for name in names))
    body = Group(daemons, Text(""), figures)
    return Panel(
        body, title="[bold green]hashpool[/]", subtitle="[dim]Ctrl-C ends everything[/]", border_style="green"
    )


def daemon_cell(life: Life) -> Text:
    """Return a daemon's mark, name and number of restarts."""
    mark, style = STATE_STYLES[life.state]
    again = f" ↻{life.restarts}" if life.restarts else ""
    return Text.assemble((f"{mark} ", style), (life.member.role, "default"), (again, "red"))
