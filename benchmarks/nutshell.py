"""Nutshell's mint beside ours: what others run, with its fake Lightning backend and SQLite."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.errors import DaemonFailed
from roles.cli.foreign import ForeignMissing, nutshell
from shared_config.address import Address

READY_S: Final = 60.0
STOP_S: Final = 10.0
_TAIL: Final = 2_000


@asynccontextmanager
async def nutshell_mint(state: Path) -> AsyncIterator[tuple[int, Address]]:
    """Its process and address while it runs, with `state` for its store; raises DaemonFailed."""
    try:
        python = await asyncio.to_thread(nutshell)
    except ForeignMissing as missing:
        raise DaemonFailed(str(missing)) from missing
    home = state / "nutshell"
    home.mkdir()
    address = Address("127.0.0.1", _free_port())
    log = home / "log"
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            str(python), "-c", "from cashu.mint.main import main; main()",
            cwd=home, env=_environment(home, address),
            stdin=asyncio.subprocess.DEVNULL, stdout=file, stderr=file,
        )  # fmt: skip
    try:
        if not await _listens(process, address):
            raise DaemonFailed(f"nutshell's mint does not serve: {_end(log)}")
        yield process.pid, address
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()


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


async def _listens(process: asyncio.subprocess.Process, address: Address) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while process.returncode is None:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection(address.host, address.port)
                    writer.close()
                    return True
                await asyncio.sleep(0.1)
    return False


def _end(log: Path) -> str:
    return log.read_text()[-_TAIL:]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
