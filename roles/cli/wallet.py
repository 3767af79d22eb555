"""`hashpool wallet`: what a wallet holds, a restore from its seed words, keys to mine with, and claims."""

import argparse
import asyncio
import getpass
import os
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.table import Table

from roles.cli.checkout import STATE_HELP, home
from roles.cli.fleet import read_toml
from roles.cli.own_wallet import OWN, PATIENCE, claim_into, key
from roles.runtime import sysexits
from roles.runtime.errors import OperatorError
from roles.runtime.secret import SecretFile
from roles.runtime.state import role_state, state_root
from roles.runtime.storage import open_readonly
from roles.wallet import purse, quote, readout
from roles.wallet.errors import MintError, SeedError, StoreNotEmptyError, WalletError
from roles.wallet.mint_client import MintClient, open_session
from roles.wallet.restore import Restored, check_empty, restore
from roles.wallet.seed import SEED_FILE, seed_from_words
from roles.wallet.wallet import STORE_NAME, open_store, open_wallet

ROLE: Final = "proxy"
_PIPE_WIDTH: Final = 200


def main(argv: list[str]) -> int:
    """Do what is asked for; returns 0, or the exit code of what went wrong."""
    options = parse(argv)
    os.umask(0o077)
    try:
        told = ACTIONS[options.action](state_root(options.state), options)
    except OperatorError as error:
        print(f"hashpool wallet: {error}", file=sys.stderr)
        return error.exit_code
    except WalletError as error:
        hint = f" ({error.hint})" if error.hint else ""
        print(f"hashpool wallet: {error}{hint}", file=sys.stderr)
        return exit_code(error)
    if options.json:
        print(orjson.dumps(told).decode())
    else:
        show(options.action, told)
    return sysexits.OK


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="hashpool wallet", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    purposes = {
        "balance": "the ehash that is held, by unit",
        "list": "the keys with what each has earned, and the tokens by size",
        "restore": "find every token and every quote again from the seed words, into an empty store",
        "key": "a key of your own to mine with by somebody else's proxy",
        "claim": "mint what your own keys have earned, by whatever proxy they mined",
    }
    for name, purpose in purposes.items():
        action = actions.add_parser(name, help=purpose, description=purpose)
        action.add_argument("--state", metavar="DIR", help=STATE_HELP)
        action.add_argument("--json", action="store_true", help="print one object on one line")
    for name in ("balance", "list", "restore"):
        actions.choices[name].add_argument(
            "--own", action="store_true", help="your own wallet, that of key and claim, not the proxy's"
        )
    actions.choices["restore"].add_argument(
        "--words", default="-", metavar="FILE", help="a file that holds the seed words; - or nothing: stdin"
    )
    for name in ("restore", "claim"):
        actions.choices[name].add_argument(
            "--mint", metavar="URL", help="the mint; by default that of shared/miner.toml"
        )
    actions.choices["key"].add_argument(
        "name", nargs="?", default="miner", metavar="NAME", help="another name has another key (miner)"
    )
    for name in ("key", "claim"):
        actions.choices[name].add_argument(
            "--secret", metavar="FILE", help="a file that holds a private key, none of the wallet's; -: stdin"
        )
    return parser.parse_args(argv)


def look(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Read the store beside a proxy that may be running; raises OperatorError."""
    path = state / role_of(options) / STORE_NAME
    if not path.exists():
        made = (
            "hashpool wallet key makes it"
            if role_of(options) == OWN
            else "the proxy makes it when it first runs"
        )
        raise OperatorError(f"there is no wallet at {path}", hint=made, exit_code=sysexits.NO_INPUT)
    with closing(open_readonly(path)) as connection:
        balances = purse.balances(connection)
        quotes, waiting = quote.waiting(connection)
        told: dict[str, Any] = {
            "balance": sum(item.amount for item in balances),
            "waiting": {"quotes": quotes, "ehash": waiting},
            "units": [
                {"unit": item.unit, "balance": item.amount, "proofs": item.proofs} for item in balances
            ],
        }
        if options.action == "list":
            told["workers"] = [asdict(worker) for worker in readout.workers(connection)]
            told["strangers"] = [asdict(stranger) for stranger in readout.strangers(connection)]
            told["tokens"] = [asdict(size) for size in readout.denominations(connection)]
        return told


def role_of(options: argparse.Namespace) -> str:
    """Whose wallet it is, as a sub-directory of the state."""
    return OWN if getattr(options, "own", True) else ROLE


def mint_of(options: argparse.Namespace) -> str:
    """The mint that is meant."""
    return str(options.mint or read_toml(home() / "config" / "shared" / "miner.toml")["mint"]["url"])


def claim(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Claim, and tell what the wallet holds then; raises OperatorError and WalletError."""
    told = claim_into(state, options, mint_of(options))
    return {**told, **look(state, options)}


# Restore


def restore_into(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Restore a wallet into a state directory; raises OperatorError and WalletError."""
    words = read_words(options.words)
    seed = seed_from_words(words)
    directory = role_state(state, role_of(options))
    mint = mint_of(options)
    kept = SecretFile(directory / SEED_FILE)
    known = kept.load()
    if known is not None and seed_from_words(known) != seed:
        raise StoreNotEmptyError(
            f"{directory} belongs to another seed",
            hint="restore into another state directory with --state DIR",
        )
    result = asyncio.run(run_restore(directory, seed, mint, kept, " ".join(words.lower().split())))
    return {**asdict(result), **look(state, options)}


async def run_restore(directory: Path, seed: bytes, mint: str, kept: SecretFile, words: str) -> Restored:
    """Do it: the words are kept only once the store has been seen to be empty, or to be theirs."""
    async with open_store(directory) as database, open_session() as session:
        if kept.load() is None:
            await database.read(check_empty)
            kept.load_or_create(lambda: words)
        wallet = open_wallet(
            database,
            MintClient(mint, session, waits=PATIENCE),
            seed,
            metrics=CollectorRegistry(),
            clock_ms=lambda: time.time_ns() // 1_000_000,
        )
        return await restore(wallet, lambda text: print(text, file=sys.stderr))


def read_words(source: str) -> str:
    """The seed words from a file, from stdin, or from a terminal without echo; raises OperatorError."""
    if source == "-":
        return getpass.getpass("seed words: ") if sys.stdin.isatty() else sys.stdin.read()
    try:
        return Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise OperatorError(f"{source} cannot be read: {reason}", exit_code=sysexits.NO_INPUT) from error


def exit_code(error: WalletError) -> int:
    """The exit code of a wallet's error, one of sysexits."""
    if isinstance(error, SeedError):
        return sysexits.DATA
    if isinstance(error, StoreNotEmptyError):
        return sysexits.CANT_CREATE
    return sysexits.UNAVAILABLE if isinstance(error, MintError) else sysexits.SOFTWARE


# For people


def show(action: str, told: dict[str, Any]) -> None:
    """Print for people; only numbers and names that the store holds, control characters made visible."""
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else _PIPE_WIDTH)
    if action == "key":
        show_key(console, told)
        return
    console.print(f"[bold]{told['balance']:,}[/] ehash")
    for unit in told["units"]:
        console.print(f"  {unit['balance']:,} in {unit['proofs']:,} tokens of {short(unit['unit'])}")
    if told["waiting"]["quotes"]:
        console.print(
            f"  {told['waiting']['ehash']:,} more in {told['waiting']['quotes']:,} quotes wait for the mint"
        )
    if action == "restore":
        console.print(
            f"found {told['proofs']:,} tokens ({told['spent']:,} spent) in {told['keysets']:,} keysets,"
            f" and {told['quotes']:,} open quotes"
        )
    if action == "claim":
        console.print(
            f"claimed {told['minted']:,} ehash of {told['found']:,} new quotes, by {told['keys']:,} keys"
        )
        if not told["found"] and not told["waiting"]["quotes"]:
            console.print("shares are there a second or two after the pool has accepted them")
        console.print(f"the seed words in {told['words']} are all that restores this wallet: keep a copy")
    if action == "list":
        console.print(worker_table(told["workers"]))
        if told["strangers"]:
            console.print("miners with keys of their own, who alone can claim what these have earned:")
            console.print(stranger_table(told["strangers"]))
        console.print(token_table(told["tokens"]))


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


def short(unit: str) -> str:
    """A unit's name for people: hash, the first 8 digits of the issuer's key, the shift."""
    parts = printable(unit).split("_")
    return f"hash·{parts[1][:8]}·{parts[2]}" if len(parts) == 3 and parts[0] == "hash" else printable(unit)


def printable(text: str) -> str:
    """Peers choose names: no control character and no markup of theirs reaches the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text).replace("[", "\\[")


ACTIONS: Final[dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]]] = {
    "balance": look,
    "list": look,
    "restore": restore_into,
    "key": key,
    "claim": claim,
}
