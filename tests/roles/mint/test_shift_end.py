"""The compacted quotes of a shift go when its window has passed, and a share of it is bad work then."""

import asyncio
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from protocols.bitcoin.hashing import sha256d
from protocols.cashu.errors import QuoteUnknownError
from protocols.ehash.errors import CreditCode
from protocols.ehash.messages import CreditResult, CreditResults, CreditRow, Credits
from protocols.ehash.shift import METHOD, ShiftRule
from roles.cli.auditing.findings import Findings
from roles.cli.auditing.sides import audit_mint
from roles.cli.stores import MintStore
from roles.mint import archive
from roles.mint.compaction import Window
from roles.mint.compactor import GRACE_S, Compactor
from roles.mint.halts import Halts
from roles.mint.quote import Quote
from roles.mint.stride import Stride
from roles.mint.watchdog import Watchdog
from roles.runtime.storage import Connection
from shared_config.mint import WatchdogSettings
from tests.roles.mint.house import NOW, OTHER_ISSUER, House

DAY = 86_400


class Passing:
    """A house with shifts of a share each, which are compacted after a day and end after a week."""

    def __init__(self, house: House, shifts: int = 2) -> None:
        house.credits._rule = ShiftRule(block_hashes=1)
        self.house = house
        self.rows: list[CreditRow] = []
        self.quotes: list[Quote] = []
        self.compactor = Compactor(
            house.database,
            CollectorRegistry(),
            after_s=DAY,
            window=Window(7 * DAY, shifts),
            clock=house.clock,
        )

    async def shift(self, *, days: int = 0, mint: bool = True, row: CreditRow | None = None) -> Quote:
        """The next shift, so many days later, and its one share."""
        house = self.house
        house.clock.now += days * DAY
        made = row or house.row(4, time=int(house.clock.now * 1000))
        results = await house.settle(Credits(house.seq, len(self.rows), 0, 0, (made,)))
        assert not results.results
        self.rows.append(made)
        share_hash = sha256d(made.header)
        ids = await house.open_teller(public_share_lookup=True).look_up_shares([share_hash], None)
        self.quotes.append(await house.teller.quote(ids[share_hash], METHOD))
        if mint:
            await self.mint(self.quotes[-1])
        return self.quotes[-1]

    async def mint(self, quote: Quote) -> None:
        house = self.house
        keyset = next(each for each in house.book if each.unit == quote.unit)
        basket = house.basket(4)
        basket.outputs[:] = [replace(output, keyset_id=keyset.keyset_id) for output in basket.outputs]
        await house.teller.mint(house.claim(quote, basket), METHOD)

    async def work(self) -> int:
        """Do all there is; gives how many shifts ended."""
        ended = 0
        while await self.compactor.step():
            pass
        while await self.compactor.end():
            ended += 1
        while await self.compactor.empty():
            pass
        return ended

    async def tables(self) -> list[str]:
        """The archives that are there."""

        def ask(connection: Connection) -> list[str]:
            rows = connection.execute(
                "SELECT archive_no FROM archive WHERE emptied = 0 ORDER BY archive_no"
            ).fetchall()
            return [f"archive_{row['archive_no']}" for row in rows]

        return await self.house.database.read(ask)

    async def audit(self) -> Findings:
        findings = Findings()
        await self.house.database.read(lambda c: audit_mint(MintStore(c), findings))
        assert findings.ok, findings.examples
        halts = Halts(self.house.database, self.house.clock)
        watchdog = Watchdog(
            self.house.database, halts, WatchdogSettings(), CollectorRegistry(), lambda *_: None
        )
        assert not await watchdog.recount(duty=1.0)
        return findings


@pytest.fixture
def passing(house: House) -> Passing:
    return Passing(house)


async def test_a_shift_ends_when_its_window_and_enough_later_shifts_have_passed(passing: Passing) -> None:
    first = await passing.shift()
    await passing.shift(days=1)
    await passing.shift(days=6)
    assert await passing.work() == 0
    await passing.shift(days=1)
    assert await passing.work() == 1
    with pytest.raises(QuoteUnknownError):
        await passing.house.teller.quote(first.quote_id, METHOD)
    assert (await passing.house.teller.quote(passing.quotes[1].quote_id, METHOD)).state == "ISSUED"
    findings = await passing.audit()
    assert findings.counts["quotes of shifts that have ended"] == 1


async def test_time_is_that_of_the_issuers_own_rows(passing: Passing) -> None:
    for _ in range(4):
        await passing.shift()
    # The mint, or its pool, was away: rows of the same days are still to come.
    passing.house.clock.now += 100 * DAY
    assert await passing.work() == 0
    late = passing.house.row(4, time=NOW * 1000)
    await passing.shift(row=late)
    assert await passing.work() == 0
    await passing.shift()
    assert await passing.work() >= 1


async def test_a_share_of_an_ended_shift_is_bad_work_whoever_brings_it(passing: Passing) -> None:
    await passing.shift()
    await passing.shift(days=1)
    house = passing.house
    row = passing.rows[0]
    for days in (4, 4):
        await passing.shift(days=days)
    assert await house.settle(Credits(1, 0, 0, 0, (row,))) == CreditResults(1, ())
    house.seq = 5
    assert await passing.work() == 1
    bad = (CreditResult(1, CreditCode.BAD_WORK),)
    assert (await house.settle(Credits(1, 0, 0, 0, (row,)))).results == bad
    elsewhere = await house.settle(Credits(1, 0, 0, 0, (row,)), issuer=OTHER_ISSUER)
    assert elsewhere.results == bad
    # The same work under another number of the same ledger.
    again = replace(row, time=int(house.clock.now * 1000))
    assert (await house.settle(Credits(5, 4, 0, 0, (again,)))).results == (
        CreditResult(5, CreditCode.BAD_WORK),
    )
    await passing.audit()


async def test_what_was_not_minted_outlives_its_shift(passing: Passing) -> None:
    quote = await passing.shift(mint=False)
    for days in (1, 4, 4):
        await passing.shift(days=days)
    passing.house.seq = 5
    # Nothing was compacted but the row.
    assert await passing.work() == 1
    assert (await passing.house.teller.quote(quote.quote_id, METHOD)).state == "PAID"
    assert await passing.house.settle(Credits(1, 0, 0, 0, (passing.rows[0],))) == CreditResults(1, ())
    await passing.audit()
    await passing.mint(quote)
    assert await passing.compactor.step() == 1
    with pytest.raises(QuoteUnknownError):
        await passing.house.teller.quote(quote.quote_id, METHOD)
    await passing.audit()


async def test_a_shift_on_whose_block_somebody_still_builds_does_not_end(passing: Passing) -> None:
    await passing.shift()
    for days in (1, 4):
        await passing.shift(days=days)
    head = passing.rows[0].header
    present = passing.house.row(4, time=int((passing.house.clock.now + 4 * DAY) * 1000))
    on_old_block = replace(present, header=present.header[:4] + head[4:36] + present.header[36:])
    nonce = 0
    while int.from_bytes(sha256d(on_old_block.header), "little") > on_old_block.target:
        nonce += 1
        on_old_block = replace(on_old_block, header=on_old_block.header[:76] + nonce.to_bytes(4, "big"))
    await passing.shift(days=4, row=on_old_block)
    assert await passing.work() == 0
    await passing.shift()
    assert await passing.work() == 1


async def test_the_table_goes_after_a_while_part_by_part(passing: Passing) -> None:
    for days in (0, 1, 4, 4):
        await passing.shift(days=days)
    assert await passing.work() == 1
    assert await passing.tables() == ["archive_1", "archive_2"]
    passing.house.clock.now += GRACE_S + 1
    passing.compactor._emptied = Stride(1)
    assert await passing.work() == 0
    assert await passing.tables() == ["archive_2"]
    with pytest.raises(Exception, match="archive_1"):
        await passing.house.database.read(lambda c: c.execute("SELECT * FROM archive_1").fetchall())
    await passing.audit()


async def test_an_era_goes_with_the_last_of_its_shifts(
    passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ERA", 2)
    for days in (0, 1, 4, 4, 4, 4):
        await passing.shift(days=days)
    ended = await passing.work()
    passing.house.clock.now += GRACE_S + 1
    await passing.work()
    eras = await passing.house.database.read(
        lambda c: [tuple(row) for row in c.execute("SELECT era, emptied FROM archive_era ORDER BY era")]
    )
    assert ended == 3
    assert eras == [(1, 1), (2, 0)]
    assert (await passing.house.teller.quote(passing.quotes[3].quote_id, METHOD)).state == "ISSUED"
    await passing.audit()


async def test_nothing_ends_where_the_window_is_for_ever(house: House) -> None:
    passing = Passing(house)
    passing.compactor = Compactor(
        house.database, CollectorRegistry(), after_s=DAY, window=Window(0, 1), clock=house.clock
    )
    for days in (0, 1, 400, 400):
        await passing.shift(days=days)
    assert await passing.work() == 0


async def test_ids_of_which_two_have_the_same_mark_are_told_apart(
    passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_mark", lambda name: bytes(8))
    for days in (0, 0, 2):
        await passing.shift(days=days)
    await passing.work()
    for quote in passing.quotes[:2]:
        found = await passing.house.teller.quote(quote.quote_id, METHOD)
        assert (found.quote_id, found.unit) == (quote.quote_id, quote.unit)


async def test_two_processes_compact_each_row_once(passing: Passing) -> None:
    for days in (0, 0, 0, 2):
        await passing.shift(days=days)
    await asyncio.gather(*(passing.compactor.step() for _ in range(8)))
    await passing.work()
    await passing.audit()
