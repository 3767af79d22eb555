"""The wallet as its owner sees it: keys for user identities, notices in, tokens in the store."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from os import urandom
from pathlib import Path

from prometheus_client import CollectorRegistry

from protocols.ehash.amount import AMOUNT_LIMIT
from protocols.ehash.shift import is_ehash
from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection, Database
from roles.wallet import identity, purse, quote, readout
from roles.wallet.consolidation import Consolidation
from roles.wallet.discovery import Discovery
from roles.wallet.exchanging import Exchanger
from roles.wallet.identity import Identity
from roles.wallet.keyring import Keyring
from roles.wallet.keyset_book import KeysetBook
from roles.wallet.kit import Kit
from roles.wallet.meters import Meters
from roles.wallet.mint_client import MintClient
from roles.wallet.mint_link import MintLink
from roles.wallet.minting import Minter
from roles.wallet.paying_in import PayingIn
from roles.wallet.paying_out import PayingOut
from roles.wallet.quote import Quote
from roles.wallet.receiving import Receiver
from roles.wallet.schema import MIGRATIONS
from roles.wallet.sending import Sender
from roles.wallet.strangers import Strangers
from roles.wallet.unlocking import Unlocker
from roles.wallet.worker_meters import WorkerMeters

log = logging.getLogger(__name__)

STORE_NAME = "wallet.sqlite"
_IDENTITIES_REMEMBERED = 20_000
_SURVEY_INTERVAL = 2.0
_SURVEYS_A_BALANCE = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a wallet behaves; times in seconds, `worker_metrics` as WorkerMeters has it."""

    max_identities: int = 20_000
    worker_metrics: int = 0
    batch: int = 50
    linger: float = 0.2
    lookup_interval: float = 60.0


class Wallet:
    """A wallet on one store and one mint, made by `open_wallet`; `run` works until it is cancelled."""

    def __init__(self, kit: Kit, settings: Settings, workers: WorkerMeters) -> None:
        self.kit = kit
        self._workers = workers
        self._settings = settings
        self._identities: dict[str, Identity] = {}
        self.earned: dict[int, int] = {}
        """Ehash of each key, minted or waiting for the mint, as it was half a minute ago at most."""
        self.minter = Minter(kit, batch=settings.batch, linger=settings.linger, on_reached=self.look_up_soon)
        self.exchanger = Exchanger(kit)
        self.sender = Sender(kit, self.exchanger)
        self.receiver = Receiver(kit, self.exchanger, Unlocker(kit))
        self.consolidation = Consolidation(kit, self.exchanger)
        self.paying_in = PayingIn(kit, self.exchanger)
        self.paying_out = PayingOut(kit, self.exchanger, self.sender)
        self.strangers = Strangers(kit.database, settings.max_identities)
        self.discovery = Discovery(kit, interval=settings.lookup_interval, on_found=self.minter.wake)

    async def key_for(self, name: str) -> Identity:
        """The key of a user identity, made and stored first if it is new; raises IdentityLimitError."""
        known = self._identities.get(name)
        if known is not None:
            return known
        limit, now = self._settings.max_identities, self.kit.clock_ms()
        derive = self.kit.keyring.quote_public
        claimed = await self.kit.database.write(
            lambda c: identity.claim(c, name, derive, limit=limit, now_ms=now)
        )
        crash.at("wallet.identity-stored")
        if len(self._identities) < _IDENTITIES_REMEMBERED:
            self._identities[name] = claimed
        return claimed

    async def is_of_its_seed(self) -> bool:
        """Whether the keys in the store derive from the seed that the wallet was opened with."""
        first = await self.kit.database.read(identity.first)
        return first is None or first.public_key == self.kit.keyring.quote_public(first.key_index)

    async def owner_of(self, public_key: bytes) -> Identity | None:
        """The identity whose key this is, None for a key that the wallet does not hold."""
        return await self.kit.database.read(lambda c: identity.by_key(c, public_key))

    def notice(self, key_index: int, share_hash: bytes, amount: int, unit: str) -> None:
        """The pool's word that a share of this key has a quote: a hint; the mint is the truth."""
        if 0 < amount < AMOUNT_LIMIT and len(share_hash) == 32 and unit.isprintable():
            self.minter.notice(Quote(share_hash, None, key_index, amount, unit.lower()))

    def look_up_soon(self) -> None:
        """Ask the mint for what notices may not have told: after an outage of the pool or of the mint."""
        self.discovery.wake()

    async def run(self) -> None:
        """Mint, look up and keep the gauges until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.minter.run())
                tasks.create_task(self.exchanger.run())
                tasks.create_task(self.paying_in.run())
                tasks.create_task(self.discovery.run())
                tasks.create_task(self._survey())
        finally:
            await self._keep_strangers()

    async def _keep_strangers(self) -> None:
        try:
            await self.strangers.keep(self.kit.clock_ms())
        except StorageError as error:
            log.debug("what strangers earned waits for the store: %s", error)

    async def _survey(self) -> None:
        """Set the gauges from the store; the balance seldom, because it is a sum over all tokens."""
        meters = self.kit.meters
        while True:
            meters.balance.set(await self.kit.database.read(_balance))
            workers, strangers = await self.kit.database.read(_earned)
            self._workers.show(workers, strangers)
            self.earned = {worker.key_index: worker.minted + worker.waiting for worker in workers}
            for _ in range(_SURVEYS_A_BALANCE):
                (quotes, ehash), keys = await self.kit.database.read(_waiting)
                meters.pending_quotes.set(quotes)
                meters.pending.set(ehash)
                meters.identities.set(keys)
                await self._keep_strangers()
                await asyncio.sleep(_SURVEY_INTERVAL)


def _earned(connection: Connection) -> tuple[list[readout.Worker], list[readout.Stranger]]:
    return readout.workers(connection), readout.strangers(connection)


def open_wallet(
    database: Database,
    mint: MintClient,
    seed: bytes,
    *,
    metrics: CollectorRegistry,
    clock_ms: Callable[[], int],
    settings: Settings | None = None,
    watch: Callable[[str | None], None] = lambda _: None,
    entropy: Callable[[int], bytes] = urandom,
) -> Wallet:
    """A wallet over an open store and a client of its mint, from the 64-byte seed.

    `watch` is called with None when the mint answers and with a reason when it does not.
    """
    meters = Meters(metrics)
    kit = Kit(
        database=database,
        mint=mint,
        link=MintLink(database, mint, meters, clock_ms=clock_ms, watch=watch),
        keyring=Keyring(seed),
        keysets=KeysetBook(database, mint),
        meters=meters,
        clock_ms=clock_ms,
        entropy=entropy,
    )
    settings = settings or Settings()
    return Wallet(kit, settings, WorkerMeters(metrics, settings.worker_metrics))


def open_store(directory: Path, metrics: CollectorRegistry | None = None) -> Database:
    """The wallet's store in a state directory, made if it is not there; raises what Database.open raises."""
    return Database.open(directory / STORE_NAME, MIGRATIONS, metrics=metrics)


def _balance(connection: Connection) -> int:
    return sum(item.amount for item in purse.balances(connection) if is_ehash(item.unit))


def _waiting(connection: Connection) -> tuple[tuple[int, int], int]:
    return quote.waiting(connection), identity.count(connection)
