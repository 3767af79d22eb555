"""`hashpool set-min-diff N`: write minimum_difficulty, in bits, into the pool side's shared file."""

import argparse
import re
import sys
from pathlib import Path

from roles.cli.checkout import home
from roles.runtime import sysexits
from roles.runtime.state import state_root
from shared_config.errors import ConfigInvalid
from shared_config.loader import load
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide
from shared_config.toml_lines import key_lines

MAX_BITS = 63


def main(argv: list[str]) -> int:
    """Change the file in place, its comments kept; returns 0, or EX_CONFIG when the file is not sound."""
    parser = argparse.ArgumentParser(
        prog="hashpool set-min-diff", description="Set what one ehash is worth: 2^N hashes."
    )
    parser.add_argument("bits", type=int, metavar="N")
    parser.add_argument("--state", metavar="DIR", help="the state directory; by default $HASHPOOL_STATE")
    parser.add_argument(
        "--config", type=Path, default=home() / "config", metavar="DIR", help="by default config"
    )
    given = parser.parse_args(argv)
    if not 0 <= given.bits <= MAX_BITS:
        parser.error(f"N is a number of bits from 0 to {MAX_BITS}")
    tree: Path = given.config
    path = tree / "shared" / "pool.toml"
    try:
        load(PoolSettings, tree / "pool.toml", PoolSide, path)
    except ConfigInvalid as error:
        print(error, file=sys.stderr)
        return sysexits.CONFIG
    write(path, given.bits)
    print(f"{path}: minimum_difficulty = {given.bits}; it counts from the next start")
    if (state_root(given.state) / "pool" / "ledger.sqlite").exists():
        print("the ledger of this state keeps its own until its next shift; another --state begins anew")
    return sysexits.OK


def write(path: Path, bits: int) -> None:
    """Replace the number in its line."""
    text = path.read_text(encoding="utf-8")
    number = key_lines(text)["ehash", "minimum_difficulty"] - 1
    lines = text.splitlines(keepends=True)
    lines[number] = re.sub(r"(=\s*)\d+", rf"\g<1>{bits}", lines[number], count=1)
    path.write_text("".join(lines), encoding="utf-8")
