"""`hashpool set-min-diff N`: write minimum_difficulty, in bits, into the pool side's shared file."""

import re
import sys
from pathlib import Path

from roles.cli import whereabouts
from roles.cli.checkout import STATE_HELP, home
from roles.cli.stores import PoolStore, open_store
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from roles.runtime.errors import OperatorError
from roles.runtime.state import state_root
from shared_config.errors import ConfigInvalid
from shared_config.loader import load
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide
from shared_config.toml_lines import key_lines

MAX_BITS = 63


def main(argv: list[str]) -> int:
    """Change the file in place, its comments kept; returns 0, or EX_CONFIG when the file is not sound."""
    parser = Arguments(
        prog="hashpool set-min-diff",
        description="Set what one ehash is worth: 2^N hashes. It counts from the pool's next start, and there"
        " from the next shift.",
    )
    parser.add_argument("bits", type=int, metavar="N")
    parser.add_argument("--state", metavar="DIR", help=STATE_HELP)
    parser.add_argument(
        "--config", type=Path, default=home() / "config", metavar="DIR", help="by default config"
    )
    given = parser.parse_args(argv)
    if not 0 <= given.bits <= MAX_BITS:
        parser.error(f"N is a number of bits from 0 to {MAX_BITS}")
    tree: Path = given.config
    path = tree / "shared" / "pool.toml"
    state = state_root(given.state)
    try:
        load(PoolSettings, tree / "pool.toml", PoolSide, path)
        counting = counted_in(state)
    except ConfigInvalid as error:
        print(error, file=sys.stderr)
        return sysexits.CONFIG
    except OperatorError as error:
        print(f"hashpool set-min-diff: {error}", file=sys.stderr)
        return error.exit_code
    write(path, given.bits)
    print(f"{path}: minimum_difficulty = {given.bits}; it counts from the next start")
    if counting not in {None, given.bits}:
        print(f"There the open shift goes on in units of 2^{counting} hashes; the next one has the new unit.")
    return sysexits.OK


def counted_in(state: Path) -> int | None:
    """Return the bits that the newest share of the pool's ledger counts in, if there is one."""
    connection = open_store(state, whereabouts.issuer(state), PoolStore.FILE)
    if connection is None:
        return None
    with connection:
        return PoolStore(connection).minimum()


def write(path: Path, bits: int) -> None:
    """Replace the number in its line."""
    text = path.read_text(encoding="utf-8")
    number = key_lines(text)["ehash", "minimum_difficulty"] - 1
    lines = text.splitlines(keepends=True)
    lines[number] = re.sub(r"(=\s*)\d+", rf"\g<1>{bits}", lines[number], count=1)
    path.write_text("".join(lines), encoding="utf-8")
