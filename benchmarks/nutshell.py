"""Nutshell's mint beside ours: what others run, with its fake Lightning backend and SQLite."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.errors import DaemonFailed
from benchmarks.foreign_process import free_address, running
from roles.cli.foreign import ForeignMissing, nutshell
from shared_config.address import Address


@asynccontextmanager
async def nutshell_mint(state: Path) -> AsyncIterator[tuple[int, Address]]:
    """Its process and address while it runs, with `state` for its store; raises DaemonFailed."""
    try:
        python = await asyncio.to_thread(nutshell)
    except ForeignMissing as missing:
        raise DaemonFailed(str(missing)) from missing
    home = state / "nutshell"
    home.mkdir()
    address = free_address()
    command = (str(python), "-c", "from cashu.mint.main import main; main()")
    environment = _environment(home, address)
    async with running("nutshell's mint", command, address, home=home, environment=environment) as mint:
        yield mint.pid, address


def _environment(home: Path, address: Address) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "TMPDIR"}}
    return kept | {
        "HOME": str(home),
        "CASHU_DIR": str(home),
        "MINT_BACKEND_BOLT11_SAT": "FakeWallet",
        "MINT_DATABASE": str(home / "mint"),
        "MINT_INPUT_FEE_PPK": "0",
        "MINT_LISTEN_HOST": address.host,
        "MINT_LISTEN_PORT": str(address.port),
        "MINT_PRIVATE_KEY": secrets.token_hex(32),
        "MINT_RATE_LIMIT": "FALSE",
        "TOR": "FALSE",
    }
