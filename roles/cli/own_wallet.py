"""`hashpool wallet key` and `claim`: a person's own wallet, for whoever mines by somebody else's proxy.

It is in DIR/wallet, apart from the proxy's, and made when it is first needed. A private key is read from a
file, from stdin or from a terminal, never from the arguments.
"""

import argparse
import asyncio
import getpass
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from protocols.bitcoin.base58 import decode_check
from protocols.bitcoin.errors import Base58Error
from protocols.bitcoin.secp256k1 import SECRET_SIZE, is_secret, public_key
from protocols.ehash.key_text import encode_key
from roles.cli.wallet_reach import OWN, opened, say
from roles.runtime import sysexits
from roles.runtime.errors import OperatorError
from roles.wallet.claiming import Claimed, claim
from roles.wallet.seed import SEED_FILE

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
    # The mint is not asked, so that a key can be had without one.
    async with opened(state, OWN, "http://localhost") as wallet:
        return (await wallet.key_for(name)).public_key


async def _claim(state: Path, mint: str, secret: bytes | None) -> Claimed:
    async with opened(state, OWN, mint) as wallet:
        return await claim(wallet, secret, say)
