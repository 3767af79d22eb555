"""A ledger on a real file, and shares for it."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import MAX_TARGET
from protocols.ehash.amount import Valuation
from protocols.ehash.shift import ShiftRule
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry
from roles.credit.schema import BATCHES, LEDGER, SHIFTS
from roles.credit.shift_roll import Pricing
from roles.runtime.storage import Database

IDENTITY = public_key(bytes(31) + b"\x01")
KEY = public_key(bytes(31) + b"\x02")

EntryMaker = Callable[..., Entry]
LedgerOpener = Callable[..., Awaitable[Ledger]]


class Clock:
    """Unix seconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_entry() -> EntryMaker:
    def make(
        number: int,
        key: bytes | None = KEY,
        *,
        tip: int = 1,
        amount: int = 5,
        block: bool = False,
        target: int = MAX_TARGET,
    ) -> Entry:
        header = Header(2, bytes((tip,)) * 32, bytes(32), 1_700_000_000, 0x207FFFFF, number).pack()
        return Entry(sha256d(header), header, target, amount, key, block)

    return make


@pytest.fixture
async def open_ledger(tmp_path: Path, clock: Clock):  # type: ignore[no-untyped-def]
    """Open the ledger, again and again if asked; every store is closed at the end."""
    databases: list[Database] = []

    async def opener(
        identity: bytes = IDENTITY,
        pricing: Pricing = Pricing(8, Valuation.TARGET),  # noqa: B008
        rule: ShiftRule = ShiftRule(block_hashes=1 << 90),  # noqa: B008
    ) -> Ledger:
        for database in databases:
            database.close()
        databases.append(
            Database.open(
                tmp_path / "ledger.sqlite",
                [(1, "ledger", LEDGER), (2, "batches", BATCHES), (3, "shifts", SHIFTS)],
            )
        )
        return await Ledger.open(databases[-1], identity, pricing, rule=rule, clock=clock)

    yield opener
    for database in databases:
        database.close()
