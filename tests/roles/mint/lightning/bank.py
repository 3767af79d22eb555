"""A mint that has sats, beside a fake Lightning node whose invoices are paid when a test says so."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256
from protocols.cashu import bdhke, quote_signature
from protocols.cashu.curve import secret_point
from protocols.cashu.denominations import split
from protocols.cashu.models import BlindedMessage, Proof
from protocols.lightning.invoice import Invoice, decode, encode
from roles.mint.halts import Halts
from roles.mint.lightning.fake import FakeBackend
from roles.mint.lightning.method import METHOD, Bolt11Method
from roles.mint.lightning.service import Lightning, add_keyset
from roles.mint.lightning.stale_quotes import StaleQuotes
from roles.mint.lightning.till import Till
from roles.mint.lightning.timed import TimedBackend
from roles.mint.lightning.watch import NodeWatch
from roles.mint.melting.cashier import Cashier
from roles.mint.melting.desk import MeltDesk
from roles.mint.melting.quote import MeltQuote
from roles.mint.melting.resolution import Resolution
from roles.mint.method import EhashMethod
from roles.mint.quote import Quote
from roles.mint.teller import Teller
from roles.runtime.storage import Connection
from shared_config.bolt11 import Bolt11Settings, FakeLightning
from tests.roles.mint.house import NOW, Basket, House

NODE = b"\x66" * 32
STRANGER = b"\x67" * 32
"""The secret of a node that others run."""
GRACE_S = 70.0
MANUAL = FakeLightning(self_paying=False)


@dataclass
class Bank:
    """A house with sats."""

    house: House
    node: FakeBackend
    lightning: Lightning
    teller: Teller
    halts: Halts
    settings: Bolt11Settings
    metrics: CollectorRegistry
    counter: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def keyset_id(self) -> str:
        return next(k.keyset_id for k in self.house.book if k.unit == "sat" and k.active)

    def pay(self, quote: Quote) -> None:
        """Somebody pays the quote's invoice."""
        self.node.receive(decode(quote.request).payment_hash)

    async def quote(self, amount: int, **more: object) -> Quote:
        return await self.teller.create_quote({"amount": amount, "unit": "sat", **more}, METHOD)

    async def paid(self, amount: int, **more: object) -> Quote:
        quote = await self.quote(amount, **more)
        self.pay(quote)
        return await self.teller.quote(quote.quote_id, METHOD)

    def basket(self, *amounts: int) -> Basket:
        """Fresh outputs of sats."""
        basket = Basket([], [], [])
        for amount in amounts:
            number = next(self.counter)
            secret, blinding = sha256(b"sat%d" % number).hex(), sha256(b"blind%d" % number)
            basket.outputs.append(BlindedMessage(amount, self.keyset_id, bdhke.blind(secret, blinding)))
            basket.secrets.append(secret)
            basket.blindings.append(blinding)
        return basket

    def claim(self, quote: Quote, basket: Basket, secret: bytes | None = None) -> dict[str, object]:
        """The body that mints a quote."""
        body: dict[str, object] = {
            "quote": quote.quote_id,
            "outputs": [output.to_json() for output in basket.outputs],
        }
        if secret is not None:
            signature = quote_signature.sign(secret, quote.quote_id, basket.outputs, bytes(32))
            body["signature"] = signature.hex()
        return body

    async def tokens(self, *amounts: int) -> list[Proof]:
        """Sats as tokens of exactly these amounts."""
        quote = await self.paid(sum(amounts))
        basket = self.basket(*amounts)
        return basket.open(await self.teller.mint(self.claim(quote, basket), METHOD), self.house.book)

    async def change(self, amount: int) -> list[Proof]:
        """Sats as few tokens."""
        return await self.tokens(*split(amount))

    @property
    def desk(self) -> MeltDesk:
        return self.lightning.desk

    async def melt_quote(self, request: str, **more: object) -> MeltQuote:
        return await self.desk.create({"request": request, "unit": "sat", **more})

    def melt(
        self, quote: MeltQuote, proofs: Sequence[Proof], basket: Basket | None = None
    ) -> dict[str, object]:
        """The body that melts."""
        body: dict[str, object] = {"quote": quote.quote_id, "inputs": [proof.to_json() for proof in proofs]}
        if basket is not None:
            body["outputs"] = [output.to_json() for output in basket.outputs]
        return body

    async def states(self, proofs: Sequence[Proof]) -> list[object]:
        points = [secret_point(proof.secret) for proof in proofs]
        return [state.to_json()["state"] for state in await self.teller.proof_states(points)]

    async def totals(self) -> tuple[int, int]:
        """Issued and redeemed of the sat keysets."""

        def read(connection: Connection) -> tuple[int, int]:
            row = connection.execute(
                "SELECT sum(issued) AS issued, sum(redeemed) AS redeemed FROM keyset WHERE unit = 'sat'"
            ).fetchone()
            return row["issued"], row["redeemed"]

        return await self.house.database.read(read)


def foreign_invoice(
    amount_msat: int | None, description: str = "", number: int = 1, secret: bytes = STRANGER
) -> str:
    """An invoice of another node."""
    payment_hash = sha256(b"preimage%d" % number)
    return encode(Invoice("bc", amount_msat, NOW, payment_hash, description=description), secret)


async def open_bank(house: House, directory: Path, fake: FakeLightning = MANUAL, **settings: object) -> Bank:
    """Give a house sats; what wallets are told is in the store before, unless `count_after_s` is given."""
    chosen = Bolt11Settings.model_validate({"backend": "fake", "fake": fake, "count_after_s": 0} | settings)
    metrics = CollectorRegistry()
    entropy = itertools.count(1)
    node = FakeBackend(
        fake,
        NODE,
        directory / "fake.jsonl",
        clock=house.clock,
        entropy=lambda size: sha256(b"entropy%d" % next(entropy))[:size],
    )
    backend = TimedBackend(node, metrics, call_s=chosen.call_s, pay_s=chosen.pay_s)
    till = Till(
        house.database,
        backend,
        metrics,
        clock=house.clock,
        board=house.board,
        count_after_s=chosen.count_after_s,
    )
    halts = Halts(house.database, house.clock)
    method = Bolt11Method(
        chosen,
        house.database,
        backend,
        till,
        halts,
        clock=house.clock,
        entropy=lambda size: sha256(b"id%d" % next(entropy))[:size],
    )
    await add_keyset(house.database, house.seed, house.book, chosen, NOW)
    teller = Teller(
        house.database,
        house.book,
        house.seed,
        house.signatory,
        house.meters,
        clock=house.clock,
        sizes=house.sizes,
        halts=halts,
        methods=(EhashMethod(), method),
        board=house.board,
    )
    cashier = Cashier(
        house.database,
        backend,
        house.book,
        signatory=house.signatory,
        registry=metrics,
        board=house.board,
        clock=house.clock,
        grace_s=GRACE_S,
    )
    desk = MeltDesk(
        chosen,
        house.database,
        backend,
        cashier,
        till=till,
        book=house.book,
        signatory=house.signatory,
        halts=halts,
        clock=house.clock,
        entropy=lambda size: sha256(b"id%d" % next(entropy))[:size],
        sizes=house.sizes,
    )
    resolution = Resolution(house.database, backend, cashier, clock=house.clock, grace_s=GRACE_S)
    stale = StaleQuotes(house.database, metrics, clock=house.clock, forget_s=chosen.forget_s)
    watch = NodeWatch(backend, metrics, every_s=chosen.watch_s)
    lightning = Lightning(backend, till, method, cashier, desk, resolution, stale, watch)
    return Bank(house, node, lightning, teller, halts, chosen, metrics)


def amounts(proofs: Sequence[Proof]) -> int:
    """What tokens are worth."""
    return sum(proof.amount for proof in proofs)
