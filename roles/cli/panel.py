"""The live summary of `hashpool up`: what is up, what it has done, and where to point a miner."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from roles.cli.supervisor import Life, State

STATE_STYLES: Final = {
    State.READY: ("●", "green"),
    State.STARTING: ("◐", "yellow"),
    State.RESTARTING: ("↻", "red"),
    State.WAITING: ("○", "dim"),
    State.STOPPED: ("■", "dim"),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """A figure of the run with its name; `note` is a word beside it that wants to be seen."""

    name: str
    value: str
    note: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.value}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Signpost:
    """Where to go from here: what miners are pointed at, the command that shows tokens, the logs."""

    miners: str
    tokens: str
    logs: str


def summary(
    lives: Sequence[Life], facts: Sequence[Fact], signpost: Signpost, uptime_s: float
) -> RenderableType:
    """Return the panel; `uptime_s` counts from the moment that everything was ready, 0 before."""
    body: list[RenderableType] = [
        Columns([daemon_cell(life) for life in lives], padding=(0, 2)),
        *waiting_lines(lives),
        Text(),
        figures(facts),
        Text.assemble(
            ("miners  ", "dim"), (signpost.miners, "bold cyan"), ("  any user name, password x", "dim")
        ),
        Text.assemble(("tokens  ", "dim"), signpost.tokens, ("   logs  ", "dim"), signpost.logs),
    ]
    state = f"up {duration(uptime_s)}" if uptime_s else "starting"
    return Panel(
        Group(*body),
        title=f"[bold green]hashpool[/] [dim]{state}[/]",
        subtitle="[dim]Ctrl-C ends everything[/]",
        border_style="green" if all(life.state is State.READY for life in lives) else "yellow",
    )


def daemon_cell(life: Life) -> Text:
    """Return a daemon's mark, name and number of restarts."""
    mark, style = STATE_STYLES[life.state]
    again = f" ↻{life.restarts}" if life.restarts else ""
    return Text.assemble((f"{mark} ", style), (life.member.role, "default"), (again, "red"))


def waiting_lines(lives: Sequence[Life]) -> list[Text]:
    """Return a line for each daemon that runs and says why it is not ready."""
    return [
        Text.assemble((f"  {life.member.role}: ", "yellow"), life.reason, no_wrap=True, overflow="ellipsis")
        for life in lives
        if life.reason and life.state in {State.STARTING, State.RESTARTING}
    ]


def figures(facts: Sequence[Fact]) -> Table:
    """Return the facts side by side, each under its name."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for _ in facts:
        table.add_column(no_wrap=True)
    table.add_row(*(Text(fact.name, style="dim") for fact in facts))
    table.add_row(*(Text(fact.value, style="bold") for fact in facts))
    # The row stands there without notes, too: a panel that grows and shrinks makes the log above it jump.
    table.add_row(*(Text(fact.note, style="yellow") for fact in facts))
    return table


def duration(seconds: float) -> str:
    """Return a time span as a person says it: 42 s, 3 min, 2 h 5 min."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
