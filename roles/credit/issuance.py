"""What an issuer has: its identity, the store with the ledger, and the link to the mint."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from protocols.bitcoin.secp256k1 import public_key
from protocols.ehash.amount import Valuation
from protocols.ehash.messages import ISSUANCE
from roles.credit.issuer import CreditListener, Issuer, IssuerMetrics, IssuerTiming
from roles.credit.issuer_key import LEDGER_NAME, issuer_secret
from roles.credit.ledger import Ledger, LedgerMetrics
from roles.credit.shift_roll import Pricing
from roles.runtime.neighbour import dialler
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.storage import Database, Migration, claim_chain
from shared_config.pool_side import EhashSettings, PoolSide

__all__ = ["Issuance", "open_issuance", "valuation_of"]


@dataclass(frozen=True, slots=True)
class Issuance:
    """An issuer's identity (its secret, 32 bytes) and books."""

    identity: bytes
    database: Database
    ledger: Ledger

    @property
    def public(self) -> bytes:
        """The identity key that the mint knows, 33 bytes."""
        return public_key(self.identity)

    def issuer(
        self,
        shared: PoolSide,
        listener: CreditListener,
        registry: CollectorRegistry,
        timing: IssuerTiming | None = None,
    ) -> Issuer:
        """What hands the ledger to the mint; `listener` hears what became of rows."""
        mint = shared.mint
        return Issuer(
            self.ledger,
            self.identity,
            mint.authority_key or b"",
            dialler(mint.issuance_address, mint.authority_key, ISSUANCE, StreamLimits().unread),
            listener=listener,
            metrics=IssuerMetrics(registry),
            timing=timing,
        )


def valuation_of(ehash: EhashSettings) -> Valuation:
    """How shares are valued by a configuration."""
    return Valuation[ehash.valuation.upper()]


@asynccontextmanager
async def open_issuance(
    state: Path, shared: PoolSide, migrations: Sequence[Migration], registry: CollectorRegistry
) -> AsyncIterator[Issuance]:
    """The issuer of a state directory, whose store is closed at the end; raises OperatorError."""
    identity = issuer_secret(state)
    database = Database.open(state / LEDGER_NAME, tuple(migrations), metrics=registry)
    try:
        await database.write(lambda c: claim_chain(c, shared.network, database.name))
        ledger = await Ledger.open(
            database,
            public_key(identity),
            Pricing(shared.ehash.minimum_difficulty, valuation_of(shared.ehash)),
            rule=shared.shift_rule,
            metrics=LedgerMetrics(registry),
        )
        yield Issuance(identity, database, ledger)
    finally:
        await asyncio.to_thread(database.close)
