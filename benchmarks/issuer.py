"""An issuer with a real ledger and real work, to make quotes at a mint by the issuance link."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final

from benchmarks.errors import CreditLost
from benchmarks.site import Site
from protocols.bitcoin.hashing import sha256, sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import MAX_TARGET, from_work, to_bits
from protocols.ehash.amount import Valuation
from protocols.ehash.errors import CreditCode
from protocols.ehash.shift import ShiftRule
from protocols.noise.authority import public_of
from roles.credit.acceptor import ISSUANCE_LIMITS
from roles.credit.issuer import Issuer
from roles.credit.issuer_key import issuer_secret
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry, LedgerRow
from roles.credit.schema import BATCHES, LEDGER, SHIFTS
from roles.credit.shift_roll import Pricing
from roles.runtime.authority import authority_secret
from roles.runtime.state import role_state
from roles.runtime.storage import Database
from roles.runtime.sv2_connection import Sv2Connection, connect

CONFIRM_S = 60.0
ONE_SHIFT: Final[dict[str, object]] = {"shared.regtest.block_difficulty": 1 << 60}
"""Settings of a mint whose issuer has no more than one shift."""


class Workshop:
    """Mines headers worth an exact amount in units of one hash."""

    def __init__(self, amount: int) -> None:
        self._amount = amount
        self._target = from_work(amount)
        self._roots = count()

    def entries(self, keys: Sequence[bytes]) -> list[Entry]:
        """One proven share for each key."""
        return [self._entry(key) for key in keys]

    def _entry(self, key: bytes) -> Entry:
        root = sha256(next(self._roots).to_bytes(8, "little"))
        head = Header(0x20000000, bytes(32), root, int(time.time()), to_bits(MAX_TARGET), 0).pack()[:-4]
        for nonce in count():
            header = head + nonce.to_bytes(4, "little")
            share_hash = sha256d(header)
            if int.from_bytes(share_hash, "little") <= self._target:
                return Entry(share_hash, header, self._target, self._amount, key, block=False)
        raise AssertionError("count ends never")


class LinkedIssuer:
    """A ledger whose rows go to the mint as they are appended."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._confirmed = 0
        self._refused: CreditCode | None = None
        self._moved = asyncio.Event()

    def confirmed(self, rows: Sequence[LedgerRow]) -> None:
        """The mint holds their quotes."""
        self._confirmed += len(rows)
        self._moved.set()

    def refused(self, row: LedgerRow, code: CreditCode) -> None:
        """Kept, and raised where rows are waited for."""
        del row
        self._refused = code
        self._moved.set()

    async def credit(self, entries: Sequence[Entry]) -> None:
        """Append shares and wait until the mint has a quote for each; raises CreditLost, TimeoutError."""
        wanted = self._confirmed + len(entries)
        await self._ledger.append(entries)
        async with asyncio.timeout(CONFIRM_S):
            while self._confirmed < wanted:
                if self._refused is not None:
                    raise CreditLost(f"the mint refuses a row: {self._refused.label}")
                self._moved.clear()
                await self._moved.wait()


@asynccontextmanager
async def linked_issuer(site: Site) -> AsyncIterator[LinkedIssuer]:
    """The pool's identity of a site, linked to the site's mint; its rows are in units of one hash."""
    secret = issuer_secret(role_state(site.state, "pool"))
    authority = public_of(authority_secret(role_state(site.state, "mint")))
    address = site.address("mint", "issuance_address")

    async def dial() -> Sv2Connection:
        return await connect(address, authority, limit=ISSUANCE_LIMITS)

    tables = [(1, "ledger", LEDGER), (2, "batches", BATCHES), (3, "shifts", SHIFTS)]
    async with Database.open(site.state / "issuer.sqlite", tables) as database:
        pricing = Pricing(0, Valuation.TARGET)
        ledger = await Ledger.open(database, public_key(secret), pricing, rule=ShiftRule(1 << 60))
        linked = LinkedIssuer(ledger)
        task = asyncio.create_task(Issuer(ledger, secret, authority, dial, listener=linked).run())
        try:
            yield linked
        finally:
            task.cancel()
            await asyncio.wait({task})
