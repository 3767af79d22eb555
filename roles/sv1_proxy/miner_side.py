"""The miner-side instance put together: SV1 miners at an SV1 pool, and the wallet that holds their ehash."""

from contextlib import AsyncExitStack
from functools import partial

from prometheus_client import Counter

from roles.runtime.daemon import Daemon, DaemonSpec
from roles.runtime.store_watch import watch_store
from roles.stratum.miner_identity import MinerIdentity
from roles.stratum.miner_ports import examine_ports
from roles.sv1_proxy.accounts import Accounts, Name
from roles.sv1_proxy.home_guest import Home, HomeGuest
from roles.sv1_proxy.instance import Side, assemble
from roles.sv1_proxy.metrics import PREFIX
from roles.wallet.gleaning import Gleaning
from roles.wallet.household import keep_wallet
from roles.wallet.key_desk import KeyDesk
from shared_config.miner_side import MinerSide
from shared_config.roster import directory
from shared_config.sv1_proxy_miner import Sv1ProxyMinerSettings
from shared_config.sv1_upstream import Sv1PoolSettings


async def service(daemon: Daemon[Sv1ProxyMinerSettings, MinerSide]) -> None:
    """Serve until the daemon stops; raises OperatorError for what a person can mend."""
    config = daemon.config
    async with AsyncExitStack() as stack:
        earns = any(not pool.user for pool in config.pools)
        wallet = await keep_wallet(daemon, config, daemon.shared.mint.url, stack, is_needed=earns)
        accounts = Accounts(config.pools, config.default_identity)
        keys = KeyDesk(wallet, config.default_identity)
        refused = Counter(
            f"{PREFIX}_names_refused", "Times that a pool did not let a miner in.", registry=daemon.metrics
        )
        home = Home(keys, accounts, Gleaning(wallet, config.news_s), refused)
        nobody = MinerIdentity(config.default_identity, None, key_in_user=False, floor=None)
        owner = await keys.owner(nobody.user, None)

        def name_at(pool: Sv1PoolSettings) -> Name:
            return accounts.name(pool.label, nobody, owner.key)

        def earned(miner: HomeGuest) -> int | None:
            index = miner.owner.key_index if miner.owner else None
            return None if index is None else wallet.earned.get(index, 0)

        instance = assemble(
            daemon,
            Side(
                make=partial(HomeGuest, home),
                name_at=name_at,
                gives_ehash=accounts.gives_ehash,
                hold_s=lambda _, shared: shared.hold_s,
                own_shares_per_minute=lambda config: config.shown_shares_per_minute,
                settings=("shared.hold_s", "shown_shares_per_minute"),
                earned=earned,
            ),
        )
        instance.pages.serve(daemon.api)
        daemon.reloads.on(["news_s"], lambda config, _: setattr(home.gleaning, "delay", config.news_s))
        watching = watch_store(wallet.kit.database, daemon.readiness)
        await instance.run(daemon, wallet.run(), home.gleaning.run(), watching)


SPEC = DaemonSpec(directory("sv1_proxy_miner"), Sv1ProxyMinerSettings, MinerSide, service, examine_ports)
