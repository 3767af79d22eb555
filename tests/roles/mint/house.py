"""A mint on a store of its own with a clock that stands, an issuer that feeds it, and a small wallet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256, sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.cashu import bdhke, quote_signature
from protocols.cashu.denominations import split
from protocols.cashu.models import BlindedMessage, BlindSignature, Proof
from protocols.ehash.messages import CreditResults, CreditRow, Credits
from protocols.ehash.shift import ShiftRule, Unit
from roles.mint import keyset_rows, ledger_rows
from roles.mint.credit_book import MintCreditBook
from roles.mint.halts import Halts
from roles.mint.keysets import KeysetBook
from roles.mint.meters import Meters
from roles.mint.notice_board import NoticeBoard
from roles.mint.quote import Quote
from roles.mint.request import Sizes
from roles.mint.schema import MIGRATIONS
from roles.mint.seed import MintSeed
from roles.mint.signatory import Signatory
from roles.mint.teller import Teller
from roles.runtime.storage import Database, Server

ISSUER = public_key(b"\x11" * 32)
OTHER_ISSUER = public_key(b"\x12" * 32)
STORE = b"\x22" * 16
MINER = b"\x33" * 32
"""The secret of the miner whose key locks the quotes."""
NOW = 1_800_000_000
LONG_SHIFTS = ShiftRule(block_hashes=1 << 90)
"""A shift takes more work than a test has."""


@dataclass
class Clock:
    """Stands until it is moved; Unix seconds."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Basket:
    """Outputs with what unblinds their signatures."""

    outputs: list[BlindedMessage]
    secrets: list[str]
    blindings: list[bytes]

    def open(self, signatures: Sequence[BlindSignature], book: KeysetBook) -> list[Proof]:
        """The tokens."""
        return [
            Proof(
                signature.amount,
                signature.keyset_id,
                secret,
                bdhke.unblind(
                    signature.signature, blinding, book.get(signature.keyset_id).key(signature.amount).public
                ),
            )
            for signature, secret, blinding in zip(signatures, self.secrets, self.blindings, strict=True)
        ]


def mine(amount: int, *, nonce: int = 0, time: int = NOW * 1000, key: bytes | None = None) -> CreditRow:
    """A row whose header proves `amount` hashes, with a minimum of 0 bits."""
    target = from_work(amount)
    while True:
        header = nonce.to_bytes(8, "big") * 10
        if int.from_bytes(sha256d(header), "little") <= target:
            return CreditRow(header, target, time, 0, public_key(MINER) if key is None else key)
        nonce += 1 << 32


@dataclass
class House:
    """A running mint without its network."""

    database: Database
    seed: MintSeed
    book: KeysetBook
    signatory: Signatory
    clock: Clock
    registry: CollectorRegistry
    bounds: dict[bytes, int | None]
    sizes: Sizes = field(default_factory=Sizes)
    rule: ShiftRule = LONG_SHIFTS
    seq: int = 1
    nonce: int = 0
    counter: int = 0

    def __post_init__(self) -> None:
        self.meters = Meters(self.registry)
        self.board = NoticeBoard()
        self.credits = MintCreditBook(
            self.database,
            self.seed,
            self.signatory,
            self.meters,
            self.bounds,
            book=self.book,
            rule=self.rule,
            clock=self.clock,
            board=self.board,
        )
        self.teller = self.open_teller()

    def open_teller(self, *, public_share_lookup: bool = False, halts: Halts | None = None) -> Teller:
        return Teller(
            self.database,
            self.book,
            self.seed,
            self.signatory,
            self.meters,
            clock=self.clock,
            sizes=self.sizes,
            public_share_lookup=public_share_lookup,
            halts=halts,
            board=self.board,
        )

    @property
    def unit(self) -> str:
        return Unit(ISSUER, 0).name

    @property
    def keyset_id(self) -> str:
        return next(keyset.keyset_id for keyset in self.book if keyset.unit == self.unit)

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"hashpool_mint_{name}", labels) or 0.0

    # The issuer.

    def row(self, amount: int = 1, key: bytes | None = None, time: int | None = None) -> CreditRow:
        self.nonce += 1
        return mine(amount, nonce=self.nonce, key=key, time=NOW * 1000 if time is None else time)

    def frame(self, rows: Sequence[CreditRow], first_seq: int | None = None, shift: int = 0) -> Credits:
        return Credits(self.seq if first_seq is None else first_seq, shift, 0, 0, tuple(rows))

    async def settle(self, frame: Credits, issuer: bytes = ISSUER, store: bytes = STORE) -> CreditResults:
        await self.credits.open_ledger(issuer, store, 1 << 40)
        results = await self.credits.settle(issuer, store, frame)
        if (issuer, store) == (ISSUER, STORE):
            self.seq = results.up_to_seq + 1
        return results

    async def credit(self, *amounts: int, key: bytes | None = None) -> list[Quote]:
        """Quotes of these amounts, paid, locked to `key`."""
        rows = [self.row(amount, key) for amount in amounts]
        results = await self.settle(self.frame(rows))
        assert not results.results
        hashes = [sha256d(row.header) for row in rows]
        ids = await self.open_teller(public_share_lookup=True).look_up_shares(hashes, None)
        return [await self.teller.quote(ids[share_hash]) for share_hash in hashes]

    # The wallet.

    def basket(self, *amounts: int, secrets: Sequence[str] = ()) -> Basket:
        """Fresh outputs of these amounts."""
        basket = Basket([], [], [])
        for index, amount in enumerate(amounts):
            self.counter += 1
            secret = secrets[index] if secrets else sha256(b"s%d" % self.counter).hex()
            blinding = sha256(b"r%d" % self.counter)
            message = BlindedMessage(amount, self.keyset_id, bdhke.blind(secret, blinding))
            basket.outputs.append(message)
            basket.secrets.append(secret)
            basket.blindings.append(blinding)
        return basket

    def claim(self, quote: Quote, basket: Basket, secret: bytes = MINER) -> dict[str, object]:
        """The body that mints a quote."""
        signature = quote_signature.sign(secret, quote.quote_id, basket.outputs, bytes(32))
        return {
            "quote": quote.quote_id,
            "outputs": [output.to_json() for output in basket.outputs],
            "signature": signature.hex(),
        }

    def batch(
        self, quotes: Sequence[Quote], basket: Basket, secret: bytes = MINER, **changes: object
    ) -> dict[str, Any]:
        """The body that mints several quotes."""
        signatures = [
            quote_signature.sign(secret, quote.quote_id, basket.outputs, bytes(32)).hex() for quote in quotes
        ]
        return {
            "quotes": [quote.quote_id for quote in quotes],
            "quote_amounts": [quote.amount for quote in quotes],
            "outputs": [output.to_json() for output in basket.outputs],
            "signatures": signatures,
        } | changes

    async def tokens(self, *amounts: int, secrets: Sequence[str] = ()) -> list[Proof]:
        """Tokens of exactly these amounts (powers of two)."""
        quotes = await self.credit(sum(amounts))
        basket = self.basket(*amounts, secrets=secrets)
        return basket.open(await self.teller.mint(self.claim(quotes[0], basket)), self.book)

    def swap(self, proofs: Sequence[Proof], basket: Basket | None = None) -> dict[str, object]:
        """The body that swaps tokens for fresh ones of the same sum."""
        fresh = basket or self.basket(*split(sum(proof.amount for proof in proofs)))
        return {
            "inputs": [proof.to_json() for proof in proofs],
            "outputs": [output.to_json() for output in fresh.outputs],
        }

    async def totals(self) -> tuple[int, int]:
        """Issued and redeemed of the first keyset."""
        found = await self.database.read(keyset_rows.totals)
        return next((issued, redeemed) for unit, issued, redeemed in found if unit == self.unit)


async def open_house(
    directory: Path, bounds: dict[bytes, int | None] | None = None, *, server: Server | None = None
) -> House:
    """Open the mint of a directory, as a restart would."""
    registry = CollectorRegistry()
    database = Database.open(server or directory / "mint.sqlite", MIGRATIONS, metrics=registry)
    seed = MintSeed(b"\x44" * 32)
    chosen: dict[bytes, int | None] = {ISSUER: None, OTHER_ISSUER: None} if bounds is None else bounds
    book = await database.read(lambda c: keyset_rows.load(c, seed))
    for keyset in await database.write(lambda c: ledger_rows.register(c, chosen, seed, book, NOW)):
        book.add(keyset)
    return House(database, seed, book, Signatory(), Clock(), registry, chosen)
