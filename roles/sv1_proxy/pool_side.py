"""The pool-side instance put together."""

from roles.runtime.ban_list import examine_bans
from roles.runtime.daemon import Daemon, DaemonSpec
from roles.runtime.errors import OperatorError
from shared_config.pool_side import PoolSide
from shared_config.roster import directory
from shared_config.sv1_proxy_pool import Sv1ProxyPoolSettings


async def service(daemon: Daemon[Sv1ProxyPoolSettings, PoolSide]) -> None:
    """Serve until the daemon stops."""
    del daemon
    raise OperatorError("the pool-side instance is not there yet", hint="only --check works")


SPEC = DaemonSpec(directory("sv1_proxy_pool"), Sv1ProxyPoolSettings, PoolSide, service, examine_bans)
