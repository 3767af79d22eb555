"""The mint put together: store and keys, HTTP for wallets, the issuance link for pools."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from protocols.bitcoin.secp256k1 import public_key
from protocols.noise.authority import public_of
from roles.credit.acceptor import ISSUANCE_LIMITS, Acceptor
from roles.mint import keyset_rows, ledger_rows
from roles.mint.api import MintApi, Refusals
from roles.mint.compaction import Window
from roles.mint.compactor import Compactor
from roles.mint.credit_book import MintCreditBook
from roles.mint.halts import Halts
from roles.mint.info import MintInfo
from roles.mint.keyset_watch import KeysetWatch
from roles.mint.keysets import KeyRing, KeysetBook
from roles.mint.lightning.service import add_keyset, open_lightning
from roles.mint.listening import offer_all
from roles.mint.melting.api import MeltApi
from roles.mint.meters import Meters
from roles.mint.method import EhashMethod, Method
from roles.mint.notice_board import NoticeBoard
from roles.mint.office import Office
from roles.mint.operations import http_bounds
from roles.mint.request import Sizes
from roles.mint.seed import MintSeed
from roles.mint.signatory import Signatory
from roles.mint.socket_desk import SocketDesk
from roles.mint.store import open_store
from roles.mint.teller import Teller
from roles.runtime.authority import authority_secret
from roles.runtime.daemon import Daemon
from roles.runtime.errors import CommitFailed, DatabaseUnusable, ReadFailed
from roles.runtime.http import HttpServer
from roles.runtime.peer_server import PeerServer, ServerLimits, ServerMetrics
from roles.runtime.peer_stream import StreamLimits
from roles.runtime.storage import Database
from roles.runtime.store_watch import watch_store
from roles.runtime.sv2_connection import ServedConnection, serve
from shared_config.mint import MintSettings
from shared_config.pool_side import PoolSide

MintDaemon = Daemon[MintSettings, PoolSide]

_log = logging.getLogger(__name__)


async def service(daemon: MintDaemon) -> None:
    """Run the mint until it is told to stop; then requests under way are finished."""
    daemon.readiness.declare("http")
    daemon.readiness.declare("issuance")
    async with _open_store(daemon) as mint:
        http = mint.http()
        links = mint.issuance()
        await mint.office.open()
        async with asyncio.TaskGroup() as tasks:
            parts = [
                links.run(),
                mint.watch(),
                mint.follow_keysets(),
                mint.compact(),
                mint.office.run(),
                mint.tell_listeners(),
            ]
            if mint.lightning is not None:
                parts.append(mint.lightning.run(daemon.readiness))
            running = [tasks.create_task(each) for each in parts]
            daemon.readiness.met("issuance")
            where = await http.start(daemon.config.http_address, "http_address")
            daemon.readiness.met("http")
            _log.info("serving", extra={"http": f"http://{where}", "issuance": str(links.address)})
            await daemon.stopping.wait()
            await http.close()
            for task in running:
                task.cancel()


@asynccontextmanager
async def _open_store(daemon: MintDaemon) -> AsyncIterator["Mint"]:
    async with AsyncExitStack() as stack:
        try:
            settings = daemon.config.store
            database, seed = await open_store(
                settings, daemon.shared.network, daemon.state, daemon.resolve, daemon.metrics
            )
            stack.push_async_callback(asyncio.to_thread, database.close)
            book = await open_book(daemon, database, seed)
        except (ReadFailed, CommitFailed) as error:
            raise DatabaseUnusable(
                f"the mint cannot start without its store: {error}",
                hint="see that the disk or the PostgreSQL server is there, and start it again",
            ) from error
        signatory = Signatory()
        stack.callback(signatory.close)
        yield Mint(daemon, database, seed, book, signatory)


async def open_book(daemon: MintDaemon, database: Database, seed: MintSeed) -> KeysetBook:
    """Every stored keyset, made from the seed again, and those of issuers that are new."""
    ring = KeyRing(seed.raw, daemon.config.derived_keysets)
    book = await database.read(lambda c: keyset_rows.load(c, seed, ring))
    identities = [issuer.identity for issuer in daemon.config.issuers if issuer.identity is not None]
    created = await database.write(
        lambda c: ledger_rows.register(c, identities, seed, book, int(time.time()))
    )
    for keyset in created:
        book.add(keyset)
        _log.info("a keyset is made", extra={"keyset": keyset.keyset_id, "unit": keyset.unit})
    if daemon.config.bolt11.backend != "off":
        await add_keyset(database, seed, book, daemon.config.bolt11, int(time.time()))
    return book


class Mint:
    """The parts of a running mint."""

    def __init__(
        self, daemon: MintDaemon, database: Database, seed: MintSeed, book: KeysetBook, signatory: Signatory
    ) -> None:
        self._daemon = daemon
        self._database = database
        self._seed = seed
        self._book = book
        self._signatory = signatory
        self._keysets = KeysetWatch(book, database, seed)
        book.seek = self._keysets.seek
        self._meters = Meters(daemon.metrics)
        self._halts = Halts(database, time.time)
        shared = daemon.config.store.engine == "postgresql"
        self._board = NoticeBoard(poll_s=daemon.config.sockets.poll_s if shared else 0.0)
        http = daemon.config.http
        self._sizes = Sizes(array=http.outputs, batch=http.quotes)
        bolt11 = daemon.config.bolt11
        self.lightning = (
            None
            if bolt11.backend == "off"
            else open_lightning(
                bolt11,
                database,
                daemon.state,
                self._halts,
                daemon.metrics,
                resolve=daemon.resolve,
                board=self._board,
                book=book,
                signatory=signatory,
                sizes=self._sizes,
                is_alone=not shared,
            )
        )
        self.office = Office(
            database,
            seed,
            daemon.readiness,
            self._halts,
            meters=self._meters,
            settings=daemon.config,
            directory=daemon.state,
            url=daemon.shared.mint.url,
            methods=[method.name for method in self._methods()],
            board=self._board,
            melts=None if self.lightning is None else self.lightning.resolution,
            book_changed=partial(self._keysets.refresh, everything=True),
            quotes_changed=None if self.lightning is None else self.lightning.till.leave,
        )

    def http(self) -> HttpServer:
        """The server for wallets, with its routes."""
        config = self._daemon.config
        limits = config.http
        server = HttpServer(
            http_bounds(limits), self._daemon.metrics, translate=Refusals(self._meters), cors=True
        )
        teller = Teller(
            self._database,
            self._book,
            self._seed,
            self._signatory,
            self._meters,
            clock=time.time,
            sizes=self._sizes,
            public_share_lookup=config.share_lookup == "public",
            halts=self._halts,
            methods=self._methods(),
            board=self._board,
        )
        offer_all(self._board, teller)
        desk = SocketDesk(self._board, config.sockets, self._daemon.metrics, server.client)
        server.at_close(desk.close)
        MintApi(teller, self._book, self._info(), desk.serve).add_routes(server)
        MeltApi(None if self.lightning is None else self.lightning.desk).add_routes(server)
        return server

    def _methods(self) -> list[Method]:
        return [EhashMethod(), *([] if self.lightning is None else [self.lightning.method])]

    async def tell_listeners(self) -> None:
        """Tell wallets on websockets what changes, until cancelled."""
        await self._board.run()

    async def watch(self) -> None:
        """Say whether the store can be written, until cancelled."""
        await watch_store(self._database, self._daemon.readiness)

    async def compact(self) -> None:
        """Have old quotes take less room, until cancelled."""
        config = self._daemon.config
        await Compactor(
            self._database,
            self._daemon.metrics,
            after_s=config.compact_after_s,
            window=Window(config.end_after_s, config.end_after_shifts),
        ).run()

    async def follow_keysets(self) -> None:
        """Learn of keysets that others make and end, until cancelled."""
        await self._keysets.run()

    def issuance(self) -> PeerServer[ServedConnection]:
        """The listener for issuers."""
        config = self._daemon.config
        secret = authority_secret(self._daemon.state)
        bounds = {
            issuer.identity: issuer.work_per_minute
            for issuer in config.issuers
            if issuer.identity is not None
        }
        book = MintCreditBook(
            self._database,
            self._seed,
            self._signatory,
            self._meters,
            bounds,
            book=self._book,
            rule=self._daemon.shared.shift_rule,
            clock=time.time,
            board=self._board,
            shifts_per_day={
                issuer.identity: issuer.shifts_per_day
                for issuer in config.issuers
                if issuer.identity is not None
            },
        )
        acceptor = Acceptor(
            book,
            bounds.keys(),
            authority=public_of(secret),
            quote_key=public_key(self._seed.quote_secret),
            mint_url=self._daemon.shared.mint.url,
            window=config.credits_window,
        )
        self._meters.waiting.set_function(lambda: float(self._signatory.waiting))
        self._meters.links.set_function(lambda: float(acceptor.linked))
        self._meters.ignored.set_function(lambda: float(acceptor.ignored))
        return serve(
            config.issuance_address,
            secret,
            acceptor.serve,
            limit=ISSUANCE_LIMITS,
            setting="issuance_address",
            metrics=ServerMetrics(self._daemon.metrics, "issuance"),
            server_limits=ServerLimits.of(config.limits),
            stream_limits=StreamLimits.of(config.limits),
        )

    def _info(self) -> MintInfo:
        return MintInfo(
            self._daemon.config.info,
            self._daemon.shared.mint.url,
            self._seed.info_key,
            public_key(self._seed.quote_secret),
            self._sizes,
            is_stopped=lambda: self._halts.stops_all is not None,
            methods=self._methods(),
            has_socket=self._daemon.config.sockets.sockets > 0,
        )
