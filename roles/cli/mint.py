"""`hashpool mint ACTION`: look at a running mint and manage it, over the socket in its state directory.

Without an action it is the daemon itself: `hashpool mint -c mint.toml -g shared/pool.toml`.
"""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
from rich.console import Console
from rich.table import Table

from roles.cli.checkout import STATE_HELP, development_state
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from roles.runtime.errors import OperatorError
from roles.runtime.local_socket import ask

ROLE: Final = "mint"
SOCKET: Final = "control.sock"
ACTIONS: Final = {
    "status": "what it lacks, what is stopped, and how many keysets there are",
    "keysets": "keysets with what each has issued and redeemed, the newest first",
    "rotate": "give a unit a new keyset; the one before signs no more, its tokens stay good",
    "pause": "stop issuing, or one method or unit, until `resume`; also over restarts",
    "resume": "let go on what `pause` has stopped",
    "quote": "look at a quote, or mend it",
    "backup": "copy the store to a file while the mint serves",
    "watchdog": "whether the ledger's counters are what its rows sum to",
    "journal": "what was done here, the newest first",
}
_TIMEOUT_S: Final = 60.0
_LONG_S: Final = 3600.0
"""Counting or copying all rows takes a minute for some tens of millions."""
_PIPE_WIDTH: Final = 200
_UNCHANGED: Final = {
    "pause": "it is paused already",
    "resume": "it was not paused; hashpool mint status tells what is",
}


def main(argv: list[str]) -> int:
    """Do what is asked for, or be the daemon; returns 0, or the exit code of what went wrong."""
    if not argv or (argv[0].startswith("-") and argv[0] not in {"-h", "--help"}):
        from roles.mint.__main__ import main as daemon

        return daemon(argv)
    options = parse(argv)
    state = development_state(options.state, options.port_offset)
    try:
        timeout_s = _LONG_S if options.action in {"watchdog", "backup"} else _TIMEOUT_S
        told = ask(state / ROLE / SOCKET, order(options), timeout_s=timeout_s)
    except OperatorError as error:
        print(f"hashpool mint: {error}", file=sys.stderr)
        return error.exit_code
    if options.json:
        print(orjson.dumps(told).decode())
    else:
        show(options.action, told)
    return sysexits.OK


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = Arguments(
        prog="hashpool mint", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    shared = Arguments(add_help=False)
    shared.add_argument("--state", metavar="DIR", help=STATE_HELP)
    shared.add_argument("--port-offset", type=int, default=0, metavar="N", help="that of the `up` it is of")
    shared.add_argument("--json", action="store_true", help="print one object on one line")
    actions = parser.add_subparsers(dest="action", required=True)
    commands = {
        name: actions.add_parser(name, help=text, description=text, parents=[shared])
        for name, text in ACTIONS.items()
    }
    keysets, quote = commands["keysets"], commands["quote"]
    keysets.add_argument("unit", nargs="?", metavar="UNIT", help="of this unit alone")
    _add_rotate(commands["rotate"])
    for name in ("pause", "resume"):
        which = commands[name].add_mutually_exclusive_group()
        which.add_argument("--method", metavar="NAME", help="this method alone")
        which.add_argument("--unit", metavar="NAME", help="this unit alone")
        commands[name].add_argument("--reason", default="by hand", metavar="TEXT", help="kept in the journal")
    _add_quote(quote)
    commands["backup"].add_argument("file", type=Path, metavar="FILE", help="one that is not there yet")
    _add_watchdog(commands["watchdog"])
    for action in (keysets, commands["journal"]):
        action.add_argument("--limit", type=int, default=20, metavar="N", help="how many (20)")
    options = parser.parse_args(argv)
    changes = options.action == "quote" and (options.paid is not None or options.settle or options.fail)
    if changes and options.reason is None:
        quote.error("a change needs a --reason, which the journal keeps")
    return options


def _add_rotate(rotate: argparse.ArgumentParser) -> None:
    rotate.add_argument("unit", metavar="UNIT")
    rotate.add_argument(
        "--fee", type=int, metavar="PPK", help="fee of an input in thousandths, by default what it is now"
    )
    rotate.add_argument(
        "--final-expiry",
        type=moment,
        metavar="WHEN",
        help="when its tokens end: Unix seconds, or a date such as 2030-12-31",
    )


def _add_quote(quote: argparse.ArgumentParser) -> None:
    quote.add_argument("quote", metavar="ID")
    quote.add_argument(
        "--paid", type=int, metavar="AMOUNT", help="what was paid for it, where the mint does not know"
    )
    stuck = quote.add_mutually_exclusive_group()
    stuck.add_argument("--settle", action="store_true", help="a melt that is stuck: its payment went through")
    stuck.add_argument("--fail", action="store_true", help="a melt that is stuck: it is never paid any more")
    quote.add_argument("--preimage", metavar="HEX", help="for --settle: the proof of the payment")
    quote.add_argument(
        "--routing-msat", type=int, metavar="N", help="for --settle: its cost; by default the whole reserve"
    )
    quote.add_argument(
        "--without-node", action="store_true", help="do not ask the Lightning node, which is gone for good"
    )
    quote.add_argument("--reason", metavar="TEXT", help="why; kept in the journal")


def _add_watchdog(watchdog: argparse.ArgumentParser) -> None:
    watchdog.add_argument(
        "what",
        nargs="?",
        default="state",
        choices=("state", "run", "clear"),
        help="state: what it found; run: count all rows now; clear: go on after it has stopped the mint",
    )
    watchdog.add_argument(
        "--reason", default="by hand", metavar="TEXT", help="for clear, kept in the journal"
    )


def moment(text: str) -> int:
    """Unix seconds of a number or a date, whose day is the first without."""
    if text.isascii() and text.isdecimal():
        return int(text)
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    except ValueError as error:
        raise argparse.ArgumentTypeError("neither Unix seconds nor a date such as 2030-12-31") from error


def order(options: argparse.Namespace) -> dict[str, Any]:
    """What the mint is asked."""
    match options.action:
        case "rotate":
            return {
                "order": "rotate",
                "unit": options.unit,
                "fee_ppk": options.fee,
                "final_expiry": options.final_expiry,
            }
        case "pause" | "resume":
            return {"order": options.action, "scope": scope(options), "reason": options.reason}
        case "quote" if options.paid is not None:
            return {
                "order": "correct",
                "quote": options.quote,
                "amount_paid": options.paid,
                "reason": options.reason,
            }
        case "quote" if options.settle or options.fail:
            return {
                "order": "resolve",
                "quote": options.quote,
                "outcome": "paid" if options.settle else "failed",
                "reason": options.reason,
                "preimage": options.preimage,
                "routing_msat": options.routing_msat,
                "unasked": options.without_node,
            }
        case "quote":
            return {"order": "quote", "quote": options.quote}
        case "backup":
            return {"order": "backup", "path": str(options.file.absolute())}
        case "watchdog":
            orders = {"state": "watchdog", "run": "recount", "clear": "clear"}
            reason = {"reason": options.reason} if options.what == "clear" else {}
            return {"order": orders[options.what], **reason}
        case "keysets":
            return {"order": "keysets", "unit": options.unit, "limit": options.limit}
        case "journal":
            return {"order": "journal", "limit": options.limit}
        case _:
            return {"order": options.action}


def scope(options: argparse.Namespace) -> str:
    """What is stopped or goes on."""
    if options.method is not None:
        return f"method:{options.method}"
    return "issuing" if options.unit is None else f"unit:{options.unit.lower()}"


def show(action: str, told: dict[str, Any]) -> None:
    """Print an answer for people."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    if told == {"changed": False}:
        console.print(f"nothing to do: {_UNCHANGED.get(action, 'it is so already')}")
        return
    SHOWN.get(action, _show_facts)(console, told)


def _show_facts(console: Console, told: dict[str, Any]) -> None:
    """Whatever it is, a line for each."""
    if told.keys() == {"changed"}:
        console.print("done")
        return
    for name, value in told.items():
        console.print(f"{name.replace('_', ' ')}: {_text(name, value)}", markup=False)


def _show_status(console: Console, told: dict[str, Any]) -> None:
    for name in ("url", "version", "pid", "uptime_s", "store"):
        console.print(f"{name}: {told[name]}", markup=False)
    console.print(f"keysets: {told['keysets']}, of which {told['active_keysets']} sign")
    lacks = "; ".join(f"{name}: {reason}" for name, reason in (told["reasons"] | told["notes"]).items())
    console.print(f"ready: {'yes' if told['ready'] else 'no'}{lacks and f' ({lacks})'}", markup=False)
    for halt in told["halts"]:
        since = _time(halt["since"])
        console.print(f"stopped since {since}: {halt['scope']} ({halt['reason']})", markup=False)


def _show_keysets(console: Console, told: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("keyset", "unit", "signs", "fee ppk", "final expiry", "made"):
        table.add_column(heading)
    for heading in ("issued", "redeemed", "outstanding"):
        table.add_column(heading, justify="right")
    for each in told["keysets"]:
        table.add_row(
            each["keyset_id"][:16],
            each["unit"] if len(each["unit"]) < 30 else f"{each['unit'][:13]}…{each['unit'][-8:]}",
            "yes" if each["active"] else "no",
            str(each["input_fee_ppk"]),
            "" if each["final_expiry"] is None else _time(each["final_expiry"]),
            _time(each["created_at"]),
            f"{each['issued']:,}",
            f"{each['redeemed']:,}",
            f"{each['issued'] - each['redeemed']:,}",
        )
    console.print(table)
    if told["more"]:
        console.print(f"and {told['more']} more: --limit")


def _show_journal(console: Console, told: dict[str, Any]) -> None:
    for each in told["entries"]:
        line = f"{_time(each['time'])} {each['action']} {each['subject']}: {each['detail']}"
        console.print(line, markup=False)


def _text(name: str, value: Any) -> str:
    if value is None or value == []:
        return "none"
    if name in {"updated_at", "sent_at", "final_expiry", "checked_at", "recounted_at", "since"}:
        return _time(value)
    if isinstance(value, list):
        return "; ".join(
            ", ".join(f"{key} {_text(key, part)}" for key, part in each.items()) for each in value
        )
    return str(value)


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


SHOWN: Final[dict[str, Callable[[Console, dict[str, Any]], None]]] = {
    "status": _show_status,
    "keysets": _show_keysets,
    "journal": _show_journal,
}
