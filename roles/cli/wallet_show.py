"""What the wallet's commands say to people; peers choose names and memos, so that no control character of
theirs reaches the terminal.
"""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from roles.cli import qr

_PIPE_WIDTH: Final = 200
_NARROW: Final = 80
"""Columns below which tables leave out what can be spared."""
_UNITS: Final = 12
"""Units that are listed one by one; there is one for each shift."""


def show(options: argparse.Namespace, told: dict[str, Any]) -> None:
    """Print for people."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    if options.action == "list" and options.sent:
        show_sent(console, told)
    else:
        SHOWN[options.action](console, told)
    if options.action == "request" and options.qr:
        qr.show(told["request_bech32m"])
    if options.action == "send" and options.qr:
        for token in told["tokens"]:
            qr.show(token["token"])


def show_balance(console: Console, told: dict[str, Any]) -> None:
    """What is held, waits and is out."""
    console.print(f"[bold]{told['balance']:,}[/] ehash")
    units = told["units"]
    if len(units) > _UNITS:
        older = units[:-_UNITS]
        total, proofs = (sum(unit[name] for unit in older) for name in ("balance", "proofs"))
        console.print(f"  {total:,} in {counted(proofs, 'token')} of {len(older):,} older units")
    for unit in units[-_UNITS:]:
        tokens = counted(unit["proofs"], "token")
        console.print(f"  {unit['balance']:,} in {tokens} of {short(unit['unit'])}")
    if told["waiting"]["quotes"]:
        console.print(
            f"  {told['waiting']['ehash']:,} more in {told['waiting']['quotes']:,} quotes wait for the mint"
        )
    for item in told["out"]:
        tokens = counted(item["tokens"], "token")
        console.print(
            f"  {item['amount']:,} {short(item['unit'])} in {tokens} handed out, not known to be taken"
        )


def show_restored(console: Console, told: dict[str, Any]) -> None:
    """What a restore found."""
    show_balance(console, told)
    console.print(
        f"found {told['proofs']:,} tokens ({told['spent']:,} spent) in {told['keysets']:,} keysets,"
        f" and {told['quotes']:,} open quotes"
    )
    if told["invoices"]:
        console.print(f"minted {told['invoices']:,} sat of invoices that had been paid")


def show_claimed(console: Console, told: dict[str, Any]) -> None:
    """What a claim came to."""
    show_balance(console, told)
    console.print(
        f"claimed {told['minted']:,} ehash of {told['found']:,} new quotes, by {told['keys']:,} keys"
    )
    if not told["found"] and not told["waiting"]["quotes"]:
        console.print("shares are there a second or two after the pool has accepted them")
    console.print(f"the seed words in {told['words']} are all that restores this wallet: keep a copy")


def show_list(console: Console, told: dict[str, Any]) -> None:
    """Keys and tokens."""
    show_balance(console, told)
    console.print(worker_table(told["workers"]))
    if told["strangers"]:
        console.print("miners with keys of their own, who alone can claim what these have earned:")
        console.print(stranger_table(told["strangers"]))
    shown = {unit["unit"] for unit in told["units"][-_UNITS:]}
    console.print(token_table([size for size in told["tokens"] if size["unit"] in shown]))


def show_tokens(_: Console, told: dict[str, Any]) -> None:
    """Tokens to hand on: their texts alone on stdout, so that they can be piped; the rest beside."""
    aside = Console(stderr=True, highlight=False, soft_wrap=True)
    fee = f", for a fee of {told['fee']:,}" if told["fee"] else ""
    several = len(told["tokens"]) > 1
    for token in told["tokens"]:
        whose = "the key's owner" if token["locked"] else "whoever has this text"
        cost = "" if several else fee
        aside.print(f"[bold]{token['amount']:,}[/] {short(token['unit'])}{cost}, for {whose}:")
        sys.stdout.write(f"{token['token']}\n")
    if several:
        aside.print(f"{told['amount']:,} together{fee}, a token for each unit: hand all of them on")
    if told.get("handed_over"):
        aside.print("handed over: whoever asked for it has it")
        return
    aside.print("until somebody has taken it, hashpool wallet receive takes it back")


def show_request(_: Console, told: dict[str, Any]) -> None:
    """What others are to pay, alone on stdout."""
    aside = Console(stderr=True, highlight=False, soft_wrap=True)
    amount = "any amount of" if told["amount"] is None else f"{told['amount']:,}"
    aside.print(f"asks for {amount} {short(told['unit'])}; hashpool wallet receive takes what comes back:")
    sys.stdout.write(f"{told['request']}\n")


def show_invoice(told: dict[str, Any], *, as_code: bool) -> None:
    """What has to be paid."""
    aside = Console(stderr=True, highlight=False, soft_wrap=True)
    aside.print(f"pay [bold]{told['amount']:,}[/] {told['unit']}:")
    aside.print(told["invoice"], markup=False)
    if as_code:
        qr.show(f"lightning:{told['invoice']}".upper())


def agrees(price: dict[str, Any]) -> bool:
    """Ask whether something is to be paid."""
    what = f" for {printable(price['description'])}" if price["description"] else ""
    Console(stderr=True, highlight=False).print(
        f"pay [bold]{price['amount']:,}[/] sat{what}, and up to {price['fee_reserve']:,} for the way?"
    )
    return input("yes or no: ").strip().lower() in {"y", "yes"}


def show_paid(console: Console, told: dict[str, Any]) -> None:
    """What was paid out."""
    console.print(f"[bold]{told['amount']:,}[/] sat paid out, for a fee of {told['fee']:,}")
    if told["preimage"]:
        console.print(f"proof of the payment (preimage): {printable(told['preimage'])}")
    show_held(console, told["balance"])


def show_minted(console: Console, told: dict[str, Any]) -> None:
    """What was paid in, or is to be paid."""
    if "minted" not in told:
        sys.stdout.write(f"{told['invoice']}\n")
        return
    console.print(f"[bold]{told['minted']:,}[/] {told['unit']} paid in")
    show_held(console, told["balance"])


def show_received(console: Console, told: dict[str, Any]) -> None:
    """What came in."""
    for each in told["received"]:
        fee = f" after the mint's fee of {each['fee']:,}" if each["fee"] else ""
        console.print(f"received [bold]{each['amount']:,}[/] {short(each['unit'])}{fee}")
        if each["memo"]:
            console.print(f"  memo: {printable(each['memo'])}")
        if each["spent"]:
            console.print(f"  {each['spent']:,} of its proofs had been spent already and were worth nothing")
    show_held(console, told["balance"])


def show_consolidated(console: Console, told: dict[str, Any]) -> None:
    """What putting together came to."""
    fee = f", for a fee of {told['fee']:,}" if told["fee"] else ""
    console.print(
        f"{told['before']:,} tokens are {told['after']:,} now, by {counted(told['requests'], 'swap')}{fee}"
    )
    show_held(console, told["balance"])


def show_held(console: Console, balance: dict[str, int]) -> None:
    """What there is by now."""
    held = ", ".join(f"{amount:,} {printable(unit)}" for unit, amount in balance.items())
    console.print(f"the wallet holds {held}")


def show_sent(console: Console, told: dict[str, Any]) -> None:
    """Tokens that were handed out."""
    if not told["tokens"]:
        console.print("nothing was handed out yet")
        return
    narrow = console.width < _NARROW
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("made", no_wrap=True)
    table.add_column("amount", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("state")
    table.add_column("memo", overflow="fold")
    for token in told["tokens"]:
        state = token["state"] + (", locked" if token["locked"] else "")
        memo = printable(token["memo"] or "")
        unit = short(token["unit"], narrow=narrow)
        table.add_row(moment(token["made"], narrow=narrow), f"{token['amount']:,}", unit, state, memo)
    console.print(table)
    waiting = [token for token in told["tokens"] if token["token"]]
    if waiting:
        console.print("not taken yet:")
    for token in waiting:
        console.print(f"{token['amount']:,} {short(token['unit'])}:")
        sys.stdout.write(f"{token['token']}\n")


def show_history(console: Console, told: dict[str, Any]) -> None:
    """What came and went; a narrow terminal has no room for numbers and fees."""
    if not told["events"]:
        console.print("nothing has happened yet")
        return
    narrow = console.width < _NARROW
    table = Table(box=None, pad_edge=False, header_style="dim")
    if not narrow:
        table.add_column("number", no_wrap=True)
    table.add_column("time", no_wrap=True)
    table.add_column("what")
    table.add_column("amount", justify="right", no_wrap=True)
    if not narrow:
        table.add_column("fee", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("note", overflow="fold")
    for event in told["events"]:
        row = [
            moment(event["time_ms"] // 1000, narrow=narrow),
            DEEDS.get(event["kind"], event["kind"]),
            f"{event['amount']:+,}",
            short(event["unit"], narrow=narrow),
            printable(event["note"] or ""),
        ]
        if not narrow:
            row = [str(event["number"]), *row[:3], f"{event['fee']:,}" if event["fee"] else "", *row[3:]]
        table.add_row(*row)
    console.print(table)


def show_words(console: Console, told: dict[str, Any]) -> None:
    """The seed words, numbered, as one writes them down."""
    words = told["words"].split()
    for row in range(0, len(words), 4):
        console.print("  ".join(f"{row + n + 1:2}. {word:<8}" for n, word in enumerate(words[row : row + 4])))
    console.print("whoever has these words has the money; hashpool wallet restore reads them in this order")


def moment(seconds: int, *, narrow: bool = False) -> str:
    """A time, in the zone of the machine; short where there is little room."""
    local = datetime.fromtimestamp(seconds, UTC).astimezone()
    return local.strftime("%m-%d %H:%M" if narrow else "%Y-%m-%d %H:%M:%S")


def show_key(console: Console, told: dict[str, Any]) -> None:
    """A key, and what to do with it."""
    console.print(f"[bold]{told['key']}[/]")
    console.print(f"user name of the miner: {told['key']}.WORKER")
    console.print(f"or, with any user name, the password: k={told['key']}")
    if told["words"]:
        console.print(
            f"what it earns is yours by hashpool wallet claim, and by the seed words in {told['words']}"
        )


def stranger_table(strangers: list[dict[str, Any]]) -> Table:
    """Workers that brought keys."""
    table = Table("worker", "shares", "ehash", box=None, pad_edge=False, header_style="dim")
    table.add_column("key", overflow="fold")
    for worker in strangers:
        table.add_row(
            printable(worker["name"]), f"{worker['shares']:,}", f"{worker['ehash']:,}", worker["key"]
        )
    return table


def worker_table(workers: list[dict[str, Any]]) -> Table:
    """Keys and what each has earned."""
    table = Table("worker", "shares", "minted", "waiting", box=None, pad_edge=False, header_style="dim")
    table.add_column("key", overflow="fold")
    for worker in workers:
        unnamed = "(found by restore)" if worker["key_index"] >= 0 else "(brought to claim)"
        name = unnamed if worker["name"] is None else printable(worker["name"])
        numbers = [f"{worker[name]:,}" for name in ("shares", "minted", "waiting")]
        table.add_row(name, *numbers, worker["key"])
    return table


def token_table(tokens: list[dict[str, Any]]) -> Table:
    """Tokens by size."""
    table = Table("unit", "size", "tokens", box=None, pad_edge=False, header_style="dim")
    for size in tokens:
        table.add_row(short(size["unit"]), f"{size['amount']:,}", f"{size['count']:,}")
    return table


def counted(number: int, noun: str) -> str:
    """So many of something."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def short(unit: str, *, narrow: bool = False) -> str:
    """A unit's name for people: hash, the first 8 digits of the issuer's key, the shift."""
    parts = printable(unit).split("_")
    if len(parts) != 3 or parts[0] != "hash":
        return printable(unit)
    return f"hash·{parts[2]}" if narrow else f"hash·{parts[1][:8]}·{parts[2]}"


def printable(text: str) -> str:
    """Peers choose names: no control character and no markup of theirs reaches the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text).replace("[", "\\[")


DEEDS: Final = {
    "mint": "mined",
    "restore": "restored",
    "send": "sent",
    "receive": "received",
    "return": "taken back",
    "consolidate": "put together",
    "invoice": "paid in",
    "melt": "paid out",
    "lost": "spent elsewhere",
}
SHOWN: Final[dict[str, Callable[[Console, dict[str, Any]], None]]] = {
    "balance": show_balance,
    "list": show_list,
    "history": show_history,
    "send": show_tokens,
    "request": show_request,
    "receive": show_received,
    "mint": show_minted,
    "melt": show_paid,
    "consolidate": show_consolidated,
    "backup": show_words,
    "restore": show_restored,
    "key": show_key,
    "claim": show_claimed,
}
