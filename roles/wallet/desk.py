"""What a person can ask of an open wallet, in JSON's types: by the command, over the socket, by the API.

An order is an object whose `order` names it; each answer is an object. Raises WalletError with a hint for
everything that a person can mend.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from protocols.cashu.errors import CashuError
from protocols.cashu.lock import Lock
from protocols.cashu.payment import PaymentRequest
from protocols.ehash.errors import KeyTextError
from protocols.ehash.key_text import decode_key
from protocols.ehash.shift import is_ehash
from roles.runtime.storage import Connection
from roles.wallet import invoice, purse, requesting
from roles.wallet.amount import EHASH, SAT, parse_amount, parse_unit_name
from roles.wallet.errors import MintError, MintUnreachable, MintWaitsError, RequestError
from roles.wallet.handout import Handout
from roles.wallet.locking import Draw, drawing
from roles.wallet.mint_api import INVOICE_LIMIT, QUOTE_ID_LIMIT
from roles.wallet.wallet import Wallet

Tell = Callable[[str], None]
Order = Mapping[str, Any]

MEMO_LIMIT: Final = 200
KEYS_LIMIT: Final = 10
_PAUSE_LIMIT_S: Final = 86_400.0


class Desk:
    """Carries out orders on one wallet; `tell` hears of progress in words."""

    def __init__(self, wallet: Wallet) -> None:
        self._wallet = wallet
        self._orders: dict[str, Callable[[Order, Tell], Awaitable[dict[str, Any]]]] = {
            "send": self._send,
            "receive": self._receive,
            "sent": self._sent,
            "consolidate": self._consolidate,
            "request": self._request,
            "invoice": self._invoice,
            "await": self._await,
            "collect": self._collect,
            "price": self._price,
            "melt": self._melt,
        }

    async def do(self, order: Order, tell: Tell = lambda _: None) -> dict[str, Any]:
        """Carry out an order; raises WalletError."""
        name = order.get("order")
        act = self._orders.get(name) if isinstance(name, str) else None
        if act is None:
            raise RequestError(
                "the wallet does not know this order", hint=f"it knows {', '.join(self._orders)}"
            )
        if name != "collect":
            await self._settle(tell)
        return await act(order, tell)

    async def _settle(self, tell: Tell) -> None:
        """What a former life left open comes first, as far as the mint answers."""
        try:
            await self._wallet.exchanger.settle_open()
            if minted := await self._wallet.paying_in.collect_all():
                tell(f"{minted:,} sat of invoices that were paid meanwhile")
        except MintError as error:
            tell(f"earlier requests wait: {error}")

    async def _send(self, order: Order, _: Tell) -> dict[str, Any]:
        text = order.get("request")
        if text is not None:
            return await self._pay(requesting.read(str(text), self._wallet.kit.mint.url), order)
        amount = parse_amount(order.get("amount"))
        unit = parse_unit_name(order.get("unit") or EHASH)
        draw = read_lock(order, self._wallet.kit.entropy)
        return await self._make(amount, unit, _text(order, "memo", MEMO_LIMIT), draw)

    async def _pay(self, request: PaymentRequest, order: Order) -> dict[str, Any]:
        """Make what was asked for, and hand it over where the request says how."""
        if request.amount is None and order.get("amount") is None:
            raise RequestError("the request leaves the amount open", hint="name it before --request")
        amount = parse_amount(order.get("amount") if request.amount is None else request.amount)
        memo = _text(order, "memo", MEMO_LIMIT)
        unit = parse_unit_name(request.unit or order.get("unit") or EHASH)
        entropy, lock = self._wallet.kit.entropy, request.lock
        draw = None if lock is None else requesting.drawing(lock, entropy)
        made = await self._make(amount, unit, memo, draw)
        handed = [
            await requesting.hand_over(request, requesting.payload(request, token["token"], memo))
            for token in made["tokens"]
        ]
        return {**made, "handed_over": all(handed), "description": request.description}

    async def _request(self, order: Order, _: Tell) -> dict[str, Any]:
        amount = None if order.get("amount") is None else parse_amount(order["amount"])
        unit = parse_unit_name(order.get("unit") or SAT)
        if unit == EHASH:
            unit = await self._wallet.kit.keysets.newest_ehash()
        name = _text(order, "lock", MEMO_LIMIT)
        key = None if name is None else (await self._wallet.key_for(name)).public_key
        memo = _text(order, "memo", MEMO_LIMIT)
        asked = await requesting.ask(self._wallet.kit, amount, unit, memo=memo, key=key)
        return {
            "id": asked.payment_id,
            "unit": asked.unit,
            "amount": amount,
            "request": asked.cbor,
            "request_bech32m": asked.tlv,
        }

    async def _make(self, amount: int, unit: str, memo: str | None, draw: Draw | None) -> dict[str, Any]:
        try:
            sent = await self._wallet.sender.send(amount, unit, memo=memo, lock=draw)
        except MintUnreachable as error:
            raise MintWaitsError(
                f"{error}; what was begun goes on by itself",
                hint="hashpool wallet list --sent shows the token when it is made",
            ) from error
        return {
            "amount": sent.amount,
            "fee": sent.fee,
            "tokens": [describe(token) for token in sent.tokens],
            "balance": await self._balance(),
        }

    async def _receive(self, order: Order, _: Tell) -> dict[str, Any]:
        text = order.get("token")
        if not isinstance(text, str) or not text.strip():
            raise RequestError("there is no token", hint="a token begins with cashuA or cashuB")
        secret, preimage = _bytes(order, "secret"), _bytes(order, "preimage")
        received = await self._wallet.receiver.receive(text, secret=secret, preimage=preimage)
        return {**asdict(received), "balance": await self._balance()}

    async def _sent(self, order: Order, _: Tell) -> dict[str, Any]:
        limit = _number(order, "limit", 100, 10_000)
        return {"tokens": [describe(token) for token in await self._wallet.sender.look_after(limit)]}

    async def _consolidate(self, order: Order, tell: Tell) -> dict[str, Any]:
        unit = order.get("unit")
        pause = order.get("pause_s", 3.0)
        if isinstance(pause, bool) or not isinstance(pause, int | float) or not 0 <= pause <= _PAUSE_LIMIT_S:
            raise RequestError("a pause is a number of seconds, up to a day")
        done = await self._wallet.consolidation.consolidate(
            None if unit is None else parse_unit_name(unit),
            inputs=_number(order, "inputs", 50, 500, least=4),
            pause_s=float(pause),
            progress=tell,
        )
        return {**asdict(done), "balance": await self._balance()}

    async def _invoice(self, order: Order, _: Tell) -> dict[str, Any]:
        amount = parse_amount(order.get("amount"))
        memo = _text(order, "memo", MEMO_LIMIT)
        found = await self._wallet.paying_in.invoice(amount, parse_unit_name(order.get("unit") or SAT), memo)
        return {
            "quote": found.quote_id,
            "invoice": found.text,
            "amount": found.amount,
            "unit": found.unit,
            "expires": found.expires,
        }

    async def _collect(self, _: Order, tell: Tell) -> dict[str, Any]:
        """Mint what was paid meanwhile."""
        await self._wallet.exchanger.settle_open()
        minted = await self._wallet.paying_in.collect_all()
        waiting = await self._wallet.kit.database.read(invoice.waiting)
        if waiting:
            tell(f"{len(waiting):,} invoices are not paid yet")
        return {"minted": minted, "unit": SAT, "balance": await self._balance()}

    async def _await(self, order: Order, tell: Tell) -> dict[str, Any]:
        quote = _text(order, "quote", QUOTE_ID_LIMIT)
        if quote is None:
            raise RequestError("the quote is missing")
        minted = await self._wallet.paying_in.wait(quote, tell)
        return {"minted": minted, "balance": await self._balance()}

    async def _price(self, order: Order, _: Tell) -> dict[str, Any]:
        return asdict(await self._wallet.paying_out.price(_invoice_text(order)))

    async def _melt(self, order: Order, _: Tell) -> dict[str, Any]:
        most = None if order.get("max_fee") is None else _number(order, "max_fee", 0, 1 << 53)
        paid = await self._wallet.paying_out.pay(_invoice_text(order), max_fee=most)
        return {**asdict(paid), "balance": await self._balance()}

    async def _balance(self) -> dict[str, int]:
        return await self._wallet.kit.database.read(balance)


def balance(connection: Connection) -> dict[str, int]:
    """What is held: all ehash together, and every other unit."""
    sums: dict[str, int] = {EHASH: 0}
    for item in purse.balances(connection):
        unit = EHASH if is_ehash(item.unit) else item.unit
        sums[unit] = sums.get(unit, 0) + item.amount
    return sums


def describe(token: Handout) -> dict[str, Any]:
    """A token that was handed out, with its text while nobody has taken it."""
    return {
        "id": token.token_id,
        "unit": token.unit,
        "amount": token.amount,
        "state": token.state,
        "locked": token.is_locked,
        "memo": token.memo,
        "made": token.made_ms // 1000,
        "settled": None if token.settled_ms is None else token.settled_ms // 1000,
        "token": token.text,
    }


def read_lock(order: Order, entropy: Callable[[int], bytes]) -> Draw | None:
    """The lock that an order asks for: keys `to`, `signatures`, `locktime`, keys `refund`, a `hash`,
    `blinded`.
    """
    keys, refund = _keys(order, "to"), _keys(order, "refund")
    locktime = order.get("locktime")
    digest = _bytes(order, "hash")
    if not keys and digest is None:
        if refund or locktime is not None:
            raise RequestError(
                "refund keys and a locktime need a key to lock to", hint="name it with --to KEY"
            )
        return None
    if locktime is not None:
        locktime = _number(order, "locktime", 0, 1 << 37, least=1)
    lock = Lock(
        keys,
        _number(order, "signatures", 1, KEYS_LIMIT, least=1),
        locktime,
        refund,
        preimage_hash=digest,
    )
    blinded = order.get("blinded") is True
    try:
        draw = drawing(lock, entropy, blinded=blinded)
        draw(1)
    except CashuError as error:
        raise RequestError(f"no mint would ever open this lock: {error.detail}") from error
    return draw


def _invoice_text(order: Order) -> str:
    text = _text(order, "invoice", INVOICE_LIMIT)
    if text is None:
        raise RequestError("there is no invoice", hint="an invoice begins with lnbc or the like")
    return text


def _keys(order: Order, name: str) -> tuple[bytes, ...]:
    values = order.get(name) or []
    if not isinstance(values, list) or len(values) > KEYS_LIMIT:
        raise RequestError(f"{name} is a list of at most {KEYS_LIMIT} keys")
    try:
        return tuple(decode_key(str(value).strip()) for value in values)
    except KeyTextError as error:
        raise RequestError(
            f"{name}: {error}", hint="hashpool wallet key shows a key of a wallet; 66 hex digits are one, too"
        ) from error


def _bytes(order: Order, name: str) -> bytes | None:
    value = order.get(name)
    if value is None:
        return None
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise RequestError(f"{name} is not 64 hex digits")
    return raw


def _text(order: Order, name: str, limit: int) -> str | None:
    value = order.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > limit or not value.isprintable():
        raise RequestError(f"{name} is a line of at most {limit} characters")
    return value


def _number(order: Order, name: str, default: int, most: int, *, least: int = 0) -> int:
    value = order.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RequestError(f"{name} is a whole number from {least:,} to {most:,}")
    return value
