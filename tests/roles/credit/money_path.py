"""Pool and mint in one process, from the ledger to the tokens, with everything between them that can break.

Both keep their real stores; the link between them is real but for the socket. What a process has in memory
goes with it when it is killed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256, sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work, meets
from protocols.ehash.amount import Valuation, share_amount
from protocols.ehash.errors import CreditCode
from protocols.ehash.shift import ShiftRule
from protocols.sv2.errors import Sv2Error
from roles.credit.acceptor import Acceptor
from roles.credit.issuer import Issuer, IssuerTiming
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry, LedgerRow
from roles.credit.shift_roll import Pricing
from roles.mint import keyset_rows, ledger_rows
from roles.mint import schema as mint_schema
from roles.mint.credit_book import MintCreditBook
from roles.mint.keysets import KeysetBook, MintKeyset
from roles.mint.meters import Meters
from roles.mint.request import Sizes
from roles.mint.seed import MintSeed
from roles.mint.signatory import Signatory
from roles.mint.teller import Teller
from roles.pool import schema as pool_schema
from roles.runtime.backoff import Backoff
from roles.runtime.errors import CommitFailed, ConnectFailed, ConnectionLost
from roles.runtime.storage import Database, open_readonly
from tests.roles.credit.broken_disk import Faults, open_broken
from tests.roles.credit.memory_link import End

MINIMUM = 2
RULE = ShiftRule(block_hashes=700)
"""A shift is full after 70 hashes: after one large share, or about a dozen small ones."""
ISSUER_SECRET = b"\x11" * 32
ISSUER = public_key(ISSUER_SECRET)
AUTHORITY = public_key(b"\x12" * 32)[1:]
SEED = MintSeed(b"\x44" * 32)
START = 1_800_000_000.0


@dataclass
class Clock:
    """Unix seconds; may be set to anything."""

    now: float = START

    def __call__(self) -> float:
        return self.now


@lru_cache(maxsize=4096)
def share(number: int, hashes: int) -> tuple[bytes, bytes, int]:
    """Header, hash and target of the share of this number that takes so many hashes."""
    target = from_work(hashes)
    nonce = 0
    while True:
        root = sha256(number.to_bytes(4, "big"))
        header = Header(2, bytes((number % 7,)) * 32, root, 1_700_000_000, 0x207FFFFF, nonce).pack()
        if meets(sha256d(header), target):
            return header, sha256d(header), target
        nonce += 1


def entry(number: int, hashes: int, key: bytes | None) -> Entry:
    """The same as the pool enters it."""
    header, share_hash, target = share(number, hashes)
    amount = share_amount(share_hash, target, MINIMUM, Valuation.TARGET)
    return Entry(share_hash, header, target, amount, key, block=False)


class Listener:
    """Looks into the mint's store whenever the issuer is told of rows: an answer comes after the commit."""

    def __init__(self, store: Path, *, looks: bool) -> None:
        self.refused_rows: set[int] = set()
        self._store = store
        self._looks = looks

    def confirmed(self, rows: Sequence[LedgerRow]) -> None:
        if not self._looks:
            return
        with open_readonly(self._store) as connection:
            for row in rows:
                query = "SELECT seq FROM quote WHERE share_hash = ? AND pubkey = ?"
                assert connection.execute(query, (row.share_hash, row.key)).fetchone()[0] == row.seq

    def refused(self, row: LedgerRow, code: CreditCode) -> None:
        self.refused_rows.add(row.seq)


class Pool:
    """The pool's process: a ledger and its issuer."""

    def __init__(self, world: "World", ledger: Ledger, database: Database) -> None:
        self.ledger = ledger
        self.database = database
        self.listener = Listener(world.directory / "mint/mint.sqlite", looks=world.is_honest)
        timing = IssuerTiming(hello=60, answer=60, hold_first=0.001, hold_limit=0.002)
        issuer = Issuer(
            ledger,
            ISSUER_SECRET,
            AUTHORITY,
            world.dial,
            listener=self.listener,
            timing=timing,
            backoff=Backoff(first_s=0.001, limit_s=0.002),
        )
        self.task = asyncio.ensure_future(issuer.run())

    def check(self) -> None:
        """Raise what has ended the issuer, which nothing should."""
        if self.task.done():
            self.task.result()

    async def kill(self) -> None:
        """End it; what the ledger has been given is committed or not."""
        self.check()
        await _end({self.task})
        await asyncio.to_thread(self.database.close)


class Mint:
    """The mint's process."""

    def __init__(self, world: "World", database: Database, book: KeysetBook) -> None:
        self.database = database
        self.book = book
        self.signatory = Signatory(1)
        meters = Meters(CollectorRegistry())
        bounds = {ISSUER: world.bound}
        credits_book = MintCreditBook(
            database, SEED, self.signatory, meters, bounds, book=book, rule=RULE, clock=world.mint_clock
        )
        self.acceptor = Acceptor(
            credits_book,
            bounds,
            authority=AUTHORITY,
            quote_key=public_key(SEED.quote_secret),
            mint_url="http://mint",
            window=world.window,
        )
        self.teller = Teller(
            database, book, SEED, self.signatory, meters, clock=world.mint_clock, sizes=Sizes()
        )
        self.tasks: set[asyncio.Task[None]] = set()
        self.faults: list[BaseException] = []

    def keyset_of(self, unit: str) -> MintKeyset:
        """The keyset of a shift."""
        (keyset,) = (keyset for keyset in self.book if keyset.unit == unit)
        return keyset

    def serve(self, end: End) -> None:
        """Talk to an issuer until either is gone."""
        task = asyncio.ensure_future(self._serve(end))
        self.tasks.add(task)
        task.add_done_callback(self._served)

    async def _serve(self, end: End) -> None:
        try:
            await self.acceptor.serve(end)
        except (ConnectionLost, CommitFailed, Sv2Error):
            pass
        finally:
            end.close()

    def _served(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (fault := task.exception()):
            self.faults.append(fault)

    def check(self) -> None:
        """Raise what has ended a conversation, and should not."""
        if self.faults:
            raise self.faults[0]

    async def kill(self) -> None:
        """End it, with all that it does."""
        self.check()
        await _end(self.tasks)
        await asyncio.to_thread(self.database.close)
        self.signatory.close()


class World:
    """Everything; of the pool's questions and the mint's answers some vanish with their connection."""

    def __init__(self, directory: Path, *, bound: int | None, window: int) -> None:
        self.directory = directory
        self.bound = bound
        self.window = window
        self.pool_clock, self.mint_clock = Clock(), Clock()
        self.pool_faults, self.mint_faults = Faults(), Faults()
        self.lost_questions = self.lost_answers = 0
        self.is_honest = True
        """Whether what is heard on the link is what was said."""
        self.pool: Pool
        self.mint: Mint | None = None
        self.link: tuple[End, End] | None = None
        """The pool's end and the mint's end of the newest connection."""
        self._dials = 0

    async def start_pool(self) -> None:
        """Start the pool; its disk fails no sooner than it runs."""
        waiting = self.pool_faults.take()
        database = open_broken(
            self.directory / "pool/ledger.sqlite", pool_schema.MIGRATIONS, self.pool_faults
        )
        pricing = Pricing(MINIMUM, Valuation.TARGET)
        ledger = await Ledger.open(database, ISSUER, pricing, rule=RULE, clock=self.pool_clock)
        self.pool_faults.waiting = waiting
        self.pool = Pool(self, ledger, database)

    async def kill_pool(self) -> None:
        """The pool is gone, and the link with it."""
        self.cut()
        await self.pool.kill()

    async def start_mint(self) -> None:
        """Start the mint; its disk fails no sooner than it runs."""
        waiting = self.mint_faults.take()
        database = open_broken(self.directory / "mint/mint.sqlite", mint_schema.MIGRATIONS, self.mint_faults)
        book = await database.read(lambda c: keyset_rows.load(c, SEED))
        created = await database.write(lambda c: ledger_rows.register(c, [ISSUER], SEED, book, int(START)))
        for keyset in created:
            book.add(keyset)
        self.mint_faults.waiting = waiting
        self.mint = Mint(self, database, book)

    async def kill_mint(self) -> None:
        """The mint is gone, if it was there, and the link with it."""
        mint, self.mint = self.mint, None
        if mint is not None:
            self.cut()
            await mint.kill()

    async def dial(self) -> End:
        """A connection from the pool to the mint; raises ConnectFailed while there is none."""
        if self.mint is None:
            raise ConnectFailed("the mint is down", code="unreachable")
        self._dials += 1
        ours, theirs = End.pair(
            self._dials.to_bytes(32, "big"),
            first_passes=self._question_passes,
            second_passes=self._answer_passes,
        )
        self.mint.serve(theirs)
        self.link = ours, theirs
        return ours

    def cut(self) -> None:
        """The connection between pool and mint breaks."""
        if self.link is not None:
            self.link[0].close()

    def _question_passes(self) -> bool:
        self.lost_questions, was_lost = max(0, self.lost_questions - 1), self.lost_questions > 0
        return not was_lost

    def _answer_passes(self) -> bool:
        self.lost_answers, was_lost = max(0, self.lost_answers - 1), self.lost_answers > 0
        return not was_lost


async def _end(tasks: set[asyncio.Task[None]]) -> None:
    ending = tuple(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
