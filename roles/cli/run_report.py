"""What a run of `hashpool up` has done: figures for the summary while it runs, and the object at its end."""

import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from roles.cli.auditing.sides import audit
from roles.cli.fleet import SV1, SV2, Profile
from roles.cli.gauges import Gauges
from roles.cli.panel import Fact
from roles.cli.stores import MintStore, PoolStore, WalletStore, open_store
from shared_config.roster import directory, package


@dataclass(frozen=True)
class Outlook:
    """Which metrics of which daemons tell what people see: a daemon's role, and what its metrics begin with.

    `judge` is who says of miners' shares what has become of them, `server` who serves SV1 miners, `finder`
    who gives blocks to the node where the ledger does not know of them.
    """

    judge: str
    accepted: str
    rejected: str
    hashrate: str
    miners: tuple[str, str]
    server: str
    wallet: str
    finder: str = ""


OUTLOOKS: Final = {
    SV2.name: Outlook(
        judge="pool",
        accepted="hashpool_pool_shares_accepted_total",
        rejected="hashpool_pool_shares_rejected_total",
        hashrate="hashpool_pool_hashrate",
        miners=("proxy", "hashpool_proxy_channels"),
        server="translator",
        wallet="proxy",
    ),
    SV1.name: Outlook(
        judge="sv1_proxy_pool",
        accepted="hashpool_sv1_proxy_shares_credited_total",
        rejected="hashpool_sv1_proxy_rejected_total",
        hashrate="hashpool_sv1_proxy_hashrate",
        miners=("sv1_proxy_miner", "hashpool_sv1_proxy_miners"),
        server="sv1_proxy_miner",
        wallet="sv1_proxy_miner",
        finder="solo_pool",
    ),
}


@dataclass(frozen=True)
class Baseline:
    """What the stores held before the run: the ledger's last row, unattributed shares and blocks."""

    seq: int
    unattributed: int
    blocks: int

    @classmethod
    def take(cls, state: Path, profile: Profile = SV2) -> "Baseline":
        """Read the stores of a state directory, which may be empty."""
        connection = open_store(state, directory(profile.issuer), PoolStore.FILE)
        if connection is None:
            return cls(0, 0, 0)
        with connection:
            pool = PoolStore(connection)
            blocks = 0 if OUTLOOKS[profile.name].finder else len(pool.blocks())
            return cls(pool.last_seq(), pool.unattributed(), blocks)


def settled(state: Path, profile: Profile = SV2) -> bool:
    """Whether every attributed share has been confirmed by the mint and minted into the wallet."""
    wallet = open_store(state, directory(profile.wallet), WalletStore.FILE)
    mint = open_store(state, "mint", MintStore.FILE)
    pool = open_store(state, directory(profile.issuer), PoolStore.FILE)
    if wallet is None or mint is None or pool is None:
        return False
    with wallet, mint, pool:
        ledger = PoolStore(pool)
        acked = MintStore(mint).acked(ledger.identity, ledger.store_id)
        return (
            acked == ledger.last_seq() and WalletStore(wallet).minted_count() >= MintStore(mint).quote_count()
        )


def report(state: Path, baseline: Baseline, gauges: Gauges, profile: Profile = SV2) -> dict[str, Any]:
    """Return the figures of the run and the audit of the whole store."""
    outlook = OUTLOOKS[profile.name]
    shares: dict[bytes, int] = {}
    accepted = pending = issued = minted = balance = 0
    unit, found, in_chain, height = "", 0, 0, 0
    minted_at: dict[bytes, int] = {}
    if (wallet := open_store(state, directory(profile.wallet), WalletStore.FILE)) is not None:
        with wallet:
            balance, unit = WalletStore(wallet).balance()
            minted_at = WalletStore(wallet).minted_at()
    if (pool := open_store(state, directory(profile.issuer), PoolStore.FILE)) is not None:
        with pool:
            ledger = PoolStore(pool)
            shares = ledger.times_after(baseline.seq)
            accepted = len(shares) + ledger.unattributed() - baseline.unattributed
            known = [] if outlook.finder else ledger.blocks()
            found = len(known) - baseline.blocks
            in_chain = sum(block.in_chain for block in known[baseline.blocks :])
            height = int(gauges.value("regtest_node", "hashpool_node_height")) or max(
                (block.height for block in known if block.in_chain), default=0
            )
    if (mint := open_store(state, "mint", MintStore.FILE)) is not None:
        with mint:
            quotes = {
                quote.share_hash: quote for quote in MintStore(mint).quotes() if quote.share_hash in shares
            }
            issued, pending = len(quotes), len(shares) - len(quotes)
            minted = sum(quote.amount for share_hash, quote in quotes.items() if share_hash in minted_at)
    if outlook.finder:
        found = int(gauges.grown(outlook.finder, f"hashpool_{outlook.finder}_solutions_total"))
        in_chain = int(gauges.grown(outlook.finder, f"hashpool_{outlook.finder}_blocks_built_on_total"))
    fates = f"hashpool_{package(outlook.server)}_shares_total"
    findings = audit(state)
    return {
        "shares": {
            "accepted": accepted,
            "rejected": int(gauges.grown(outlook.server, fates, result="rejected")),
            "unknown": int(gauges.grown(outlook.server, fates, result="unknown")),
        },
        "quotes": {"issued": issued, "pending": pending},
        "tokens": {"minted": minted, "balance": balance, "unit": unit},
        "blocks": {"found": found, "in_chain": in_chain, "height": height},
        "latency_ms": {"share_to_token": latency(shares, minted_at)},
        "audit": {"ok": findings.ok, "detail": findings.detail()},
    }


def latency(ledgered: dict[bytes, int], minted_at: dict[bytes, int]) -> dict[str, float | None]:
    """Return percentiles from the ledger's commit to the proof in the wallet's store, in ms."""
    waits = sorted(minted_at[share] - time for share, time in ledgered.items() if share in minted_at)
    if not waits:
        return {"p50": None, "p99": None}
    if len(waits) == 1:
        return {"p50": waits[0], "p99": waits[0]}
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


def facts(gauges: Gauges, outlook: Outlook = OUTLOOKS[SV2.name]) -> list[Fact]:
    """Return the figures of the live summary; shares and blocks are those of this run."""
    accepted = gauges.grown(outlook.judge, outlook.accepted)
    rejected = gauges.grown(outlook.judge, outlook.rejected)
    waiting = gauges.value(outlook.wallet, "hashpool_wallet_pending_ehash")
    blocks = (
        gauges.grown(outlook.finder, f"hashpool_{outlook.finder}_solutions_total")
        if outlook.finder
        else gauges.grown("pool", "hashpool_pool_blocks_found_total")
    )
    return [
        Fact("hashrate", f"{with_prefix(gauges.value(outlook.judge, outlook.hashrate))}H/s"),
        Fact("miners", f"{gauges.value(*outlook.miners):,.0f}"),
        Fact("shares", f"{accepted:,.0f}", f"{rejected:,.0f} rejected" if rejected else ""),
        Fact("blocks", f"{blocks:,.0f}"),
        Fact("height", f"{gauges.value('regtest_node', 'hashpool_node_height'):,.0f}"),
        Fact(
            "balance",
            f"{gauges.value(outlook.wallet, 'hashpool_wallet_balance_ehash'):,.0f} ehash",
            f"{waiting:,.0f} more on the way" if waiting else "",
        ),
    ]


def outcome(result: dict[str, Any]) -> str:
    """Return what a run has brought, as one line for people."""
    shares, blocks, tokens = result["shares"], result["blocks"], result["tokens"]
    rejected = f" ({shares['rejected']:,} rejected)" if shares["rejected"] else ""
    chain = f" ({blocks['in_chain']:,} in the chain)" if blocks["found"] else ""
    return (
        f"{counted(shares['accepted'], 'share')}{rejected} · {counted(blocks['found'], 'block')}{chain}"
        f" · {tokens['minted']:,} ehash minted · balance {tokens['balance']:,}"
    )


def counted(number: int, what: str) -> str:
    """Return a number with its noun: 1 share, 1,200 shares."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def with_prefix(number: float) -> str:
    """Return a number with three digits and an SI prefix."""
    for prefix in ("", "k", "M", "G", "T", "P"):
        if number < 1000:
            return f"{number:.3g} {prefix}"
        number /= 1000
    return f"{number:.3g} E"
