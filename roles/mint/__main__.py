"""hashpool-mint: the Cashu mint of ehash."""

import sys
from collections.abc import Callable
from pathlib import Path

from roles.mint import store
from roles.mint.lightning import service as lightning
from roles.mint.service import service
from roles.runtime.daemon import DaemonSpec, run
from shared_config.mint import MintSettings
from shared_config.pool_side import PoolSide


def examine(config: MintSettings, find: Callable[[Path], Path]) -> None:
    """What --check looks at: the files of store and Lightning node; raises OperatorError."""
    store.examine(config, find)
    lightning.examine(config.bolt11, find)


SPEC = DaemonSpec("mint", MintSettings, PoolSide, service, examine)


def main(argv: list[str] | None = None) -> int:
    """Run the daemon and return its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
