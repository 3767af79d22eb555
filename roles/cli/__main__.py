"""Entry point of `hashpool`: finds the command's module and hands it the arguments."""

import importlib
import sys
from typing import Final, NamedTuple, Protocol, cast

from roles.runtime import sysexits
from roles.runtime.errors import OperatorError
from shared_config.errors import ConfigInvalid

INTERRUPTED: Final = 130


class Command(NamedTuple):
    """A command: the module that runs it and one line for the overview."""

    module: str
    purpose: str


class CommandModule(Protocol):
    """What a command's module offers: run with the arguments after its name, return the exit code."""

    def main(self, argv: list[str]) -> int: ...


COMMANDS: Final[dict[str, Command]] = {
    "up": Command("roles.cli.up", "run the whole system on an own regtest chain"),
    "status": Command("roles.cli.status", "what is up, from the daemons' health addresses"),
    "wallet": Command(
        "roles.cli.wallet", "what the ehash wallet holds, its restore, keys of your own and claims"
    ),
    "mint": Command(
        "roles.cli.mint", "look at a running mint and manage it; with -c, or alone, run the daemon itself"
    ),
    "audit": Command("roles.cli.audit", "prove that every attributed share became exactly one quote"),
    "keys": Command("roles.cli.keys", "make keys and print their public halves"),
    "check": Command("roles.cli.check", "check a tree of configuration files"),
    "start": Command("roles.cli.start", "run one daemon alone, with the settings that up gives it"),
    "db": Command("roles.cli.db", "look into the wallet's, the mint's or the pool's store"),
    "clean": Command("roles.cli.clean", "throw away a part of the state; keys and seeds stay"),
    "generate-blocks": Command("roles.cli.generate_blocks", "have the regtest node make blocks"),
    "kernel": Command("roles.cli.kernel", "build the native kernel, or tell which one runs"),
    "set-min-diff": Command("roles.cli.set_min_diff", "set what one ehash is worth, in bits"),
    "bench": Command("roles.cli.bench", "run one benchmark"),
    "test": Command("roles.cli.test", "run the tests (--long: all counts in full)"),
    "lint": Command("roles.cli.lint", "formatting, lint, types, import contracts"),
}
DAEMONS: Final[tuple[str, ...]] = (
    "pool",
    "mint",
    "proxy",
    "translator",
    "template_provider",
    "regtest_node",
    "cpu_miner",
    "solo_pool",
    "sv1_proxy",
)


def overview() -> str:
    """Return the text of `hashpool --help`."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{command.purpose}" for name, command in COMMANDS.items())
    return (
        "usage: hashpool COMMAND [arguments]\n\n"
        f"{commands}\n\n"
        f"daemons, by name: {', '.join(DAEMONS)}\n"
        "each takes -c ROLE.toml -g SHARED.toml; COMMAND --help tells more"
    )


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in {"-h", "--help", "help"}:
        print(overview())
        return 0 if arguments else sysexits.USAGE
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS and name not in DAEMONS:
        return unknown(name)
    module = COMMANDS[name].module if name in COMMANDS else f"roles.{name}.__main__"
    try:
        return cast("CommandModule", importlib.import_module(module)).main(rest)
    except OperatorError as error:
        print(f"hashpool {name}: {error}", file=sys.stderr)
        return error.exit_code
    except ConfigInvalid as error:
        print("\n".join(f"hashpool {name}: {problem}" for problem in error.problems), file=sys.stderr)
        return sysexits.CONFIG
    except KeyboardInterrupt:
        return INTERRUPTED


def unknown(name: str) -> int:
    """Say that there is no such command and which one may have been meant."""
    import difflib

    near = difflib.get_close_matches(name, [*COMMANDS, *DAEMONS], n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    print(f"hashpool: no command {name!r}{meant}\n\n{overview()}", file=sys.stderr)
    return sysexits.USAGE


if __name__ == "__main__":
    sys.exit(main())
