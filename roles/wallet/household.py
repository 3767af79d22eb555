"""The wallet of a daemon: opened from its seed words, asked by commands and programs, and watched.

The seed words are made on first start, mode 0600; a store of other words is refused.
"""

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from typing import Any, Final, Protocol

from roles.runtime.daemon import Daemon
from roles.runtime.errors import SecretUnusable
from roles.runtime.secret import SecretFile
from roles.wallet.desk import Desk
from roles.wallet.http_api import WalletApi
from roles.wallet.mint_client import MintClient, open_session
from roles.wallet.seed import ENTROPY_SIZE, SEED_FILE, seed_from_file, words_from_entropy
from roles.wallet.wallet import STORE_NAME, Settings, Wallet, open_store, open_wallet
from roles.wallet.window import Window
from shared_config.proxy import WalletSettings
from shared_config.wallet_api import WalletApiSettings

__all__ = ["MINT", "Householder", "keep_wallet"]

MINT: Final = "mint"
"""The condition of readiness that the mint answers."""


class Householder(Protocol):
    """The configuration of a daemon that has a wallet."""

    @property
    def identities(self) -> int: ...
    @property
    def wallet(self) -> WalletSettings: ...
    @property
    def wallet_api(self) -> WalletApiSettings: ...


async def keep_wallet(
    daemon: Daemon[Any, Any], wanted: Householder, url: str, stack: AsyncExitStack, *, is_needed: bool = True
) -> Wallet:
    """The daemon's wallet at the mint of `url`, with its socket and its HTTP address; the caller runs it.

    Where it is not needed, nobody is kept from mining because the mint does not answer.

    Raises OperatorError. Everything is closed with `stack`.
    """
    wallet = await _open(daemon, wanted, url, stack, is_needed=is_needed)
    window = Window(daemon.state, Desk(wallet))
    await window.start()
    stack.push_async_callback(window.close)
    if wanted.wallet_api.address is not None:
        prefix = f"hashpool_{daemon.name.partition('-')[0]}"
        api = WalletApi(wallet, wanted.wallet_api, daemon.state, daemon.metrics, prefix=prefix)
        await api.start(wanted.wallet_api.address)
        stack.push_async_callback(api.close)
    return wallet


async def _open(
    daemon: Daemon[Any, Any], wanted: Householder, url: str, stack: AsyncExitStack, *, is_needed: bool
) -> Wallet:
    file = SecretFile(daemon.state / SEED_FILE, store=daemon.state / STORE_NAME)
    words = file.load_or_create(lambda: words_from_entropy(secrets.token_bytes(ENTROPY_SIZE)))
    seed = await asyncio.to_thread(seed_from_file, words, file.path)
    database = await stack.enter_async_context(open_store(daemon.state, daemon.metrics))
    session = await stack.enter_async_context(open_session())
    if is_needed:
        daemon.readiness.declare(MINT)

    def watch_mint(failure: str | None) -> None:
        if not is_needed:
            return
        if failure is None:
            daemon.readiness.met(MINT)
        else:
            daemon.readiness.unmet(MINT, failure)

    wallet = open_wallet(
        database,
        MintClient(url, session, timeout=wanted.wallet.request_s, waits=(0.2,)),
        seed,
        metrics=daemon.metrics,
        clock_ms=lambda: time.time_ns() // 1_000_000,
        settings=Settings(
            max_identities=wanted.identities,
            worker_metrics=wanted.wallet.worker_metrics,
            batch=wanted.wallet.batch_quotes,
            linger=wanted.wallet.batch_delay_ms / 1000,
            lookup_interval=wanted.wallet.recovery_s,
        ),
        watch=watch_mint,
    )
    if not await wallet.is_of_its_seed():
        raise SecretUnusable(
            f"{file.path} holds other words than those that {database.name} was begun with",
            hint="put back the words that belong to it, or move it away and run hashpool wallet restore",
        )
    return wallet
