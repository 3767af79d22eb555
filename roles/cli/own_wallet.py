"""`hashpool wallet key` and `claim`: a person's own wallet, for whoever mines by somebody else's proxy.

It is in DIR/wallet, apart from the proxy's, and made when it is first needed. A private key is read from a
file, from stdin or from a terminal, never from the arguments.
"""

import argparse
import asyncio
import getpass
import secrets
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from protocols.bitcoin.base58 import decode_check
from protocols.bitcoin.errors import Base58Error
from protocols.bitcoin.secp256k1 import SECRET_SIZE, is_secret, public_key
from protocols.ehash.key_text import encode_key
from roles.runtime import sysexits
from roles.runtime.errors import OperatorError
from roles.runtime.secret import SecretFile
from roles.runtime.state import role_state
from roles.wallet.claiming import Claimed, claim
from roles.wallet.mint_client import MintClient, open_session
from roles.wallet.seed import ENTROPY_SIZE, SEED_FILE, seed_from_words, words_from_entropy
from roles.wallet.wallet import STORE_NAME, Wallet, open_store, open_wallet

OWN: Final = "wallet"
"""The sub-directory of the state; `proxy` is that of the proxy's wallet."""
PATIENCE: Final = (0.5, 1.0, 2.0, 4.0)
"""Pauses in seconds before a mint that did not answer is asked again."""
_WIF_PREFIXES: Final = frozenset({0x80, 0xEF})
_WANTED: Final = "64 hex digits, or what Bitcoin wallets export (WIF)"


def key(state: Path, options: argparse.Namespace) -> dict[str, Any]:
    """A key to mine with: the own wallet's for a name, or that of a private key; raises OperatorError."""
    if options.secret is not None:
        public = public_key(read_secret(options.secret))
        return {"key": encode_key(public), "hex": public.hex(), "name": None, "words": None}
    told = asyncio.run(_named(state, options.name))
    return {"key": encode_key(told), "hex": told.hex(), "name": options.name, "words": str(words_path(state))}


def claim_into(state: Path, options: argparse.Namespace, mint: str) -> dict[str, Any]:
    """Claim what keys have earned at a mint; raises OperatorError and WalletError."""
    secret = None if options.secret is None else read_secret(options.secret)
    if secret is None and not words_path(state).exists():
        raise OperatorError(
            f"there is no wallet of your own at {state / OWN}",
            hint="get a key to mine with by hashpool wallet key, or give a private key by --secret FILE",
            exit_code=sysexits.NO_INPUT,
        )
    result = asyncio.run(_claim(state, mint, secret))
    return {"mint": mint, **asdict(result), "words": str(words_path(state))}


def words_path(state: Path) -> Path:
    """Where the own wallet's seed words are."""
    return state / OWN / SEED_FILE


def read_secret(source: str) -> bytes:
    """A private key from a file, from stdin (-), or from a terminal without echo; raises OperatorError."""
    if source == "-":
        text = getpass.getpass("private key: ") if sys.stdin.isatty() else sys.stdin.read()
    else:
        try:
            text = Path(source).read_text()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise OperatorError(f"{source} cannot be read: {reason}", exit_code=sysexits.NO_INPUT) from error
    secret = _decoded(text.strip())
    if secret is None or not is_secret(secret):
        where = "stdin" if source == "-" else source
        raise OperatorError(f"{where} holds no private key", hint=_WANTED, exit_code=sysexits.DATA)
    return secret


def _decoded(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        pass
    try:
        payload = decode_check(text)
    except Base58Error:
        return None
    # A prefix, the key, and a one where the public key is compressed, as all keys are here.
    is_wif = len(payload) in {1 + SECRET_SIZE, 2 + SECRET_SIZE} and payload[0] in _WIF_PREFIXES
    return payload[1 : 1 + SECRET_SIZE] if is_wif else None


async def _named(state: Path, name: str) -> bytes:
    async with AsyncExitStack() as stack:
        # The mint is not asked, so that a key can be had without one.
        wallet = await _open(stack, state, "http://localhost")
        return (await wallet.key_for(name)).public_key


async def _claim(state: Path, mint: str, secret: bytes | None) -> Claimed:
    async with AsyncExitStack() as stack:
        wallet = await _open(stack, state, mint)
        return await claim(wallet, secret, lambda text: print(text, file=sys.stderr))


async def _open(stack: AsyncExitStack, state: Path, mint: str) -> Wallet:
    directory = role_state(state, OWN)
    file = SecretFile(directory / SEED_FILE, store=directory / STORE_NAME)
    words = file.load_or_create(lambda: words_from_entropy(secrets.token_bytes(ENTROPY_SIZE)))
    database = await stack.enter_async_context(open_store(directory))
    session = await stack.enter_async_context(open_session())
    return open_wallet(
        database,
        MintClient(mint, session, waits=PATIENCE),
        seed_from_words(words),
        metrics=CollectorRegistry(),
        clock_ms=lambda: time.time_ns() // 1_000_000,
    )
