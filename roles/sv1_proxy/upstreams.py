"""The trunks of an instance, as its configuration has them."""

from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from roles.runtime.kernel import kernel
from roles.stratum.sv1_opener import PoolTerms, Sv1Pool
from roles.stratum.trunk import TrunkListener
from roles.stratum.trunk_metrics import TrunkMetrics
from roles.stratum.trunks import Trunks
from roles.stratum.upstream_meters import UpstreamMeters
from shared_config.sv1_upstream import Sv1PoolSettings, Sv1ProxySettings

__all__ = ["Account", "open_trunks"]

Account = Callable[[Sv1PoolSettings], tuple[str, str]]
"""Who we are at a pool: the name that is let in first on each connection, and its password."""


def open_trunks(
    config: Sv1ProxySettings,
    account: Account,
    listener: TrunkListener,
    *,
    registry: CollectorRegistry,
    find: Callable[[Path], Path],
    on_change: Callable[[bool], None],
) -> Trunks:
    """Trunks to all pools of the configuration, to be run; `find` resolves files. Raises TlsUnusable."""
    pools = []
    for each in config.pools:
        user, password = account(each)
        pools.append(
            Sv1Pool.of(each, find, user=user, password=password, suggest_difficulty=config.suggest_difficulty)
        )
    return Trunks(
        pools,
        listener,
        terms=PoolTerms(config.upstream, config.upstream_limits, config.gather_ms / 1e3),
        metrics=TrunkMetrics(registry),
        meters=UpstreamMeters(registry),
        maker=kernel().prover,
        on_change=on_change,
    )
