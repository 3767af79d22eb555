"""A keeper and its branches in one process: what they say to each other, and what comes of it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.secp256k1 import public_key
from protocols.bitcoin.target import from_work
from protocols.ehash.amount import Valuation
from protocols.ehash.errors import CreditCode
from protocols.ehash.shift import ShiftRule
from protocols.mining.errors import CapacityExhausted
from roles.credit.ledger import Ledger
from roles.credit.ledger_rows import Entry, Fate, LedgerRow, Outcome, Record
from roles.credit.shift_roll import Pricing
from roles.pool import intercom
from roles.pool.branch_desk import BranchDesk, KeptBooks
from roles.pool.found_block import FoundBlock
from roles.pool.intercom import Garbled, Intercom, Word
from roles.pool.prefixes import PrefixBook
from roles.pool.remote_books import STOCK, EntriesFault, RemoteLedger, RemotePrefixes
from roles.pool.schema import MIGRATIONS
from roles.pool.tallies import Tallies, snapshot
from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Database, Done
from roles.stratum.difficulties import Difficulties
from tests.roles.pool.neighbours import soon

KEY, OTHER_KEY = public_key(b"\x01" * 32), public_key(b"\x02" * 32)
WAIT_S = 30.0


def entry(number: int, *, key: bytes | None = KEY, tip: int = 1, amount: int = 4) -> Entry:
    """A share as the desk hands it in; the ledger does not judge it again."""
    header = b"\x00" * 4 + bytes([tip]) * 32 + number.to_bytes(44, "little")
    return Entry(sha256d(header), header, from_work(64), amount, key, False)


class Blocks:
    """Where found blocks are followed."""

    def __init__(self) -> None:
        self.followed: list[FoundBlock] = []

    def follow(self, found: FoundBlock) -> None:
        self.followed.append(found)


class Keeper:
    """The keeper's books, with as many branches as a test asks for."""

    def __init__(self, database: Database, ledger: Ledger, prefixes: PrefixBook) -> None:
        self.database = database
        self.ledger = ledger
        self.prefixes = prefixes
        self.blocks = Blocks()
        self.states: list[Any] = []
        self.left: list[bytes] = []
        self.lines: list[Intercom] = []
        blocks: Any = self.blocks
        nothing: Any = None
        self.books = KeptBooks(ledger, blocks, prefixes, Difficulties(10), nothing)

    async def branch(self) -> "Branch":
        near, far = socket.socketpair()
        loop = asyncio.get_running_loop()
        _, here = await loop.create_unix_connection(Intercom, sock=near)
        _, there = await loop.create_unix_connection(Intercom, sock=far)
        self.lines += [here, there]
        desk = BranchDesk(
            here,
            self.books,
            report=self.states.append,
            departed=lambda _, payload: self.left.append(payload),
        )
        here.attend(desk.hear)
        return Branch(desk, there)


class Branch:
    """The other end of a desk."""

    def __init__(self, desk: BranchDesk, line: Intercom) -> None:
        self.desk = desk
        self.line = line
        self.ledger = RemoteLedger(line)
        self.prefixes = RemotePrefixes(line)
        self.heard: list[tuple[Word, bytes]] = []
        line.attend(self._hear)

    async def enter(self, *entries: Entry) -> list[Record]:
        """Shares of one caller, and what became of them; raises what the caller is told."""
        waiter: asyncio.Future[list[Record]] = asyncio.get_running_loop().create_future()

        def told(_: None, outcome: Outcome | BaseException, start: int) -> None:
            if isinstance(outcome, BaseException):
                waiter.set_exception(outcome)
            else:
                waiter.set_result([outcome.of(start + place) for place in range(len(entries))])

        self.ledger.enter(entries, told)
        async with asyncio.timeout(WAIT_S):
            return await waiter

    def of(self, word: Word) -> list[bytes]:
        return [payload for each, payload in self.heard if each is word]

    def _hear(self, word: Word, payload: bytes) -> None:
        match word:
            case Word.RECORDED:
                self.ledger.recorded(intercom.unpack_outcome(payload))
            case Word.NOT_STORED:
                reason, is_fault = json.loads(payload)
                self.ledger.not_stored(reason, is_fault=is_fault)
            case Word.PREFIXES:
                self.prefixes.lent(intercom.unpack_prefixes(payload))
            case _:
                self.heard.append((word, payload))


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Keeper]:
    async with Database.open(tmp_path / "ledger.sqlite", MIGRATIONS) as database:
        ledger = await Ledger.open(
            database, public_key(b"\x09" * 32), Pricing(4, Valuation.TARGET), rule=ShiftRule(1 << 90)
        )
        prefixes = await PrefixBook.open(database, 1)
        run = asyncio.create_task(prefixes.run())
        made = Keeper(database, ledger, prefixes)
        yield made
        run.cancel()
        for line in made.lines:
            line.close()
            await soon(line.lost.is_set)


async def rows(keeper: Keeper) -> list[LedgerRow]:
    return await keeper.ledger.rows_after(0, 1000)


async def test_what_two_processes_enter_at_once_is_one_sequence_without_gaps(keeper: Keeper) -> None:
    one, two = await keeper.branch(), await keeper.branch()

    async def here(number: int) -> list[Record]:
        return await keeper.ledger.append([entry(number)])

    entered = [
        each
        for number in range(0, 90, 3)
        for each in (one.enter(entry(number)), two.enter(entry(number + 1)), here(number + 2))
    ]
    records = [record for told in await asyncio.gather(*entered) for record in told]
    assert {record.fate for record in records} == {Fate.RECORDED}
    assert sorted(record.seq for record in records) == list(range(1, 91))
    written = await rows(keeper)
    assert [row.seq for row in written] == list(range(1, 91))
    assert [row.time for row in written] == sorted(row.time for row in written)
    by_seq = {row.seq: row.share_hash for row in written}
    for number, record in zip((n for n in range(90)), records, strict=True):
        assert by_seq[record.seq] == entry(number).share_hash


async def test_a_share_that_one_process_has_entered_is_credited_once_wherever_it_comes_again(
    keeper: Keeper,
) -> None:
    one, two = await keeper.branch(), await keeper.branch()
    assert await one.enter(entry(1)) == [Record(Fate.RECORDED, 1)]
    assert await two.enter(entry(1), entry(2)) == [Record(Fate.REPEATED, 1), Record(Fate.RECORDED, 2)]
    assert await two.enter(entry(1, key=OTHER_KEY)) == [Record(Fate.DUPLICATE, 1)]
    assert await keeper.ledger.append([entry(2)]) == [Record(Fate.REPEATED, 2)]
    assert len(await rows(keeper)) == 2


async def test_shares_without_a_key_come_through_as_such(keeper: Keeper) -> None:
    branch = await keeper.branch()
    assert await branch.enter(entry(1, key=None), entry(2)) == [
        Record(Fate.RECORDED, 0),
        Record(Fate.RECORDED, 1),
    ]


async def test_one_callers_impossible_share_fails_for_that_caller_alone(
    keeper: Keeper, caplog: pytest.LogCaptureFixture
) -> None:
    branch = await keeper.branch()
    good, bad, other = await asyncio.gather(
        branch.enter(entry(1)),
        branch.enter(entry(2, amount=0)),
        branch.enter(entry(3)),
        return_exceptions=True,
    )
    assert isinstance(bad, EntriesFault)
    assert [good, other] == [[Record(Fate.RECORDED, 1)], [Record(Fate.RECORDED, 2)]]
    assert "cannot be stored" in caplog.text


async def test_a_disk_that_fails_is_told_to_each_caller(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch = await keeper.branch()

    def full(_fn: object, done: Done) -> None:
        done(None, CommitFailed("the disk is full"))

    with monkeypatch.context() as patched:
        patched.setattr(keeper.database, "submit", full)
        failed = await asyncio.gather(branch.enter(entry(1)), branch.enter(entry(2)), return_exceptions=True)
    assert [str(each) for each in failed] == ["the disk is full"] * 2
    assert all(isinstance(each, CommitFailed) for each in failed)
    assert await branch.enter(entry(1)) == [Record(Fate.RECORDED, 1)]
    await branch.ledger.settled()


async def test_no_two_processes_are_given_the_same_prefix_and_an_end_gives_all_back(keeper: Keeper) -> None:
    one, two = await keeper.branch(), await keeper.branch()
    granted = [keeper.prefixes.grant() for _ in range(10)]
    for branch in (one, two):
        with pytest.raises(CapacityExhausted):
            branch.prefixes.grant()
        branch.prefixes.ask()
    async with asyncio.timeout(WAIT_S):
        for _ in range(STOCK * 2):
            for branch in (one, two):
                while True:
                    try:
                        granted.append(branch.prefixes.grant())
                        break
                    except CapacityExhausted:
                        await asyncio.sleep(0.01)
    assert len(set(granted)) == len(granted) == 10 + 4 * STOCK
    await soon(lambda: all(len(branch.prefixes._stock) >= STOCK for branch in (one, two)))
    in_use = keeper.prefixes.granted
    mine = granted[-1]
    two.prefixes.release(mine)
    two.prefixes.release(granted[0])
    two.prefixes.give_back()
    await soon(lambda: keeper.prefixes.granted == in_use - 1)
    one.desk.close()
    two.desk.close()
    assert keeper.prefixes.granted == 10
    await soon(one.line.lost.is_set)


async def test_each_branch_hears_of_its_own_rows_alone(keeper: Keeper) -> None:
    one, two = await keeper.branch(), await keeper.branch()
    await one.enter(entry(1), entry(2))
    await keeper.ledger.append([entry(3)])
    await two.enter(entry(4), entry(1), entry(5))
    await one.enter(entry(6))
    written = await rows(keeper)
    for part in (written[:1], written[1:4], written[4:]):
        for branch in (one, two):
            branch.desk.confirmed(part)
    one.desk.refused(4, CreditCode.BAD_KEY)
    await soon(lambda: one.of(Word.REFUSED))
    assert intercom.unpack_refused(one.of(Word.REFUSED)[0]) == (4, CreditCode.BAD_KEY)

    def confirmed(branch: Branch) -> list[int]:
        return [row.seq for each in branch.of(Word.CONFIRMED) for row in intercom.unpack_confirmed(each)]

    assert confirmed(one) == [1, 2, 6]
    await soon(lambda: confirmed(two) == [4, 5])
    row = intercom.unpack_confirmed(one.of(Word.CONFIRMED)[0])[0]
    assert (row.shift, row.share_hash, row.amount) == (0, entry(1).share_hash, 4)


async def test_a_block_goes_to_the_keeper_and_its_end_back_to_who_found_it(keeper: Keeper) -> None:
    one, two = await keeper.branch(), await keeper.branch()
    found = FoundBlock(b"\x01" * 32, bytes(80), 7, 1_700_000_000_000, True)
    one.line.say(Word.FOUND, intercom.pack_found(found))
    one.line.say(Word.FOUND, intercom.pack_found(found._replace(whole=b"a whole block")))
    await soon(lambda: len(keeper.blocks.followed) == 2)
    assert keeper.blocks.followed == [found, found._replace(whole=b"a whole block")]
    for branch in (one, two):
        for _ in range(2):
            branch.desk.settled(found.block_hash)
        branch.desk.learn(b"[]")
    await soon(lambda: two.of(Word.DEPARTED) and one.of(Word.DEPARTED))
    assert one.of(Word.SETTLED) == [found.block_hash]
    assert two.of(Word.SETTLED) == []


async def test_the_difficulty_of_a_miner_that_leaves_a_branch_is_known_to_all(keeper: Keeper) -> None:
    branch = await keeper.branch()
    branch.line.say(Word.DEPARTED, intercom.pack_json(["192.0.2.1", "rig", 1 << 200]))
    branch.line.say(Word.STATE, intercom.pack_json({"reasons": {}}))
    await soon(lambda: keeper.states)
    assert keeper.books.difficulties.recall("192.0.2.1", "rig") == 1 << 200
    assert len(keeper.left) == 1


@pytest.mark.parametrize(
    "noise",
    [b"\x00\x00\x00\x00\x01", b"\xff\xff\xff\x7f\x01", b"\x01\x00\x00\x00\x77", b"\x01\x00\x00\x00\x20"],
)
async def test_nonsense_ends_the_link(keeper: Keeper, noise: bytes) -> None:
    branch = await keeper.branch()
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))
    wire: Any = branch.line._wire
    wire.write(noise)
    await soon(lambda: branch.line.lost.is_set() or faults)
    assert not faults or isinstance(faults[0], Garbled | ValueError)
    await soon(branch.line.lost.is_set)


async def test_messages_are_put_together_from_whatever_pieces_they_come_in(keeper: Keeper) -> None:
    branch = await keeper.branch()
    wire: Any = branch.line._wire
    message = intercom.pack_json({"reasons": {"some": "reason"}})
    whole = (len(message) + 1).to_bytes(4, "little") + bytes([Word.STATE]) + message
    for byte in whole * 2:
        wire.write(bytes([byte]))
        await asyncio.sleep(0)
    await soon(lambda: len(keeper.states) == 2)


def counted(registry: CollectorRegistry, **values: float) -> Sequence[Any]:
    """A registry's families with some counters and gauges in it, as they are sent."""
    for name, value in values.items():
        if name.endswith("_total"):
            Counter(name.removesuffix("_total"), "…", ["code"], registry=registry).labels("x").inc(value)
        else:
            Gauge(name, "…", registry=registry).set(value)
    families: list[Any] = json.loads(json.dumps(snapshot(registry)))
    return families


def test_metrics_of_all_processes_are_added_up_and_counters_outlive_a_process() -> None:
    own = CollectorRegistry()
    counted(own, seen_total=3, held=5, hashpool_pool_disk_free_bytes=100)
    tallies, shown = Tallies(own), CollectorRegistry()
    shown.register(tallies)

    def values() -> list[float | None]:
        names: list[tuple[str, dict[str, str]]] = [
            ("seen_total", {"code": "x"}), ("held", {}), ("hashpool_pool_disk_free_bytes", {})
        ]  # fmt: skip
        return [shown.get_sample_value(*name) for name in names]

    assert values() == [3, 5, 100]
    tallies.take(1, counted(CollectorRegistry(), seen_total=10, held=2, hashpool_pool_disk_free_bytes=90))
    tallies.take(2, counted(CollectorRegistry(), seen_total=20, held=1))
    assert values() == [33, 8, 100]
    assert [tallies.of(each, "seen_total") for each in range(4)] == [3, 10, 20, 0]
    tallies.depart(1)
    assert values() == [33, 6, 100]
    tallies.take(1, counted(CollectorRegistry(), seen_total=1, held=4))
    assert values() == [34, 10, 100]
    for each in (1, 2, 1):
        tallies.depart(each)
    assert values() == [34, 5, 100]
