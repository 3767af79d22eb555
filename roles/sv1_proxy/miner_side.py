"""The miner-side instance put together."""

from roles.runtime.ban_list import examine_bans
from roles.runtime.daemon import Daemon, DaemonSpec
from roles.runtime.errors import OperatorError
from shared_config.miner_side import MinerSide
from shared_config.roster import directory
from shared_config.sv1_proxy_miner import Sv1ProxyMinerSettings


async def service(daemon: Daemon[Sv1ProxyMinerSettings, MinerSide]) -> None:
    """Serve until the daemon stops."""
    del daemon
    raise OperatorError("the miner-side instance is not there yet", hint="only --check works")


SPEC = DaemonSpec(directory("sv1_proxy_miner"), Sv1ProxyMinerSettings, MinerSide, service, examine_bans)
