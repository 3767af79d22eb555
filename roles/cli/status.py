"""`hashpool status`: what is up, from the daemons' health addresses."""

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from rich.console import Console
from rich.table import Table

from roles.cli.checkout import home
from roles.cli.fleet import PROFILES, SV2, health_address
from roles.runtime.arguments import Arguments
from shared_config.roster import directory

TIMEOUT_S = 2.0


@dataclass(frozen=True)
class Answer:
    """What a daemon says: whether it runs, whether it is ready, what it lacks, seconds since its start, and
    what else people should know.
    """

    role: str
    address: str
    up: bool
    ready: bool
    reasons: dict[str, str]
    uptime_s: float | None
    notes: dict[str, str] = field(default_factory=dict)


async def ask(role: str, address: str, session: aiohttp.ClientSession) -> Answer:
    """Ask one daemon."""
    try:
        async with session.get(f"http://{address}/health") as response:
            health = read_object(await response.read())
        async with session.get(f"http://{address}/ready") as response:
            ready, told = response.status == 200, read_object(await response.read())
    except (aiohttp.ClientError, TimeoutError):
        return Answer(role, address, False, False, {}, None)
    if health.get("daemon") != directory(role):
        return Answer(role, address, False, False, {"health_address": "another program answers there"}, None)
    return Answer(
        role, address, True, ready, told.get("reasons", {}), health.get("uptime_s"), told.get("notes", {})
    )


def read_object(body: bytes) -> dict[str, Any]:
    """What a daemon says of itself; empty where it is no object, as another program's answer may be."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return told if isinstance(told, dict) else {}


async def ask_all(addresses: dict[str, str]) -> list[Answer]:
    """Ask every daemon at once."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        return await asyncio.gather(*(ask(role, address, session) for role, address in addresses.items()))


def table(answers: list[Answer]) -> Table:
    """Return the answers as a table for people."""
    shown = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("daemon", "state", "up for", "health address", "waits for, notes"):
        shown.add_column(heading)
    for answer in answers:
        state = "[green]ready[/]" if answer.ready else "[yellow]not ready[/]" if answer.up else "[red]down[/]"
        uptime = "" if answer.uptime_s is None else f"{answer.uptime_s:.0f} s"
        reasons = "; ".join(f"{name}: {reason}" for name, reason in (answer.reasons | answer.notes).items())
        shown.add_row(answer.role, state, uptime, answer.address, reasons)
    return shown


def main(argv: list[str]) -> int:
    """Print what is up; returns 0 only if every daemon is ready."""
    parser = Arguments(prog="hashpool status", description=__doc__)
    parser.add_argument("--port-offset", type=int, default=0, metavar="N", help="that of the `up` asked for")
    parser.add_argument(
        "--config", type=Path, default=home() / "config", metavar="DIR", help="configuration files"
    )
    parser.add_argument(
        "--profile", choices=tuple(PROFILES), default=SV2.name, help="that of the `up` asked for"
    )
    parser.add_argument("--json", action="store_true", help="print one object on one line")
    options = parser.parse_args(argv)
    needs = PROFILES[options.profile].needs
    addresses = {role: health_address(options.config, role, options.port_offset) for role in needs}
    answers = asyncio.run(ask_all(addresses))
    if options.json:
        told = {
            answer.role: {
                "up": answer.up,
                "ready": answer.ready,
                "reasons": answer.reasons,
                "notes": answer.notes,
            }
            for answer in answers
        }
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
    else:
        Console(highlight=False).print(table(answers))
    return 0 if all(answer.ready for answer in answers) else 1
