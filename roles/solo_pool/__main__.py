"""Runs the solo pool: ``python -m roles.solo_pool`` or ``hashpool-solo_pool``."""

import sys

from roles.runtime.daemon import DaemonSpec, run
from roles.solo_pool.service import examine, service
from shared_config.pool_side import PoolSide
from shared_config.solo_pool import SoloPoolSettings

SPEC = DaemonSpec("solo_pool", SoloPoolSettings, PoolSide, service, examine)


def main(argv: list[str] | None = None) -> int:
    """Runs the daemon and returns its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
