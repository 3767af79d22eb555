"""`hashpool-cpu_miner`: arguments to exit code."""

import sys

from roles.cpu_miner.service import service
from roles.runtime.daemon import DaemonSpec, run
from shared_config.cpu_miner import CpuMinerSettings
from shared_config.miner_side import MinerSide

SPEC = DaemonSpec("cpu_miner", CpuMinerSettings, MinerSide, service)


def main(argv: list[str] | None = None) -> int:
    """Run the miner and return its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
