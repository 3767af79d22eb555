"""`hashpool wallet`: what a wallet holds; tokens sent and received; backup and restore; keys and claims.

Beside a running proxy its wallet is asked over a socket in the state directory; when none runs the store is
opened here. `--own` is a wallet of your own, apart from the proxy's.
"""

import argparse
import asyncio
import getpass
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import orjson
from prometheus_client import CollectorRegistry

from roles.cli.own_wallet import claim_into, key, read_secret
from roles.cli.wallet_options import parse
from roles.cli.wallet_reach import OWN, PATIENCE, mint_of, order, role_of, say
from roles.cli.wallet_show import agrees, show, show_invoice
from roles.runtime import sysexits
from roles.runtime.errors import OperatorError
from roles.runtime.secret import SecretFile
from roles.runtime.state import role_state, state_root
from roles.runtime.storage import Connection, ReadOnlyConnection, open_readonly
from roles.wallet import handout, history, purse, quote, readout
from roles.wallet.amount import age
from roles.wallet.desk import balance
from roles.wallet.errors import StoreNotEmptyError, WalletError
from roles.wallet.mint_client import MintClient, open_session
from roles.wallet.restore import Restored, check_empty, restore
from roles.wallet.seed import SEED_FILE, seed_from_file, seed_from_words
from roles.wallet.wallet import STORE_NAME, open_store, open_wallet

_TOKEN_STARTS: Final = ("cashua", "cashub", "cashu:", "{")
_LONGEST_SHOWN: Final = 100


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
        return error.exit_code
    try:
        if options.json:
            print(orjson.dumps(told).decode())
        else:
            show(options, told)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it has had enough; the interpreter must not try again when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return sysexits.OK


# What is read from the store


def look(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Read the store beside a proxy that may be running; raises OperatorError."""
    if options.action == "list" and options.sent:
        return order(state, options, {"order": "sent", "limit": options.limit})
    with opened_store(state, options) as connection:
        balances = purse.balances(connection)
        quotes, waiting = quote.waiting(connection)
        told: dict[str, Any] = {
            "balance": balance(connection)["ehash"],
            "waiting": {"quotes": quotes, "ehash": waiting},
            "units": [
                {"unit": item.unit, "balance": item.amount, "proofs": item.proofs}
                for item in sorted(balances, key=lambda item: age(item.unit))
            ],
            "out": [
                {"unit": unit, "amount": amount, "tokens": count} for unit, amount, count in out(connection)
            ],
        }
        if options.action == "list":
            told["workers"] = [asdict(worker) for worker in readout.workers(connection)]
            told["strangers"] = [asdict(stranger) for stranger in readout.strangers(connection)]
            told["tokens"] = [asdict(size) for size in readout.denominations(connection)]
        return told


def past(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The history, newest first; raises OperatorError."""
    with opened_store(state, options) as connection:
        found = []
        if is_current(connection):
            found = history.events(connection, options.limit, before=options.before, unit=options.unit)
        return {"events": [asdict(event) for event in found], "balance": balance(connection)["ehash"]}


def out(connection: Connection) -> list[tuple[str, int, int]]:
    """What is handed out and not taken yet as far as is known: unit, sum, tokens."""
    sums: dict[str, tuple[int, int]] = {}
    for token in handout.still_out(connection) if is_current(connection) else ():
        amount, count = sums.get(token.unit, (0, 0))
        sums[token.unit] = amount + token.amount, count + 1
    return [(unit, *each) for unit, each in sums.items()]


def is_current(connection: Connection) -> bool:
    """Whether the store has been opened by a daemon or command that knows of the history."""
    return bool(connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'event'").fetchone())


def opened_store(state: Path, options: argparse.Namespace) -> ReadOnlyConnection:
    """A wallet's store, to be read; raises OperatorError."""
    path = state / role_of(options, state) / STORE_NAME
    if not path.exists():
        made = (
            "hashpool wallet key makes it"
            if role_of(options, state) == OWN
            else "the proxy makes it when it first runs"
        )
        raise OperatorError(f"there is no wallet at {path}", hint=made, exit_code=sysexits.NO_INPUT)
    return open_readonly(path)


# Orders


def send(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make tokens for somebody; raises OperatorError and WalletError."""
    wanted = {
        "order": "send",
        "amount": options.amount,
        "unit": options.unit,
        "memo": options.memo,
        "to": options.to,
        "signatures": options.signatures,
        "refund": options.refund,
        "locktime": options.locktime,
        "hash": options.hash,
        "blinded": options.blinded,
        "request": options.request,
    }
    return order(state, options, wanted)


def request(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Ask for tokens; raises OperatorError and WalletError."""
    wanted = {name: getattr(options, name) for name in ("amount", "unit", "memo", "lock")}
    return order(state, options, {"order": "request", **wanted})


def receive(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Take tokens in, each word one; raises OperatorError and WalletError."""
    secret = None if options.secret is None else read_secret(options.secret).hex()
    text = read_text(options.token, "token: ")
    texts = [text] if text.lstrip().startswith("{") else text.split()
    if not texts:
        raise OperatorError(
            "there is no token", hint="a token begins with cashuA or cashuB", exit_code=sysexits.DATA
        )
    told = []
    for text in texts:
        wanted = {"order": "receive", "token": text, "secret": secret, "preimage": options.preimage}
        told.append(order(state, options, wanted))
    return {"received": told, "balance": told[-1]["balance"]}


def mint(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Make an invoice, and wait until it is paid; raises OperatorError and WalletError."""
    if options.amount is None:
        return order(state, options, {"order": "collect"})
    made = order(state, options, {"order": "invoice", "amount": options.amount, "memo": options.memo})
    if options.no_wait:
        return made
    show_invoice(made, as_code=options.qr)
    return {**made, **order(state, options, {"order": "await", "quote": made["quote"]})}


def melt(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Pay an invoice, after a question where a person can answer it; raises OperatorError and WalletError."""
    most = options.max_fee
    if not options.yes and not options.json and sys.stdin.isatty():
        price = order(state, options, {"order": "price", "invoice": options.invoice})
        if not agrees(price):
            raise OperatorError("nothing was paid", exit_code=sysexits.OK)
        most = price["fee_reserve"] if most is None else most
    return order(state, options, {"order": "melt", "invoice": options.invoice, "max_fee": most})


def consolidate(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Put small tokens together; raises OperatorError and WalletError."""
    wanted = {
        "order": "consolidate",
        "unit": options.unit,
        "inputs": options.inputs,
        "pause_s": options.pause,
    }
    return order(state, options, wanted)


def claim(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Claim, and tell what the wallet holds then; raises OperatorError and WalletError."""
    told = claim_into(state, options, mint_of(state, options))
    return {**told, **look(state, options)}


# Backup and restore


def backup(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The seed words; raises OperatorError."""
    file = SecretFile(state / role_of(options, state) / SEED_FILE)
    words = file.load()
    if words is None:
        raise OperatorError(f"there are no seed words at {file.path}", exit_code=sysexits.NO_INPUT)
    seed_from_file(words, file.path)
    return {"words": " ".join(words.split()), "file": str(file.path)}


def restore_into(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Restore a wallet into a state directory; raises OperatorError and WalletError."""
    words = read_text(options.words, "seed words: ", silent=True)
    seed = seed_from_words(words)
    directory = role_state(state, role_of(options, state))
    mint = mint_of(state, options)
    kept = SecretFile(directory / SEED_FILE)
    known = kept.load()
    if known is not None and seed_from_file(known, kept.path) != seed:
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
        return await restore(wallet, say)


def read_text(source: str, prompt: str, *, silent: bool = False) -> str:
    """Text from stdin or a terminal (-), from a file, or, where that may be, as it stands; raises
    OperatorError.
    """
    if source == "-":
        if not sys.stdin.isatty():
            return sys.stdin.read()
        return getpass.getpass(prompt) if silent else input(prompt)
    if not silent and source.strip()[:6].lower().startswith(_TOKEN_STARTS):
        return source
    try:
        return Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        # A token with something before it is long, and money: no screen or script needs all of it.
        named = source if len(source) <= _LONGEST_SHOWN else f"{source[:20]}…"
        hint = "" if silent else "a token begins with cashuA or cashuB, its JSON with {"
        raise OperatorError(
            f"{named} cannot be read: {reason}", hint=hint, exit_code=sysexits.NO_INPUT
        ) from error


ACTIONS: Final[dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]]] = {
    "balance": look,
    "list": look,
    "history": past,
    "send": send,
    "request": request,
    "receive": receive,
    "mint": mint,
    "melt": melt,
    "consolidate": consolidate,
    "backup": backup,
    "restore": restore_into,
    "key": key,
    "claim": claim,
}
