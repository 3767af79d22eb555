"""What must not wait, and what must not be lost, between a share's verdict and its row in the ledger."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from protocols.ehash.key_text import encode_key
from protocols.sv2.codec import encode
from protocols.sv2.frame import Frame
from protocols.sv2.mining import SubmitSharesError, SubmitSharesSuccess
from protocols.sv2.template_distribution import SubmitSolution
from roles.runtime.errors import ConnectionLost
from roles.runtime.storage import Database, Done
from roles.runtime.sv2_connection import ServedConnection
from tests.roles.pool.held_disk import Disk
from tests.roles.pool.house import Channel, House
from tests.roles.pool.neighbours import KEY, OTHER_KEY, soon


async def mining(house: House, **terms: Any) -> Channel:
    await house.start()
    miner = await house.miner(extensions=True)
    return await miner.open(user=encode_key(KEY), **terms)


BLOCK = (1 << 256) // 1024 - 1
"""The target of a block where it takes 1,024 hashes, sixteen times a share's work."""


async def test_a_block_is_sent_while_the_ledgers_disk_stands_still(house: House, disk: Disk) -> None:
    house.block_hashes = 1024
    channel = await mining(house)
    disk.ready.clear()
    channel.submit(channel.mine(low=BLOCK + 1))
    await soon(lambda: disk.writes == 1)
    block = channel.mine(target=BLOCK)
    channel.submit(block)
    solution = await house.provider.hear(SubmitSolution)
    assert solution.header_nonce == block.nonce
    await channel.miner.hears_nothing(SubmitSharesSuccess)
    disk.ready.set()
    count = 0
    while count < 2:
        answer = await channel.miner.hear(SubmitSharesSuccess)
        count += answer.new_submits_accepted_count
    assert answer.last_sequence_number == block.sequence_number
    await soon(lambda: 2 in house.mint.book.rows)
    assert [house.mint.book.rows[seq].block for seq in (1, 2)] == [False, True]


async def test_answers_keep_the_order_of_shares_whatever_each_needs_of_the_ledger(
    house: House, disk: Disk
) -> None:
    channel = await mining(house)
    first, second = channel.mine(), channel.mine()
    channel.submit(first)
    await channel.miner.hear(SubmitSharesSuccess)
    disk.ready.clear()
    channel.submit(second)
    await soon(lambda: disk.writes == 2)
    # A repetition of what is durable must not be answered before what is not, for successes are counted.
    channel.submit(replace(first, sequence_number=3))
    await channel.miner.hears_nothing(SubmitSharesSuccess, SubmitSharesError)
    disk.ready.set()
    total = 0
    while total < 2:
        total += (await channel.miner.hear(SubmitSharesSuccess)).new_submits_accepted_count
    assert house.metric("hashpool_ledger_seq") == 2
    assert house.metric("hashpool_pool_shares_repeated_total") == 1


@pytest.mark.parametrize("together", [True, False])
async def test_a_repetition_of_a_share_that_was_not_stored_is_no_success(
    house: House, disk: Disk, together: bool
) -> None:
    channel = await mining(house)
    share = channel.mine()
    disk.fails = True
    disk.ready.clear()
    again = replace(share, sequence_number=2)
    if together:
        channel.submit(share, again)
    else:
        channel.submit(share)
        await soon(lambda: disk.writes == 1)
        channel.submit(again)
    await soon(lambda: disk.writes == 1)
    disk.ready.set()
    for sequence in (1, 2):
        refusal = await channel.miner.hear(SubmitSharesError, SubmitSharesSuccess)
        assert refusal == SubmitSharesError(channel.id, sequence, "share-not-stored")
    disk.fails = False
    channel.submit(replace(share, sequence_number=3))
    assert await channel.miner.hear(SubmitSharesSuccess)
    assert house.metric("hashpool_ledger_seq") == 1


async def test_a_share_that_the_ledger_has_for_another_key_is_a_duplicate_each_time(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.mining.share.GENERATION", 1)
    channel = await mining(house)
    share = channel.mine()
    channel.submit(share, key=OTHER_KEY)
    channel.submit(channel.mine())
    await soon(lambda: house.metric("hashpool_ledger_seq") == 2)
    for _ in range(2):
        channel.submit(share)
        answer = await channel.miner.hear(SubmitSharesError)
        assert answer.error_code == "duplicate-share"


async def test_shares_of_a_peer_that_cannot_be_answered_any_more_are_recorded(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await mining(house)
    good, bad = channel.mine(), channel.mine()

    def lost(*_: Any) -> None:
        raise ConnectionLost("the peer has gone", code="peer-closed")

    monkeypatch.setattr(ServedConnection, "send", lost)
    channel.submit(good, replace(bad, job_id=99))
    await soon(lambda: house.metric("hashpool_ledger_seq") == 1)


async def test_shares_before_a_frame_that_ends_the_connection_are_recorded(house: House) -> None:
    channel = await mining(house)
    share = channel.mine()
    frame = encode(channel.mine())
    channel.miner.link.send(
        encode(share), Frame(frame.extension, frame.channel, frame.msg_type, frame.payload[:-1])
    )
    await channel.miner.closed()
    await soon(lambda: house.metric("hashpool_ledger_seq") == 1)


async def test_a_connection_with_too_many_shares_unsettled_is_not_read_from(
    house: House, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roles.pool.submissions.MAX_UNSETTLED", 3)
    channel = await mining(house)
    disk.ready.clear()
    for _ in range(3):
        channel.submit(channel.mine())
        await asyncio.sleep(0.02)
    channel.submit(replace(channel.mine(), job_id=99))
    await channel.miner.hears_nothing(SubmitSharesError)
    disk.ready.set()
    assert (await channel.miner.hear(SubmitSharesError)).error_code == "invalid-job-id"


async def test_a_fault_of_ours_ends_the_connection_and_no_share_is_acknowledged(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = await mining(house)

    def fail(_database: Database, _fn: object, done: Done) -> None:
        done(None, RuntimeError("a fault"))

    monkeypatch.setattr(Database, "submit", fail)
    channel.submit(channel.mine())
    code, _ = await channel.miner.closed()
    assert code in {"peer-closed", "reset"}
    assert not any(isinstance(message, SubmitSharesSuccess) for message in channel.miner.unheard)
