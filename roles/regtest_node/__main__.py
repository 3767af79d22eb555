"""Runs the regtest node: ``python -m roles.regtest_node`` or ``hashpool-regtest_node``."""

import sys

from roles.regtest_node.errors import KernelMissing
from roles.runtime.daemon import Daemon, DaemonSpec, run
from shared_config.pool_side import PoolSide
from shared_config.regtest_node import RegtestNodeSettings


async def _service(daemon: Daemon[RegtestNodeSettings, PoolSide]) -> None:
    try:
        # Only now: arguments and configuration can be checked where there is no kernel.
        from roles.regtest_node.service import service
    except (ImportError, OSError, RuntimeError) as error:
        raise KernelMissing(str(error)) from error
    await service(daemon)


SPEC = DaemonSpec("regtest_node", RegtestNodeSettings, PoolSide, _service)


def main(argv: list[str] | None = None) -> int:
    """Runs the daemon and returns its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
