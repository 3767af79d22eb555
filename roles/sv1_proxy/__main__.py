"""Runs either instance of sv1_proxy: ``python -m roles.sv1_proxy -c FILE`` or ``hashpool-sv1_proxy -c FILE``.

The key ``instance`` of that file says which of the two it is.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from roles.runtime import sysexits
from roles.runtime.arguments import Arguments
from roles.runtime.daemon import run
from shared_config.document import Document
from shared_config.errors import ConfigInvalid, Problem

INSTANCES = ("pool", "miner")


def main(argv: list[str] | None = None) -> int:
    """Runs the daemon and returns its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        instance = chosen(arguments)
    except ConfigInvalid as error:
        for problem in error.problems:
            sys.stderr.write(f"sv1_proxy: {problem}\n")
        return sysexits.CONFIG
    if instance == "pool":
        from roles.sv1_proxy import pool_side

        return run(pool_side.SPEC, arguments)
    from roles.sv1_proxy import miner_side

    return run(miner_side.SPEC, arguments)


def chosen(argv: Sequence[str]) -> str:
    """Which instance the arguments' file is of; raises ConfigInvalid for a file that does not say."""
    parser = Arguments(
        prog="hashpool-sv1_proxy",
        description="Ehash for any SV1 pool: the instance of the pool's side, or that of the miner's side.",
        epilog="With -c FILE, --help tells the other arguments.",
        add_help=False,
    )
    parser.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="sv1_proxy_pool.toml or sv1_proxy_miner.toml"
    )
    parser.add_argument("-h", "--help", action="store_true", help="show this")
    given, _ = parser.parse_known_args(argv)
    if given.config is None:
        if given.help:
            parser.print_help()
            sys.exit(0)
        parser.error("-c names the file of either instance, such as config/sv1_proxy_miner.toml")
    document = Document.read(given.config)
    instance = document.data.get("instance")
    if instance not in INSTANCES:
        reason = "is missing" if instance is None else 'must be "pool" or "miner"'
        hint = 'instance = "miner" where the miners are, "pool" where ehash is issued'
        problem = document.problem(("instance",), reason, hint) if instance is not None else None
        raise ConfigInvalid([problem or Problem(document.name, None, "instance", None, reason, hint)])
    return str(instance)


if __name__ == "__main__":
    sys.exit(main())
