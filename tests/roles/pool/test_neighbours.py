"""Restarts and outages: of the template provider, of the mint, and of the pool itself."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from protocols.bitcoin.coinbase import CoinbaseTemplate
from protocols.bitcoin.target import from_work
from protocols.ehash.key_text import encode_key
from protocols.mining.job import Template, Tip
from protocols.sv2.mining import (
    NewExtendedMiningJob,
    SetNewPrevHash,
    SetTarget,
    SubmitSharesError,
    SubmitSharesSuccess,
)
from protocols.sv2.template_distribution import CoinbaseOutputConstraints
from protocols.sv2.template_distribution import SetNewPrevHash as TemplateTip
from roles.pool.errors import RewardUnusable, TemplateUnusable
from roles.pool.prefixes import CHUNK, PrefixBook
from roles.pool.schema import MIGRATIONS
from roles.pool.supply import reward_script
from roles.pool.template_link import MAX_SHELVED, TransactionShelf
from roles.pool.workshop import Workshop, script_height
from roles.runtime.errors import CommitFailed
from roles.runtime.storage import Database, Done
from tests.roles.pool.house import House
from tests.roles.pool.neighbours import KEY, Mint, soon

TEXT = encode_key(KEY)


async def test_a_template_provider_that_restarts_costs_no_work(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=TEXT)
    old = channel.mine()
    house.provider.drop()
    await soon(lambda: house.provider.links == 2)
    # The same tip comes again: other work, to start on at once, and what was handed out stays good.
    while channel.active.min_ntime is None:
        await miner.receive()
    await miner.hears_nothing(SetNewPrevHash)
    channel.submit(old, channel.mine())
    assert (await miner.hear(SubmitSharesSuccess)).new_submits_accepted_count == 2
    await soon(lambda: not house.reasons)


async def test_shares_are_taken_while_the_template_provider_is_away(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=TEXT)
    await house.provider.stop()
    await soon(lambda: "templates" in house.reasons)
    channel.submit(channel.mine())
    assert await miner.hear(SubmitSharesSuccess)
    await (await house.miner()).open()


async def test_the_same_tip_with_other_bits_is_announced_with_them(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    house.provider.new_tip(house.provider.tip, bits=0x1F7FFFFF)
    while channel.tip is None or channel.tip.nbits != 0x1F7FFFFF:
        await miner.receive()
    channel.submit(channel.mine())
    assert await miner.hear(SubmitSharesSuccess)


async def test_an_easier_network_lowers_targets_with_the_new_tip(house: House) -> None:
    house.block_hashes = 1
    await house.start()
    miner = await house.miner()
    template = house.provider.template(future=True)
    hard = from_work(1 << 20)
    house.provider.say(template, TemplateTip(template.template_id, bytes((5,)) * 32, 1_700_000_000, 1, hard))
    channel = await miner.open(rate=float(1 << 19))
    while channel.tip is None or channel.tip.prev_hash != bytes((5,)) * 32:
        await miner.receive()
    template = house.provider.template(future=True)
    easy = from_work(1 << 10)
    house.provider.say(template, TemplateTip(template.template_id, bytes((6,)) * 32, 1_700_000_000, 1, easy))
    target = await miner.hear(SetTarget)
    assert target.maximum_target == easy
    while channel.tip.prev_hash != bytes((6,)) * 32:
        await miner.receive()
    assert channel.target == easy


async def test_what_contradicts_itself_ends_the_link_to_the_provider(house: House) -> None:
    await house.start()
    house.provider.say(TemplateTip(999, bytes(32), 0, 0x207FFFFF, 1))
    await soon(lambda: house.provider.links == 2)
    house.provider.greeting = False
    house.provider.drop()
    await soon(lambda: house.provider.links == 3)
    house.provider.fees()
    await soon(lambda: house.provider.links == 4)
    huge = replace(house.provider.template(future=True), coinbase_prefix=bytes(90))
    house.provider.say(huge, TemplateTip(huge.template_id, bytes(32), 0, 0x207FFFFF, 1))
    await soon(lambda: house.provider.links == 5)
    assert house.metric("hashpool_pool_template_failures_total", cause="TemplateUnusable") == 3


async def test_the_constraints_fit_the_reward_output(house: House) -> None:
    await house.start()
    assert await house.provider.hear(CoinbaseOutputConstraints) == CoinbaseOutputConstraints(31, 0)


async def test_shares_are_taken_while_the_mint_is_away_and_credited_when_it_is_back(house: House) -> None:
    await house.start()
    await house.mint.stop()
    miner = await house.miner(extensions=True)
    channel = await miner.open(key=KEY)
    channel.submit(*[channel.mine() for _ in range(5)])
    assert await miner.hear(SubmitSharesSuccess)
    assert house.metric("hashpool_ledger_seq") == 5
    assert house.metric("hashpool_ledger_acked_seq") == 0
    again = Mint(house.mint.port)
    house.mint = again
    again.start([house.identity])
    await soon(lambda: len(again.book.rows) == 5)
    await soon(lambda: house.metric("hashpool_ledger_acked_seq") == 5)


async def test_a_pool_that_crashes_goes_on_where_its_ledger_ends(house: House) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=TEXT)
    channel.submit(*[channel.mine() for _ in range(3)])
    assert await miner.hear(SubmitSharesSuccess)
    first = channel.prefix
    await house.crash_pool()
    await house.start_pool()
    miner = await house.miner()
    channel = await miner.open(user=TEXT)
    assert channel.prefix != first
    assert int.from_bytes(channel.prefix[1:], "big") >= CHUNK
    channel.submit(channel.mine())
    assert await miner.hear(SubmitSharesSuccess)
    await soon(lambda: 4 in house.mint.book.rows)
    assert len({row.share_hash for row in house.mint.book.rows.values()}) == 4


async def test_a_ledger_that_cannot_be_written_refuses_shares_and_takes_them_later(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=TEXT)
    share = channel.mine()

    def fail(_database: Database, _fn: object, done: Done) -> None:
        done(None, CommitFailed("the disk is full"))

    with monkeypatch.context() as patch:
        patch.setattr(Database, "submit", fail)
        channel.submit(share)
        assert await miner.hear(SubmitSharesError) == SubmitSharesError(2, 1, "share-not-stored")
    channel.submit(share)
    assert (await miner.hear(SubmitSharesSuccess)).new_submits_accepted_count == 1
    await soon(lambda: 1 in house.mint.book.rows)


async def test_acknowledgements_that_wait_are_sent_when_the_pool_stops(house: House) -> None:
    house.settings["acknowledgement"] = {"shares": 10, "delay_ms": 5000}
    await house.start()
    miner = await house.miner()
    channel = await miner.open()
    channel.submit(channel.mine())
    await soon(lambda: house.metric("hashpool_pool_shares_accepted_total"))
    await soon(lambda: house.metric("hashpool_ledger_unattributed"))
    await house.stop_pool()
    assert await miner.hear(SubmitSharesSuccess)


async def test_work_worth_less_than_one_ehash_is_acknowledged_and_not_ledgered(house: House) -> None:
    house.ehash["minimum_difficulty"] = 40
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=TEXT)
    channel.submit(*[channel.mine() for _ in range(3)])
    assert (await miner.hear(SubmitSharesSuccess)).new_submits_accepted_count == 3
    assert house.metric("hashpool_ledger_seq") == 0


async def test_the_lottery_values_shares_by_what_they_achieved(house: House) -> None:
    house.ehash["valuation"] = "achieved"
    await house.start()
    miner = await house.miner()
    channel = await miner.open(user=TEXT)
    share = channel.mine()
    channel.submit(share)
    await soon(lambda: 1 in house.mint.book.rows)
    zeros = 256 - int.from_bytes(channel.hash_of(share), "little").bit_length()
    assert house.mint.book.rows[1].amount == 1 << zeros - 2


async def test_a_tag_too_long_is_found_at_the_start(house: House) -> None:
    house.settings["coinbase_tag"] = "x" * 32
    await house.start()
    assert house.daemon
    config = house.daemon.config.model_copy(update={"coinbase_tag": "x" * 50})
    with pytest.raises(RewardUnusable):
        reward_script(config, house.daemon.shared)
    missing = house.daemon.config.model_copy(update={"coinbase_reward_script": None})
    with pytest.raises(RewardUnusable):
        reward_script(missing, house.daemon.shared)


async def test_a_new_job_reaches_a_channel_that_was_opened_a_moment_before(house: House) -> None:
    await house.start()
    miner = await house.miner()
    await miner.open()
    for number in range(2, 6):
        house.provider.new_tip(bytes((number,)) * 32)
        await miner.open()
    jobs = [await miner.hear(NewExtendedMiningJob) for _ in range(4)]
    assert jobs


def store(path: Path) -> Database:
    return Database.open(path, MIGRATIONS)


async def test_prefixes_are_reserved_before_they_are_granted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    async with store(path) as database:
        book = await PrefixBook.open(database, 7)
        granted = [book.grant() for _ in range(10)]
        book.new_tip(b"a" * 32)
        await book._store()
    async with store(path) as database:
        again = await PrefixBook.open(database, 7)
        again.new_tip(b"a" * 32)
        assert again._allocator.tip_position == 10
        more = [again.grant() for _ in range(10)]
        assert not set(granted) & set(more)
        assert again.granted == 10
        again.release(more[0])
        assert again.granted == 9
        other = await PrefixBook.open(database, 8)
        assert other.grant()[0] == 8
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM prefix_counter").fetchone() == (2,)


def test_the_shelf_of_transactions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = TransactionShelf()
    for number in range(MAX_SHELVED + 2):
        shelf.put((1, number), (b"x",))
    assert shelf.get((1, 1)) is None
    assert shelf.get((1, 2)) == (b"x",)
    monkeypatch.setattr("roles.pool.template_link.MAX_SHELVED_BYTES", 10)
    shelf.put((2, 1), (b"y" * 8, b"z" * 8))
    assert shelf.get((2, 1)) == (b"y" * 8, b"z" * 8)
    assert shelf.get((1, 9)) is None


def workshop(notes: list[bool]) -> Workshop:
    return Workshop(b"\x51", "t", block_hashes=None, listener=notes.append)


def template(number: int, value: int = 5) -> Template:
    return Template((1, number), 2, CoinbaseTemplate(2, b"\x01\x70", 0, value, 0, b"", number), ())


def test_a_workshop_tells_a_new_tip_from_more_work_on_the_old_one() -> None:
    notes: list[bool] = []
    shop = workshop(notes)
    tip = Tip(bytes(32), 1, 2, 3, 4)
    with pytest.raises(RuntimeError):
        shop.work(0)
    shop.begin(template(1), tip)
    shop.begin(template(2), replace(tip, min_ntime=9, received=9))
    shop.follow(template(3))
    shop.begin(template(4), replace(tip, bits=7))
    assert notes == [True, False, False, True]
    assert shop.work(0) is shop.work(0)
    assert shop.work(1).prefix != shop.work(0).prefix
    assert (shop.tip_number, shop.work_number) == (2, 4)


def test_a_template_that_no_coinbase_fits_changes_nothing() -> None:
    notes: list[bool] = []
    shop = workshop(notes)
    bad = template(1)
    bad = replace(bad, coinbase=replace(bad.coinbase, script_prefix=bytes(80)))
    with pytest.raises(TemplateUnusable):
        shop.begin(bad, Tip(bytes(32), 1, 2, 3, 4))
    assert shop.tip is None
    assert notes == []


@pytest.mark.parametrize(
    ("prefix", "height"),
    [
        ("51", 1),
        ("60", 16),
        ("0111", 17),
        ("02e803", 1000),
        ("03a0860d", 886432),
        ("", 0),
        ("ff", 0),
        ("00", 0),
    ],
)
def test_the_height_stands_first_in_the_script(prefix: str, height: int) -> None:
    assert script_height(bytes.fromhex(prefix)) == height
