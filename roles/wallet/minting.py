"""From quotes to tokens: batches, and the answers to them.

The order that no crash can break: counters are taken in the store, the request is kept in the store byte
for byte, only then is it sent; tokens, request and quotes are settled in one write. A request that was sent
is either answered (also by sending the same bytes again) or found again by its outputs.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection
from roles.wallet import history, purse, quote, request
from roles.wallet.composition import LockedQuote, compose
from roles.wallet.errors import MintDishonest, MintRefused, MintUnreachable, NoKeysetError
from roles.wallet.kit import Kit
from roles.wallet.mint_api import MintInfo
from roles.wallet.mint_client import BATCH_PATH
from roles.wallet.purse import HeldProof
from roles.wallet.quote import Quote
from roles.wallet.reconciliation import Reconciliation
from roles.wallet.request import Form, MintRequest
from roles.wallet.signatures import denominations, open_answer

log = logging.getLogger(__name__)

MAX_NOTICES = 10_000
_PAUSES = (0.3, 0.6, 1.0, 2.0, 3.0)
_SIGNATURE_REFUSED = 20008
_LIMIT_CODES = {11015, 11017}
_LATER_CODES = {11004, 20003, 20005}
"""Outputs or quote held by another request, or minting switched off: the request itself is sound."""


class Minter:
    """Mints what is pending in the store, one request at a time.

    `linger` is how long, in seconds, a first quote waits for others to share its request; `batch` the most
    quotes of one request. `entropy` gives random bytes.
    """

    def __init__(
        self,
        kit: Kit,
        *,
        batch: int = 50,
        linger: float = 0.2,
        on_reached: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = kit.database
        self._mint = kit.mint
        self._link = kit.link
        self._keyring = kit.keyring
        self._keysets = kit.keysets
        self._meters = kit.meters
        self._clock_ms = kit.clock_ms
        self._entropy = kit.entropy
        self._batch = batch
        self._linger = linger
        self._on_reached = on_reached
        self._reconciliation = Reconciliation(kit)
        self._notices: deque[tuple[Quote, int]] = deque()
        self._wake = asyncio.Event()
        self._full = asyncio.Event()

    def notice(self, quote: Quote) -> None:
        """Take the pool's word of a quote; beyond 10,000 unwritten ones it is left to the look-up."""
        if len(self._notices) >= MAX_NOTICES:
            self._meters.notices.labels("overflow").inc()
            return
        self._meters.notices.labels("taken").inc()
        self._notices.append((quote, self._clock_ms()))
        self._wake.set()
        if len(self._notices) >= self._batch:
            self._full.set()

    def wake(self) -> None:
        """Look for pending quotes now."""
        self._wake.set()

    async def run(self) -> None:
        """Mint for ever; an outage of the mint is waited out."""
        failures = 0
        disputed = True
        while True:
            pause: float | None = None
            try:
                await self.mint_due(disputed=disputed)
            except MintUnreachable as error:
                self._link.lost(error)
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
            except (MintDishonest, MintRefused) as error:
                self._alarm("mint", str(error))
                pause = _PAUSES[-1]
            except StorageError as error:
                self._alarm("store", f"the wallet's store: {error}")
                pause = _PAUSES[-1]
            else:
                failures, disputed = 0, False
                if self._link.reached():
                    self._on_reached()
            await self._rest(pause)

    async def mint_due(self, *, disputed: bool = False) -> None:
        """Mint all that can be minted now; raises MintError where the mint as a whole is at fault."""
        await self._store_notices()
        open_requests = await self._database.read(lambda c: request.unsettled(c, disputed=disputed))
        for kept in open_requests:
            await self._send(kept)
        info = await self._link.info()
        while True:
            units = await self._database.read(self._due_units)
            if not units:
                return
            for unit in units:
                await self._mint_unit(unit, info)

    async def _rest(self, pause: float | None) -> None:
        """Wait out an outage, or until there is something to do and a moment for more of it."""
        if pause is not None:
            await asyncio.sleep(pause)
            return
        now = self._clock_ms()
        wait = await self._database.read(lambda c: quote.until_due_ms(c, now))
        timeout = None if wait is None else wait / 1000
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._full.clear()
        try:
            async with asyncio.timeout(self._linger):
                await self._full.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _due_units(self, connection: Connection) -> list[str]:
        return quote.due_units(connection, self._clock_ms())

    async def _store_notices(self) -> None:
        if not self._notices:
            return
        notices = tuple(self._notices)

        def store(connection: Connection) -> None:
            for heard, heard_ms in notices:
                quote.learn(connection, [heard], "notice", heard_ms)

        crash.at("wallet.notices-taken")
        await self._database.write(store)
        crash.at("wallet.notices-stored")
        for _ in notices:
            self._notices.popleft()

    async def _mint_unit(self, unit: str, info: MintInfo) -> None:
        now = self._clock_ms()
        limit = max(1, min(self._batch, info.max_batch))
        quotes = await self._database.read(lambda c: quote.batch(c, unit, limit, now))
        try:
            keyset = await self._keysets.active(unit)
            amounts = denominations(sum(item.amount for item in quotes), keyset.keys)
        except NoKeysetError as error:
            log.warning("%s; %d quotes wait", error, len(quotes))
            await self._database.write(lambda c: _release_all(c, quotes, now))
            return
        named, nameless = self._name(quotes, info)
        if nameless:
            # Without the mint's quote key only a look-up can tell the ids.
            await self._database.write(lambda c: quote.drop(c, [item.share_hash for item in nameless]))
            return
        first = await self._database.write(lambda c: request.reserve(c, keyset.keyset_id, len(amounts)))
        crash.at("wallet.counters-reserved")
        outputs = self._keyring.outputs(keyset.keyset_id, first, amounts)
        path, body = compose(
            named,
            [output.message for output in outputs],
            form="amended",
            batch=info.max_batch > 0,
            entropy=self._entropy,
        )

        draft = request.Draft(
            keyset_id=keyset.keyset_id, first_counter=first, amounts=amounts, path=path, body=body
        )

        def keep(connection: Connection) -> MintRequest:
            kept = request.open_request(connection, draft, now)
            quote.carry(connection, [(item.share_hash, item.quote_id) for item in named], kept.request_id)
            return kept

        kept = await self._database.write(keep)
        crash.at("wallet.request-stored")
        await self._send(kept)

    def _name(self, quotes: Sequence[Quote], info: MintInfo) -> tuple[list[LockedQuote], list[Quote]]:
        named: list[LockedQuote] = []
        nameless: list[Quote] = []
        for item in quotes:
            quote_id = item.quote_id
            if quote_id is None and info.quote_key is not None:
                quote_id = self._keyring.quote_id(item.key_index, info.quote_key, item.share_hash)
            if quote_id is None:
                nameless.append(item)
            else:
                named.append(self._locked(item, quote_id))
        return named, nameless

    def _locked(self, item: Quote, quote_id: str) -> LockedQuote:
        return LockedQuote(item.share_hash, quote_id, item.amount, self._keyring.quote_secret(item.key_index))

    async def _send(self, kept: MintRequest) -> None:
        try:
            signatures = await self._mint.mint(kept.path, kept.body)
            keyset = await self._keysets.keyset(kept.keyset_id)
            outputs = self._keyring.outputs(kept.keyset_id, kept.first_counter, kept.amounts)
            proofs = open_answer(keyset, outputs, signatures)
        except MintRefused as refusal:
            await self._refused(kept, refusal)
        except MintDishonest as error:
            self._alarm("dishonest", f"request {kept.request_id}: {error}; its quotes are kept aside")
            self._meters.requests.labels("disputed").inc()
            now = self._clock_ms()
            await self._database.write(lambda c: request.settle(c, kept.request_id, "disputed", now))
        else:
            await self._receive(kept, proofs)

    async def _refused(self, kept: MintRequest, refusal: MintRefused) -> None:
        if refusal.code in _LATER_CODES:
            raise MintUnreachable(str(refusal)) from refusal
        if refusal.code == _SIGNATURE_REFUSED and kept.form == "amended":
            await self._send(await self._reword(kept, "legacy"))
            return
        if refusal.code in _LIMIT_CODES:
            self._batch = max(1, self._batch // 2)
        await self._reconciliation.after(kept, refusal)

    async def _reword(self, kept: MintRequest, form: Form) -> MintRequest:
        """The same outputs with the signatures that older mints check."""
        quotes = await self._database.read(lambda c: quote.carried_by(c, kept.request_id))
        outputs = self._keyring.outputs(kept.keyset_id, kept.first_counter, kept.amounts)
        _, body = compose(
            [self._locked(item, item.quote_id or "") for item in quotes],
            [output.message for output in outputs],
            form=form,
            batch=kept.path == BATCH_PATH,
            entropy=self._entropy,
        )

        def reword(connection: Connection) -> MintRequest:
            request.reword(connection, kept.request_id, body)
            return request.by_id(connection, kept.request_id)

        return await self._database.write(reword)

    async def _receive(self, kept: MintRequest, proofs: Sequence[HeldProof]) -> None:
        now = self._clock_ms()

        def receive(connection: Connection) -> tuple[int, list[int]]:
            heard = quote.heard_ms(connection, kept.request_id)
            total = purse.put(connection, proofs, kept.request_id, now)
            history.record_new(connection, "mint", [(kept.keyset_id, total)], now)
            carried = quote.carried_by(connection, kept.request_id)
            quote.minted(connection, [item.share_hash for item in carried], kept.request_id, now)
            request.settle(connection, kept.request_id, "answered", now)
            return total, heard

        crash.at("wallet.request-answered")
        total, heard = await self._database.write(receive)
        crash.at("wallet.request-settled")
        self._meters.requests.labels("answered").inc()
        self._meters.minted.inc(total)
        self._meters.balance.inc(total)
        self._meters.quotes_minted.inc(len(heard))
        for heard_ms in heard:
            self._meters.notice_to_token.observe(max(0, now - heard_ms) / 1000)

    def _alarm(self, kind: str, text: str) -> None:
        log.error("%s", text)
        self._meters.alarms.labels(kind).inc()


def _release_all(connection: Connection, quotes: Sequence[Quote], now_ms: int) -> None:
    for item in quotes:
        quote.release(connection, item.share_hash, now_ms, at_fault=True)
