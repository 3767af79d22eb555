"""The pool-side instance put together: SV1 miners at any SV1 pool, whose shares are credited as ehash."""

from collections.abc import Sequence
from functools import partial

from protocols.bitcoin.target import MAX_TARGET, from_work
from protocols.ehash.errors import CreditCode
from protocols.mining.credit_target import CreditRule
from protocols.translation.standing_price import Contents
from roles.credit.disk import DiskWatch
from roles.credit.issuance import open_issuance, valuation_of
from roles.credit.issuer import IssuerTiming
from roles.credit.ledger_rows import LedgerRow
from roles.runtime.daemon import Daemon, DaemonSpec
from roles.runtime.store_watch import watch_store
from roles.stratum.difficulties import Difficulties
from roles.stratum.miner_ports import examine_ports
from roles.sv1_proxy.accounts import Name
from roles.sv1_proxy.credit_desk import CreditDesk
from roles.sv1_proxy.credit_meters import CreditMeters
from roles.sv1_proxy.credited_guest import CreditedGuest, CreditTerms, House
from roles.sv1_proxy.instance import Side, assemble
from roles.sv1_proxy.job_log import JobLog
from roles.sv1_proxy.schema import MIGRATIONS
from shared_config.pool_side import PoolSide
from shared_config.roster import directory
from shared_config.sv1_proxy_pool import Sv1ProxyPoolSettings
from shared_config.sv1_upstream import Sv1PoolSettings


class _Nobody:
    """SV1 has no way to tell miners of their quotes; wallets find them by key."""

    def confirmed(self, rows: Sequence[LedgerRow]) -> None:
        """The mint holds a quote for each of these rows."""

    def refused(self, row: LedgerRow, code: CreditCode) -> None:
        """The mint settled a row by refusing it; the ledger has that."""


async def service(daemon: Daemon[Sv1ProxyPoolSettings, PoolSide]) -> None:
    """Serve until the daemon stops; raises OperatorError for what a person can mend."""
    config, shared, registry = daemon.config, daemon.shared, daemon.metrics
    async with open_issuance(daemon.state, shared, MIGRATIONS, registry) as issuance:
        meters = CreditMeters(registry)
        log = JobLog(issuance.database, config.job_log, meters)
        issuance.ledger.on_write, issuance.ledger.gather_s = log.flush, config.gather_ms / 1e3
        disk = DiskWatch(daemon.state, config.limits.disk_reserve_bytes, meters.disk_free, daemon.readiness)
        regtest = shared.regtest
        desk = CreditDesk(
            issuance.ledger,
            log,
            disk,
            meters,
            minimum=shared.ehash.minimum_difficulty,
            valuation=valuation_of(shared.ehash),
            asks_pool=config.credit == "upstream-verdict",
            hardest=from_work(regtest.block_difficulty) if regtest is not None else MAX_TARGET,
        )
        difficulties = Difficulties(config.limits.remembered_difficulties)
        meters.remembered.set_function(lambda: float(len(difficulties)))
        accounts = {pool.label: _account(pool).user for pool in config.pools}
        house = House(desk, _terms(config, shared), Contents(), difficulties, accounts)
        instance = assemble(
            daemon,
            Side(
                make=partial(CreditedGuest, house),
                name_at=_account,
                gives_ehash=lambda _: True,
                hold_s=lambda config, _: config.away_s,
                own_shares_per_minute=lambda _: 0.0,
                settings=("away_s",),
            ),
        )

        def take_over(config: Sv1ProxyPoolSettings, shared: PoolSide) -> None:
            house.terms = _terms(config, shared)
            desk.asks_pool = config.credit == "upstream-verdict"
            log.settings = config.job_log

        daemon.reloads.on(["credit", "vardiff", "job_log"], take_over)
        instance.pages.serve(daemon.api)
        timing = IssuerTiming(gather=config.handover_ms / 1e3)
        try:
            await instance.run(
                daemon,
                issuance.issuer(shared, _Nobody(), registry, timing).run(),
                disk.run(),
                log.run(),
                watch_store(issuance.database, daemon.readiness),
            )
        finally:
            log.flush()


def _account(pool: Sv1PoolSettings) -> Name:
    return Name(pool.user or "", pool.password)


def _terms(config: Sv1ProxyPoolSettings, shared: PoolSide) -> CreditTerms:
    rule = CreditRule(shared.ehash.minimum_difficulty, config.vardiff.floor_hashes)
    return CreditTerms(rule, config.vardiff.shares_per_minute, shared.ehash.keyless == "accept")


SPEC = DaemonSpec(directory("sv1_proxy_pool"), Sv1ProxyPoolSettings, PoolSide, service, examine_ports)
