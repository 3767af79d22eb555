"""hashpool-mint: the Cashu mint of ehash."""

import sys

from roles.mint.service import service
from roles.mint.store import examine
from roles.runtime.daemon import DaemonSpec, run
from shared_config.mint import MintSettings
from shared_config.pool_side import PoolSide

SPEC = DaemonSpec("mint", MintSettings, PoolSide, service, examine)


def main(argv: list[str] | None = None) -> int:
    """Run the daemon and return its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
