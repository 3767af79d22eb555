"""`hashpool clean WHAT`: throw away a part of the development system's state; keys and seeds stay."""

import argparse
import fcntl
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from roles.cli.checkout import STATE_HELP
from roles.cli.claim import AlreadyRunning, Claim
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from roles.runtime.state import state_root

PARTS: Final = {
    "cashu": ("mint/*.sqlite*", "proxy/*.sqlite*", "sv1_proxy-miner/*.sqlite*"),
    "regtest": ("regtest_node",),
    "testnet4": ("testnet4",),
    "logs": ("logs",),
}
PURPOSES: Final = {
    "cashu": "the mint's and the wallet's stores; the pool then hands its ledger over again, the wallet mints"
    " anew from its seed, and which tokens were spent is forgotten: only where they are worth nothing",
    "regtest": "the chain; the pool's ledger and the tokens stay, blocks found before count as orphaned",
    "testnet4": "what is kept in testnet4/ of the state directory",
    "logs": "the log files",
}
KEPT: Final = frozenset({".key", ".words"})


def main(argv: list[str]) -> int:
    """Delete after asking; returns 0, or an exit code when the system is running or nobody agreed."""
    parser = Arguments(
        prog="hashpool clean",
        description="Throw away a part of the development system's state; keys and seeds stay.",
        epilog="\n".join(f"{part}: {purpose}" for part, purpose in PURPOSES.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=tuple(PARTS))
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    given = parser.parse_args(argv)
    state = state_root(given.state)
    if not state.exists():
        print(f"nothing of {given.part} in {state}: there is no such directory")
        return sysexits.OK
    try:
        with Claim(state):
            return clean(state, given.part, ask=not given.yes)
    except AlreadyRunning as error:
        print(f"hashpool clean: {error}", file=sys.stderr)
        return sysexits.TEMPORARY


def clean(state: Path, part: str, *, ask: bool) -> int:
    """Delete what belongs to a part."""
    doomed = sorted(victims(state, part))
    if not doomed:
        print(f"nothing of {part} in {state}")
        return sysexits.OK
    busy = [
        role for role in sorted({path.relative_to(state).parts[0] for path in doomed}) if in_use(state / role)
    ]
    if busy:
        print(f"hashpool clean: {', '.join(busy)} is running; stop it first", file=sys.stderr)
        return sysexits.TEMPORARY
    for path in doomed:
        print(path)
    if ask and not agreed(f"Delete this: {PURPOSES[part]}?"):
        print("nothing was deleted", file=sys.stderr)
        return sysexits.USAGE
    for path in doomed:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return sysexits.OK


def agreed(question: str) -> bool:
    """Whether a person says yes; nobody there is a no."""
    if not sys.stdin.isatty():
        print(f"{question}\nNobody is there to be asked; say so with --yes.", file=sys.stderr)
        return False
    return input(f"{question} [y/N] ").strip().lower() in {"y", "yes"}


def in_use(directory: Path) -> bool:
    """Whether a daemon holds one of the lock files of its directory."""
    for path in directory.glob("*.lock"):
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    return False


def victims(state: Path, part: str) -> Iterator[Path]:
    """Yield what would be deleted, never a key or a seed."""
    for pattern in PARTS[part]:
        yield from (path for path in state.glob(pattern) if path.suffix not in KEPT)
