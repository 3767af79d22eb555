"""Paying in: an invoice of the mint, and when it is paid the tokens for it (NUT-04, NUT-20, NUT-23)."""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Literal

import orjson

from protocols.bitcoin.secp256k1 import public_key
from protocols.cashu import quote_signature
from protocols.cashu.keyset import Keyset
from protocols.lightning.errors import InvoiceError
from protocols.lightning.invoice import decode
from roles.runtime import crash
from roles.runtime.errors import StorageError
from roles.runtime.storage import Connection
from roles.wallet import exchange, invoice
from roles.wallet.errors import MintDishonest, MintError, MintRefused, RequestError
from roles.wallet.exchange import Exchange, Order
from roles.wallet.exchanging import Exchanger
from roles.wallet.invoice import Invoice
from roles.wallet.kit import Kit
from roles.wallet.mint_client import BOLT11, INVOICE_PATH
from roles.wallet.signatures import denominations
from roles.wallet.swap import open_outputs, place

log = logging.getLogger(__name__)

MSAT = 1_000
LATE_S = 86_400
"""How long after its expiry an invoice is still looked after: a payment may have been under way."""
_LOOK_S = 5.0
_LATE_LOOK_S = 600.0
_ASLEEP_S = 3_600.0
_AWAIT_S = 1.0
_TELL_MS = 10_000
_GONE = {20002}


class PayingIn:
    """Makes invoices and mints those that are paid."""

    def __init__(self, kit: Kit, exchanger: Exchanger) -> None:
        self._kit = kit
        self._exchanger = exchanger
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()

    async def invoice(self, amount: int, unit: str = "sat", memo: str | None = None) -> Invoice:
        """A new invoice over `amount` sats; raises MintError and RequestError."""
        if unit != "sat":
            raise RequestError(f"nothing but sat is paid in by invoice, and not {unit[:40]}")
        await self._kit.keysets.active(unit)
        now = self._kit.clock_ms()
        begun = await self._kit.database.write(lambda c: invoice.begin(c, unit, amount, now))
        key = public_key(self._kit.keyring.quote_secret(begun.key_index))
        body: dict[str, object] = {"amount": amount, "unit": unit, "pubkey": key.hex()}
        if memo:
            body["description"] = memo
        try:
            quote = await self._kit.mint.create_quote(BOLT11, orjson.dumps(body))
            check_invoice(quote.invoice, amount)
        except MintError:
            await self._kit.database.write(lambda c: invoice.forget(c, begun.number, now))
            raise
        found = await self._kit.database.write(
            lambda c: _answered(c, begun.number, quote.quote_id, quote.invoice, quote.expires)
        )
        self._wake.set()
        return found

    async def collect(self, found: Invoice) -> int:
        """Mint what has been paid of an invoice; 0 when it is not paid yet. Raises MintError.

        An invoice that can be paid no more is over then.
        """
        async with self._turn:
            if found.quote_id is None:
                return 0
            quote = await self._kit.mint.invoice_quote(BOLT11, found.quote_id)
            if quote.paid > quote.issued:
                return await self._mint(found, found.quote_id, quote.paid - quote.issued)
            late = found.expires is not None and self._kit.clock_ms() // 1000 > found.expires + LATE_S
            if quote.issued or late:
                await self._end(found.quote_id, "minted" if quote.issued else "expired")
            return 0

    async def wait(self, quote_id: str, progress: Callable[[str], None]) -> int:
        """Wait until an invoice is paid and minted; what came of it. Raises RequestError and MintError."""
        asked = told = self._kit.clock_ms()
        while True:
            found = await self._kit.database.read(lambda c: invoice.by_quote(c, quote_id))
            if found is None:
                raise RequestError("the wallet has no such invoice")
            if found.state == "minted":
                return found.amount
            minted = await self.collect(found)
            if minted:
                return minted
            now = self._kit.clock_ms()
            if found.state == "expired" or (found.expires is not None and now // 1000 > found.expires):
                raise RequestError("the invoice has expired", hint="hashpool wallet mint makes another one")
            if now - told >= _TELL_MS:
                told = now
                progress(f"waiting for the payment, {(now - asked) // 1000} s by now")
            await asyncio.sleep(_AWAIT_S)

    async def collect_all(self) -> int:
        """Mint the newest invoices that have been paid; how much came of them. Raises MintError."""
        return sum([await self.collect(found) for found in await self._kit.database.read(invoice.waiting)])

    async def run(self) -> None:
        """Mint for ever what is paid; asks only while an invoice is out."""
        while True:
            self._wake.clear()
            pause = _LOOK_S
            try:
                await self.collect_all()
                waiting = await self._kit.database.read(invoice.waiting)
                now = self._kit.clock_ms() // 1000
                if not waiting:
                    pause = _ASLEEP_S
                elif all(found.expires is not None and found.expires < now for found in waiting):
                    pause = _LATE_LOOK_S
            except (MintError, StorageError) as error:
                log.warning("invoices wait: %s", error)
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _mint(self, found: Invoice, quote_id: str, amount: int) -> int:
        keyset = await self._kit.keysets.active(found.unit)
        kept = await self._kit.database.write(
            partial(self._keep, found=found, quote_id=quote_id, keyset=keyset, amount=amount)
        )
        crash.at("wallet.exchange-stored")
        try:
            return (await self._exchanger.carry_out(kept)).received
        except MintRefused as refusal:
            if refusal.code in _GONE:
                log.warning("invoice %d has been minted by somebody else of this seed", found.number)
                await self._end(quote_id, "minted")
            raise

    async def _end(self, quote_id: str, state: Literal["minted", "expired"]) -> None:
        now = self._kit.clock_ms()
        await self._kit.database.write(lambda c: invoice.settle(c, quote_id, state, now))

    def _keep(
        self, connection: Connection, *, found: Invoice, quote_id: str, keyset: Keyset, amount: int
    ) -> Exchange:
        kit = self._kit
        wanted = place(connection, keyset, denominations(amount, keyset.keys))
        outputs = [output.message for output in open_outputs(kit, keyset.keyset_id, wanted)]
        secret = kit.keyring.quote_secret(found.key_index)
        body = {
            "quote": quote_id,
            "outputs": [output.to_json() for output in outputs],
            "signature": quote_signature.sign(secret, quote_id, outputs, kit.entropy(32)).hex(),
        }
        order = Order(
            kind="mint",
            unit=keyset.unit,
            keyset_id=keyset.keyset_id,
            fee=0,
            outputs=wanted,
            plan={"quote": quote_id},
            path=INVOICE_PATH,
            body=orjson.dumps(body),
        )
        return exchange.keep(connection, order, kit.clock_ms())


def check_invoice(text: str, amount: int) -> None:
    """Raises MintDishonest for an invoice that cannot be read or is over another amount than asked for."""
    try:
        found = decode(text)
    except InvoiceError as error:
        raise MintDishonest(f"the mint's invoice cannot be read: {error}") from error
    if found.amount_msat != amount * MSAT:
        raise MintDishonest("the mint's invoice is over another amount than it was asked for")


def _answered(connection: Connection, number: int, quote_id: str, text: str, expires: int | None) -> Invoice:
    invoice.answer(connection, number, quote_id, text, expires)
    found = invoice.by_quote(connection, quote_id)
    assert found is not None
    return found
