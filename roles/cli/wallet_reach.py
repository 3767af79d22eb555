"""Reaching a wallet: by the socket of the daemon that has its store open, else by opening the store here."""

import argparse
import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from roles.cli import whereabouts
from roles.cli.checkout import home
from roles.cli.fleet import text_at
from roles.runtime import sysexits
from roles.runtime.errors import DaemonSilent, DatabaseInUse, OperatorError
from roles.runtime.local_socket import ask
from roles.runtime.secret import SecretFile
from roles.runtime.state import role_state
from roles.runtime.storage import open_readonly
from roles.wallet.desk import Desk
from roles.wallet.mint_client import MintClient, open_session
from roles.wallet.mint_link import known_mint
from roles.wallet.seed import ENTROPY_SIZE, SEED_FILE, seed_from_file, words_from_entropy
from roles.wallet.wallet import STORE_NAME, Wallet, open_store, open_wallet
from roles.wallet.window import SOCKET_NAME
from shared_config.document import Document

OWN: Final = "wallet"
"""The sub-directory of the state for a person's own wallet."""
PATIENCE: Final = (0.5, 1.0, 2.0, 4.0)
"""Pauses in seconds before a mint that did not answer is asked again."""
_STARTING_S: Final = 5.0
"""How long a daemon that has the store may take until its socket is there."""


def role_of(options: argparse.Namespace, state: Path) -> str:
    """Whose wallet it is, as a sub-directory of the state: a person's own, or the daemon's that has one."""
    return OWN if getattr(options, "own", True) else whereabouts.wallet(state)


def mint_of(state: Path, options: argparse.Namespace) -> str:
    """The mint that is meant: the one that is named, else the one that the wallet knows, else the checkout's.

    Raises OperatorError, and ConfigInvalid when the checkout's files name none.
    """
    named: str | None = getattr(options, "mint", None)
    if named:
        return named
    store = state / role_of(options, state) / STORE_NAME
    if store.exists():
        with open_readonly(store) as connection:
            if known := known_mint(connection):
                return known
    return text_at(Document.read(home() / "config" / "shared" / "miner.toml"), "mint.url")


def order(state: Path, options: argparse.Namespace, wanted: dict[str, Any]) -> dict[str, Any]:
    """Have a wallet carry an order out; raises OperatorError and WalletError."""
    role = role_of(options, state)
    if role != OWN and not (state / role / STORE_NAME).exists():
        raise OperatorError(
            f"there is no wallet at {state / role}",
            hint="the proxy makes it when it first runs; --own is your own wallet",
            exit_code=sysexits.NO_INPUT,
        )
    if role != OWN:
        with contextlib.suppress(DaemonSilent):
            return _asked(state / role, wanted)
    try:
        return asyncio.run(_carried_out(state, role, mint_of(state, options), wanted))
    except DatabaseInUse:
        if role == OWN:
            raise
    # The daemon has the store, and is about to listen or to end.
    deadline = time.monotonic() + _STARTING_S
    while True:
        try:
            return _asked(state / role, wanted)
        except DaemonSilent:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _asked(directory: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    answer = ask(directory / SOCKET_NAME, wanted, timeout_s=None, tell=say)
    assert isinstance(answer, dict)
    return answer


async def _carried_out(state: Path, role: str, mint: str, wanted: dict[str, Any]) -> dict[str, Any]:
    async with opened(state, role, mint) as wallet:
        return await Desk(wallet).do(wanted, say)


@contextlib.asynccontextmanager
async def opened(state: Path, role: str, mint: str) -> AsyncIterator[Wallet]:
    """A wallet whose store no daemon has open; a person's own is made if it is not there.

    Raises OperatorError and WalletError.
    """
    directory = role_state(state, role)
    file = SecretFile(directory / SEED_FILE, store=directory / STORE_NAME)
    is_new = file.load() is None
    words = file.load_or_create(lambda: words_from_entropy(secrets.token_bytes(ENTROPY_SIZE)))
    if is_new:
        introduce(words, file.path)
    async with open_store(directory) as database, open_session() as session:
        yield open_wallet(
            database,
            MintClient(mint, session, waits=PATIENCE),
            seed_from_file(words, file.path),
            metrics=CollectorRegistry(),
            clock_ms=lambda: time.time_ns() // 1_000_000,
        )


def introduce(words: str, path: Path) -> None:
    """Show the words of a wallet that has just been made, once, where a person sees them and no log does."""
    if sys.stderr.isatty():
        say("a new wallet; its seed words, all that restores it, shown now and by hashpool wallet backup:")
        say(f"\n  {words}\n")
    else:
        say(f"a new wallet; its seed words are in {path}: hashpool wallet backup --own shows them")


def say(text: str) -> None:
    """Tell a person how far it is, apart from the answer."""
    print(text, file=sys.stderr, flush=True)
