"""Paying out: the mint pays a Lightning invoice for tokens, and gives back what was too much (NUT-05,
NUT-08).
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson

from protocols.cashu.keyset import Keyset
from protocols.lightning.errors import InvoiceError
from protocols.lightning.invoice import decode
from roles.runtime import crash
from roles.runtime.storage import Connection
from roles.wallet import exchange, purse, selection
from roles.wallet.errors import MintDishonest, MintRefused, MintUnreachable, MintWaitsError, RequestError
from roles.wallet.exchange import Exchange, Order
from roles.wallet.exchanging import Exchanger
from roles.wallet.kit import Kit
from roles.wallet.melting import FAILED
from roles.wallet.mint_client import BOLT11, MELT_PATH
from roles.wallet.sending import Sender, cover
from roles.wallet.swap import fees_ppk, open_outputs, place_blanks

UNIT = "sat"
MSAT = 1_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a payment costs: the amount, and at most so much for its way."""

    quote_id: str
    amount: int
    fee_reserve: int
    description: str | None


@dataclass(frozen=True, slots=True)
class Paid:
    """A payment that has arrived; `fee` is all that it cost beside the amount. The preimage proves it."""

    amount: int
    fee: int
    preimage: str | None = field(repr=False)


class PayingOut:
    """Has the mint pay invoices."""

    def __init__(self, kit: Kit, exchanger: Exchanger, sender: Sender) -> None:
        self._kit = kit
        self._exchanger = exchanger
        self._sender = sender

    async def price(self, text: str) -> Price:
        """Ask what paying an invoice costs; raises RequestError and MintError."""
        invoice = text.strip().lower().removeprefix("lightning:")
        try:
            found = decode(invoice)
        except InvoiceError as error:
            raise RequestError(f"this is no invoice that can be read: {error}") from error
        if found.amount_msat is None:
            raise RequestError("the invoice names no amount, and only those that do are paid")
        if found.expires_at < self._kit.clock_ms() // 1000:
            raise RequestError("the invoice has expired", hint="ask for another one")
        body = orjson.dumps({"request": invoice, "unit": UNIT})
        quote = await self._kit.mint.create_melt_quote(BOLT11, body)
        if quote.amount != -(-found.amount_msat // MSAT):
            raise MintDishonest("the mint asks another amount than the invoice names")
        return Price(quote.quote_id, quote.amount, quote.fee_reserve, found.description)

    async def pay(self, text: str, *, max_fee: int | None = None) -> Paid:
        """Pay an invoice, if its way needs no more than `max_fee` set aside.

        Raises RequestError, NotEnoughError, MintRefused when the payment has failed and nothing was spent,
        and MintWaitsError while it is under way.
        """
        price = await self.price(text)
        if max_fee is not None and price.fee_reserve > max_fee:
            raise RequestError(
                f"the mint wants to set {price.fee_reserve:,} sat aside for the way, {max_fee:,} are allowed",
                hint="allow more by --max-fee; what is not needed comes back",
            )
        keyset = await self._kit.keysets.active(UNIT)
        await self._sender.make_room(price.amount + price.fee_reserve, UNIT)
        kept = await self._kit.database.write(partial(self._keep, price=price, keyset=keyset))
        crash.at("wallet.exchange-stored")
        try:
            settled = await self._exchanger.carry_out(kept)
        except MintUnreachable as error:
            raise MintWaitsError(
                f"{error}; the payment is under way", hint="hashpool wallet history shows it when it is done"
            ) from error
        except MintRefused as refusal:
            if refusal.code == FAILED:
                raise RequestError(f"the payment failed, nothing was spent: {refusal.detail}") from refusal
            raise
        return Paid(price.amount, settled.fee, settled.preimage)

    def _keep(self, connection: Connection, *, price: Price, keyset: Keyset) -> Exchange:
        kit, wanted = self._kit, price.amount + price.fee_reserve
        chosen = cover(wanted, UNIT, connection)
        fee = selection.fee_of(chosen, fees_ppk(connection, UNIT))
        most = sum(coin.amount for coin in chosen) - fee - price.amount
        blanks = place_blanks(connection, keyset, most.bit_length())
        ys = [coin.y for coin in chosen]
        body: dict[str, Any] = {
            "quote": price.quote_id,
            "inputs": [held.proof.as_input().to_json() for held in purse.by_ys(connection, ys)],
        }
        if blanks:
            outputs = open_outputs(kit, keyset.keyset_id, blanks)
            body["outputs"] = [output.message.to_json() for output in outputs]
        order = Order(
            kind="melt",
            unit=UNIT,
            keyset_id=keyset.keyset_id,
            fee=fee,
            outputs=blanks,
            plan={"quote": price.quote_id, "amount": price.amount, "memo": price.description},
            path=MELT_PATH,
            body=orjson.dumps(body),
        )
        kept = exchange.keep(connection, order, kit.clock_ms())
        purse.hold(connection, ys, kept.exchange_id)
        return kept
