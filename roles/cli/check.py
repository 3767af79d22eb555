"""`hashpool check`: every configuration file of a tree, all problems at once."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from protocols.bitcoin.networks import Network
from roles.cli.checkout import home
from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from shared_config.address import Address
from shared_config.errors import ConfigInvalid, Problem
from shared_config.loader import Loaded, load
from shared_config.pool_side import PoolSide
from shared_config.roster import ROLES, SHARED_MODELS, models

LISTENERS = ("listen_address", "http_address", "issuance_address", "rpc_address", "health_address")


@dataclass
class Findings:
    """What is wrong with a tree, what only its operator can fill in, and whether it is a development tree."""

    problems: list[Problem] = field(default_factory=list)
    wanted: list[Problem] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    regtest: bool = False


def check(tree: Path) -> Findings:
    """Return all that is wrong with a tree of configuration files."""
    found = Findings()
    taken: dict[int, tuple[Address, str]] = {}
    for role in ROLES:
        path = tree / f"{role}.toml"
        if not path.exists():
            continue
        own, shared = models(role)
        try:
            loaded = load(own, path, shared, tree / "shared" / f"{own.side}.toml")
        except ConfigInvalid as error:
            found.problems += (problem for problem in error.problems if problem not in found.problems)
            continue
        found.checked.append(role)
        found.wanted += (problem for problem in loaded.wanted if problem not in found.wanted)
        found.problems += clashes(loaded, role, taken)
        if isinstance(loaded.shared, PoolSide):
            found.regtest = found.regtest or loaded.shared.network is Network.REGTEST
    found.problems += strangers(tree)
    if not found.checked and not found.problems:
        hint = "name the directory that it is in" if tree.is_file() else ""
        reason = "is no directory" if tree.is_file() else "holds no configuration of a daemon"
        found.problems.append(Problem(str(tree), None, "", None, reason, hint))
    return found


def clashes(loaded: Loaded[Any, Any], role: str, taken: dict[int, tuple[Address, str]]) -> Iterator[Problem]:
    """Yield a problem for each address of a daemon that another one of the tree listens on."""
    for key in LISTENERS:
        address = getattr(loaded.config, key, None)
        if not isinstance(address, Address) or address.port == 0:
            continue
        other, holder = taken.setdefault(address.port, (address, f"{role} ({key})"))
        if other is not address and (other.host == address.host or other.is_wildcard or address.is_wildcard):
            yield loaded.document.problem((key,), f"is also listened on by {holder}")


def strangers(tree: Path) -> Iterator[Problem]:
    """Yield a problem for each file that no daemon reads."""
    for path in sorted(tree.glob("*.toml")):
        if path.stem not in ROLES:
            yield Problem(str(path), None, "", None, "no daemon of this name reads it")
    for path in sorted((tree / "shared").glob("*.toml")):
        if path.stem not in SHARED_MODELS:
            yield Problem(str(path), None, "", None, "no side of this name reads it")


def main(argv: list[str]) -> int:
    """Check a tree and return 0 if every daemon of it could start, else EX_CONFIG."""
    parser = Arguments(
        prog="hashpool check", description="Check every configuration file of a tree, all problems at once."
    )
    parser.add_argument("tree", nargs="?", type=Path, default=home() / "config", help="by default config")
    tree: Path = parser.parse_args(argv).tree
    if tree.is_absolute() and tree.is_relative_to(Path.cwd()):
        tree = tree.relative_to(Path.cwd())
    found = check(tree)
    for problem in found.problems:
        print(problem)
    for problem in found.wanted:
        print(f"{problem}; hashpool up fills it in" if found.regtest else problem)
    if found.problems or (found.wanted and not found.regtest):
        count = len(found.problems) + (0 if found.regtest else len(found.wanted))
        print(f"hashpool check: {count} problem{'s' if count != 1 else ''}", file=sys.stderr)
        return sysexits.CONFIG
    print(f"{tree}: {', '.join(found.checked)} are sound")
    return sysexits.OK
