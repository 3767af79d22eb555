"""Entry point of `hashpool-proxy`."""

import sys

from roles.proxy.service import service
from roles.runtime.ban_list import examine_bans
from roles.runtime.daemon import DaemonSpec, run
from shared_config.miner_side import MinerSide
from shared_config.proxy import ProxySettings

SPEC = DaemonSpec("proxy", ProxySettings, MinerSide, service, examine_bans, serves_crowds=True)


def main(argv: list[str] | None = None) -> int:
    """Run the proxy and return its exit code."""
    return run(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
