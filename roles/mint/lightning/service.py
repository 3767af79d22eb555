"""The Lightning part of the mint put together: the node, the till that hears of payments, and the method."""

import logging
import secrets
import ssl
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from protocols.bitcoin.secp256k1 import SECRET_SIZE, is_secret
from protocols.cashu.subscription import melt_quote_kind
from roles.mint import keyset_rows
from roles.mint.halts import Halts
from roles.mint.keysets import KeysetBook
from roles.mint.lightning.backend import Backend
from roles.mint.lightning.fake import FakeBackend
from roles.mint.lightning.lnd import Access, LndBackend
from roles.mint.lightning.method import UNIT, Bolt11Method
from roles.mint.lightning.stale_quotes import StaleQuotes
from roles.mint.lightning.till import Till
from roles.mint.lightning.timed import TimedBackend
from roles.mint.lightning.watch import NodeWatch
from roles.mint.melting.cashier import Cashier
from roles.mint.melting.desk import MeltDesk
from roles.mint.melting.resolution import Resolution
from roles.mint.notice_board import NoticeBoard
from roles.mint.request import Sizes
from roles.mint.seed import MintSeed
from roles.mint.signatory import Signatory
from roles.runtime.errors import SecretUnusable, StorageError
from roles.runtime.readiness import Readiness
from roles.runtime.secret import SecretFile
from roles.runtime.storage import Database
from roles.runtime.task_group import TaskGroup
from shared_config.bolt11 import Bolt11Settings, LndLightning

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Lightning:
    """What serves sats."""

    backend: TimedBackend
    till: Till
    method: Bolt11Method
    cashier: Cashier
    desk: MeltDesk
    resolution: Resolution
    stale: StaleQuotes
    watch: NodeWatch

    async def run(self, readiness: Readiness) -> None:
        """Hear of payments, see those of the mint through, and say whether the node is there, until
        cancelled.
        """
        try:
            async with TaskGroup() as tasks:
                tasks.create_task(self.watch.run(readiness))
                tasks.create_task(self.till.run())
                tasks.create_task(self.cashier.run())
                tasks.create_task(self.stale.run())
        finally:
            with suppress(StorageError):
                await self.till.count()
            await self.backend.close()


def open_lightning(
    settings: Bolt11Settings,
    database: Database,
    state: Path,
    halts: Halts,
    metrics: CollectorRegistry,
    *,
    resolve: Callable[[Path], Path],
    board: NoticeBoard,
    book: KeysetBook,
    signatory: Signatory,
    sizes: Sizes,
    is_alone: bool,
) -> Lightning:
    """The parts, not yet running; keys and files of theirs are in the state directory. `is_alone` says that
    no other process has the store.
    """
    backend = TimedBackend(
        open_backend(settings, state, resolve), metrics, call_s=settings.call_s, pay_s=settings.pay_s
    )
    till = Till(
        database,
        backend,
        metrics,
        clock=time.time,
        board=board,
        count_after_s=settings.count_after_s if is_alone else 0.0,
    )
    method = Bolt11Method(
        settings, database, backend, till, halts, clock=time.time, entropy=secrets.token_bytes
    )
    grace_s = settings.pay_s + settings.call_s
    cashier = Cashier(
        database,
        backend,
        book,
        signatory=signatory,
        registry=metrics,
        board=board,
        clock=time.time,
        grace_s=grace_s,
    )
    desk = MeltDesk(
        settings,
        database,
        backend,
        cashier,
        till=till,
        book=book,
        signatory=signatory,
        halts=halts,
        clock=time.time,
        entropy=secrets.token_bytes,
        sizes=sizes,
    )
    board.offer(melt_quote_kind(method.name), desk.states)
    resolution = Resolution(database, backend, cashier, clock=time.time, grace_s=grace_s)
    stale = StaleQuotes(database, metrics, clock=time.time, forget_s=settings.forget_s)
    watch = NodeWatch(backend, metrics, every_s=settings.watch_s)
    return Lightning(backend, till, method, cashier, desk, resolution, stale, watch)


def open_backend(settings: Bolt11Settings, state: Path, resolve: Callable[[Path], Path]) -> Backend:
    """The Lightning node that is configured; raises SecretUnusable."""
    if settings.backend == "lnd":
        access = lnd_access(settings.lnd, resolve)
        return LndBackend(access, pay_s=settings.pay_s, route_hints=settings.lnd.route_hints)
    secret = SecretFile(state / "fake_lightning.key").load_or_create_bytes(SECRET_SIZE, _make_secret)
    return FakeBackend(
        settings.fake,
        secret,
        state / "fake_lightning.jsonl",
        clock=time.time,
        entropy=secrets.token_bytes,
    )


def examine(settings: Bolt11Settings, resolve: Callable[[Path], Path]) -> None:
    """What --check looks at: the files of the node that is configured; raises SecretUnusable."""
    if settings.backend == "lnd":
        lnd_access(settings.lnd, resolve)


def lnd_access(settings: LndLightning, resolve: Callable[[Path], Path]) -> Access:
    """What the files that are named hold; raises SecretUnusable."""
    assert settings.url is not None
    assert settings.macaroon_file is not None
    path = resolve(settings.macaroon_file)
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o007:
            raise SecretUnusable(f"{path} may be read by anybody", hint=f"chmod o-rwx {path}")
        macaroon = path.read_bytes()
        path = path if settings.certificate_file is None else resolve(settings.certificate_file)
        certificate = None if settings.certificate_file is None else path.read_text(encoding="ascii")
        if certificate is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=certificate)
    except OSError as error:
        raise SecretUnusable(
            f"{path} cannot be read: {error.strerror or error}", hint="see [bolt11.lnd] in mint.toml"
        ) from error
    except ValueError as error:
        raise SecretUnusable(f"{path} is not a certificate in PEM", hint="it is lnd's tls.cert") from error
    return Access(settings.url.rstrip("/"), macaroon.hex(), certificate)


async def add_keyset(
    database: Database, seed: MintSeed, book: KeysetBook, settings: Bolt11Settings, now: int
) -> None:
    """Make the first keyset of sat; later ones come by rotation."""
    if any(keyset.unit == UNIT for keyset in book):
        return
    keyset = await database.write(
        lambda c: keyset_rows.first(c, seed, UNIT, now, book.ring, input_fee_ppk=settings.input_fee_ppk)
    )
    book.add(keyset)
    _log.info("a keyset is made", extra={"keyset": keyset.keyset_id, "unit": keyset.unit})


def _make_secret() -> bytes:
    while not is_secret(secret := secrets.token_bytes(SECRET_SIZE)):
        pass
    return secret
