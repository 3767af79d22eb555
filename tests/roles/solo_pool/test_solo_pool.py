"""Miners at a solo pool: what they are given, what becomes of their shares, and their blocks."""

import asyncio
from fractions import Fraction
from typing import Any

import pytest

from protocols.bitcoin.address import script_from_address
from protocols.bitcoin.header import parse_block
from protocols.bitcoin.merkle import merkle_root, witness_commitment
from protocols.bitcoin.networks import Network
from protocols.bitcoin.target import from_work
from protocols.translation.extranonce import Layout
from roles.node_client.errors import NodeUnreachable
from roles.runtime.ban_list import Bans
from roles.solo_pool.workshop import Workshop
from roles.templates.draft import Draft
from roles.templates.selection import Constraints
from tests.roles.solo_pool.house import ADDRESS, BLOCK_HASHES, OURS, House
from tests.roles.templates.fake_node import SUBSIDY, make_template, make_transaction
from tests.roles.translator.fake_miners import Bitaxe, Cgminer, FakeMiner, Minerd, NerdMiner
from tests.roles.translator.scripted_proxy import DIFFICULTY_ONE

BLOCK = DIFFICULTY_ONE / Fraction(from_work(BLOCK_HASHES))


def mined(block: bytes) -> Any:
    """Header and transactions, where they belong together."""
    header, transactions = parse_block(block)
    assert header.merkle_root == merkle_root([each.txid for each in transactions])
    return header, transactions


async def block_of(miner: Any) -> dict[str, Any]:
    """Find a block and submit it."""
    reply: dict[str, Any] = await miner.submit(miner.find(await miner.job(), difficulty=BLOCK))
    return reply


@pytest.mark.parametrize("kind", [FakeMiner, Bitaxe, Minerd, Cgminer, NerdMiner])
async def test_every_miner_gets_work_and_its_block_is_whole(house: House, kind: type[FakeMiner]) -> None:
    paid = make_transaction("paid", fee=700)
    draft = await house.offer(make_template("one", [paid]))
    miner = await house.miner(kind, user=f"{ADDRESS}.garage")
    assert (await block_of(miner))["result"] is True
    header, (coinbase, other) = mined(house.node.blocks[-1])
    assert header.previous == draft.previous
    assert other.serialize() == paid.data
    assert coinbase.outputs[0].script == script_from_address(ADDRESS, Network.REGTEST)
    assert coinbase.outputs[0].value == SUBSIDY + 700
    assert coinbase.outputs[1].script.endswith(witness_commitment([paid.wtxid]))
    assert coinbase.witnesses
    assert coinbase.inputs[0].script.startswith(draft.coinbase.script_prefix + b"\x06/test/")
    assert house.count("shares_total", result="accepted") == 1


async def test_two_miners_never_do_the_same_work(house: House) -> None:
    await house.offer()
    first, second = await house.miner(), await house.miner()
    assert first.extranonce1 != second.extranonce1
    assert first.find(await first.job())[2] == second.find(await second.job())[2]


async def test_shares_below_a_block_are_counted_and_go_no_further(house: House) -> None:
    await house.offer()
    miner = await house.miner(user="rig.1")
    for _ in range(3):
        job = await miner.job()
        while True:
            found = miner.find(job)
            number = miner.header_hash(
                job, bytes.fromhex(found[2]), int(found[3], 16), int(found[4], 16), int(job.params[5], 16)
            )
            if number > from_work(BLOCK_HASHES):
                break
        assert (await miner.submit(found))["result"] is True
    assert not house.node.blocks
    assert house.count("shares_total", result="local") == 3
    summary = house.overview.summary()
    assert (summary.miners, summary.shares.local, summary.shares.accepted) == (1, 3, 0)
    described = house.overview.describe((1,), next(iter(house.pool)))
    assert (described.worker, described.shares.local) == ("rig.1", 3)
    assert summary.best_share is not None


async def test_what_is_wrong_with_a_share_is_told_in_the_codes_of_sv1(house: House) -> None:
    await house.offer()
    miner = await house.miner()
    job = await miner.job()
    assert (await miner.submit(miner.find(job, good=False)))["error"][0] == 23
    good = miner.find(job)
    await miner.submit(good)
    assert (await miner.submit(good))["error"][0] == 22
    assert (await miner.submit([good[0], "ffff", *good[2:]]))["error"][0] == 21
    await house.offer(tip="two")
    await miner.until(lambda: miner.jobs and miner.jobs[-1].id != job.id)
    assert (await miner.submit(miner.find(job)))["error"][:2] == [21, "Stale"]
    assert house.count("rejected_total", reason="stale") == 1


async def test_a_block_that_the_node_refuses_is_rejected_and_says_why(house: House) -> None:
    house.node.verdicts = ["bad-cb-amount"]
    await house.offer()
    miner = await house.miner()
    assert (await block_of(miner))["error"][:2] == [20, "block-bad-cb-amount"]


async def test_a_block_waits_for_a_node_that_is_away_and_its_miner_is_told_in_time(house: House) -> None:
    house.node.verdicts = [NodeUnreachable("away")] * 6
    await house.offer()
    miner = await house.miner()
    assert (await block_of(miner))["error"][:2] == [20, "No verdict from pool"]
    async with asyncio.timeout(30):
        while not house.count("solutions_total", verdict="accepted"):
            await asyncio.sleep(0.01)
    assert house.count("unanswered_total") == 1
    assert house.count("shares_total", result="accepted") == 1


async def test_better_fees_are_worked_on_and_old_work_counts_until_the_tip_changes(house: House) -> None:
    await house.offer()
    miner = await house.miner()
    first = await miner.job()
    await house.offer(make_template("genesis", [make_transaction("poor", fee=999)]))
    await house.offer(make_template("genesis", [make_transaction("rich", fee=1_000)]))
    second = await miner.until(lambda: len(miner.jobs) == 2 and miner.jobs[-1])
    assert second.params[-1] is False
    for job in (first, second):
        assert (await miner.submit(miner.find(job, difficulty=BLOCK)))["result"] is True
    values = [mined(block)[1][0].outputs[0].value for block in house.node.blocks]
    assert values == [SUBSIDY, SUBSIDY + 1_000]


async def test_a_connection_mines_for_one_address(house: House) -> None:
    await house.offer()
    miner = await house.miner(user=f"{ADDRESS}.1")
    for number, (user, is_let_in) in enumerate([(f"{ADDRESS}.2", True), ("alice", False)], 90):
        miner.write({"id": number, "method": "mining.authorize", "params": [user, "x"]})
        reply = await miner.reply(number)
        assert (reply["result"] is True) is is_let_in
        assert is_let_in or reply["error"][1] == "Another address on the same connection"


async def test_a_difficulty_asked_for_is_where_a_miner_starts_and_none_easier_comes(house: House) -> None:
    await house.offer()
    easy, hard = await house.miner(), await house.miner(password="d=3e-8")
    assert hard.difficulty > 2 * easy.difficulty
    assert hard.difficulty >= Fraction(3e-8) * Fraction(99, 100)


async def test_without_work_miners_are_turned_away_and_let_go_when_the_node_stays_away(house: House) -> None:
    early = await house.connect()
    early.write({"id": 1, "method": "mining.subscribe", "params": []})
    early.listen()
    await early.until(lambda: early.is_gone)
    assert house.count("turned_away_total") == 1
    await house.offer()
    miner = await house.miner()
    house.is_away = True
    house.pool.release()
    await miner.until(lambda: miner.is_gone)
    shown = [line["params"][0] for line in miner.lines if line.get("method") == "client.show_message"]
    assert "released" in shown[-1]
    late = await house.connect()
    late.write({"id": 1, "method": "mining.subscribe", "params": []})
    late.listen()
    await late.until(lambda: late.is_gone)


async def test_a_miner_that_comes_back_goes_on_with_its_figures(house: House) -> None:
    await house.offer()
    miner = await house.miner(user="rig.9")
    await block_of(miner)
    await miner.close()
    async with asyncio.timeout(30):
        while len(house.pool):
            await asyncio.sleep(0.001)
    assert len(house.pool.roll) == 1
    await house.miner(user="rig.9")
    described = house.overview.describe((1,), next(iter(house.pool)))
    assert described.shares.accepted == 1


async def test_who_is_banned_is_refused_and_cut(house: House) -> None:
    await house.offer()
    mallory = await house.miner(user="mallory.1")
    house.bans.replace(Bans(names=frozenset({"mallory"})))
    house.pool.cut_barred()
    await mallory.until(lambda: mallory.is_gone)
    again = await house.connect(user="mallory.2")
    again.write(
        {"id": 1, "method": "mining.subscribe", "params": []},
        {"id": 2, "method": "mining.authorize", "params": ["mallory.2", "x"]},
    )
    again.listen()
    assert (await again.reply(2))["error"][0] == 24
    await again.until(lambda: again.is_gone)


async def test_a_name_that_is_not_the_first_of_its_connection_is_banned_all_the_same(house: House) -> None:
    await house.offer()
    miner = await house.miner(user="bob.1")
    miner.write({"id": 77, "method": "mining.authorize", "params": ["bob.2", "x"]})
    assert (await miner.reply(77))["result"] is True
    house.bans.replace(Bans(names=frozenset({"bob.2"})))
    house.pool.cut_barred()
    await miner.until(lambda: miner.is_gone)


def test_a_draft_with_other_bits_is_another_tip() -> None:
    workshop = Workshop("test", Layout(8), block_hashes=None, fee_gain=1_000)
    drafts = [Draft.make(make_template(bits=bits), Constraints(43, 1)) for bits in (0x1F00FFFF, 0x2000FFFF)]
    assert workshop.take(drafts[0]) is True
    hard = workshop.work(OURS)
    assert workshop.work(OURS) is hard
    assert workshop.take(drafts[0]) is None
    assert workshop.take(drafts[1]) is True
    assert workshop.work(OURS).target > hard.target
