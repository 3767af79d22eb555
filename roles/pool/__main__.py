"""hashpool-pool: the SV2 mining server whose accepted shares become ehash."""

import sys

from roles.pool.service import service
from roles.runtime.ban_list import examine_bans
from roles.runtime.daemon import DaemonSpec, run
from shared_config.pool import PoolSettings
from shared_config.pool_side import PoolSide

SPEC = DaemonSpec("pool", PoolSettings, PoolSide, service, examine_bans)


def main(argv: list[str] | None = None) -> int:
    """Run the daemon and return its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
