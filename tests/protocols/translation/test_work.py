import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from protocols.sv1.messages import Call, parse
from protocols.sv1.requests import Submit
from protocols.sv2.mining import NewExtendedMiningJob, SetNewPrevHash
from protocols.translation.difficulty import told_difficulty
from protocols.translation.errors import ExtranonceTooSmall, UntranslatableJob
from protocols.translation.extranonce import Layout
from protocols.translation.share import judge
from protocols.translation.work import DRAFT_LIMIT, FUTURE_LIMIT, ChannelWork, Drafts, Work

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "sv2" / "translator_mock.json").read_text())
STRIPS = json.loads((Path(__file__).parents[2] / "vectors" / "sv2" / "bip141_strip.json").read_text())


def job(job_id: int = 1, min_ntime: int | None = None) -> NewExtendedMiningJob:
    return NewExtendedMiningJob(
        5,
        job_id,
        min_ntime,
        VECTOR["version"],
        True,
        (b"\x11" * 32, b"\x22" * 32),
        bytes.fromhex(VECTOR["coinbase_tx_prefix"]),
        bytes.fromhex(VECTOR["coinbase_tx_suffix"]),
    )


def tip(job_id: int = 1) -> SetNewPrevHash:
    return SetNewPrevHash(5, job_id, bytes.fromhex(VECTOR["prev_hash"]), VECTOR["min_ntime"], VECTOR["nbits"])


def channel(size: int = 4, prefix: bytes = b"\xaa\xbb", target: int = 1 << 240) -> ChannelWork:
    return ChannelWork(Layout(2, slice_size=2), size, prefix, target)


def started(jobs: ChannelWork) -> Work:
    assert jobs.job(job()) is None
    return jobs.new_tip(tip())


def test_the_recorded_job_becomes_the_notify_that_firmware_reads() -> None:
    work = started(channel(size=6))
    message = parse(work.notify("1", work.ntime, clean=True))
    assert isinstance(message, Call)
    job_id, previous, coinbase1, coinbase2, branches, version, bits, ntime, clean = message.params
    words = [VECTOR["prev_hash"][i : i + 8] for i in range(0, 64, 8)]
    assert previous == "".join(bytes.fromhex(word)[::-1].hex() for word in words)
    # Upstream's prefix and two bytes of padding stand before the miner's four.
    assert coinbase1 == VECTOR["coinbase_tx_prefix"] + "aabb" + "0000"
    assert coinbase2 == VECTOR["coinbase_tx_suffix"]
    assert branches == ["11" * 32, "22" * 32]
    assert (job_id, version, bits, ntime, clean) == ("1", "20000000", "207fffff", "694ef4da", True)


def test_a_miners_hash_of_the_recorded_job_is_the_hash_that_is_judged() -> None:
    """What a miner does with its notify, step by step and with nothing of ours."""
    work = started(channel(size=4))
    message = parse(work.notify("1", work.ntime, clean=True))
    assert isinstance(message, Call)
    _, previous, coinbase1, coinbase2, branches, version, bits, ntime, _ = message.params

    def twice(data: bytes) -> bytes:
        return hashlib.sha256(hashlib.sha256(data).digest()).digest()

    root = twice(bytes.fromhex(coinbase1 + "0102" + "0304" + coinbase2))
    for branch in branches:
        root = twice(root + bytes.fromhex(branch))
    words = bytes.fromhex(previous)
    header = bytes.fromhex(version)[::-1]
    header += b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4))
    header += root + bytes.fromhex(ntime)[::-1] + bytes.fromhex(bits)[::-1] + bytes.fromhex("0000002a")[::-1]
    judged = judge(
        Submit("a", "1", b"\x03\x04", int(ntime, 16), 42, 0),
        work,
        layout=Layout(2, slice_size=2),
        extranonce1=b"\x01\x02",
        mask=0,
        miner_target=(1 << 256) - 1,
        now=VECTOR["min_ntime"],
    )
    assert judged.share_hash == twice(header)
    assert judged.extranonce == b"\x01\x02\x03\x04"


@pytest.mark.parametrize("strip", STRIPS["vectors"], ids=lambda strip: strip["name"])
def test_witness_bytes_of_a_coinbase_are_taken_out(strip: dict[str, Any]) -> None:
    whole = replace(
        job(),
        coinbase_tx_prefix=bytes.fromhex(strip["prefix"]),
        coinbase_tx_suffix=bytes.fromhex(strip["suffix"]),
    )
    expected = strip["expected"] or strip
    jobs = channel()
    jobs.job(whole)
    work = jobs.new_tip(tip())
    draft = work.pattern.draft
    assert (draft.head + work.end).hex() == expected["prefix"] + "aabb"
    assert draft.coinbase2.hex() == expected["suffix"]
    assert work.coinbase_size == len(bytes.fromhex(expected["prefix"] + expected["suffix"])) + 2


def test_a_coinbase_with_half_a_witness_makes_no_work() -> None:
    jobs = channel()
    with pytest.raises(UntranslatableJob, match="witness"):
        jobs.job(replace(job(), coinbase_tx_prefix=b"\2\0\0\0\0\1" + bytes(40)))


def test_a_job_that_is_not_future_starts_at_once_on_the_present_tip() -> None:
    jobs = channel()
    first = started(jobs)
    second = jobs.job(job(2, VECTOR["min_ntime"] + 30))
    assert second is not None
    assert (second.tip, second.ntime) == (first.tip, VECTOR["min_ntime"] + 30)


def test_a_new_target_holds_for_later_jobs_and_for_future_ones_only() -> None:
    jobs = channel(target=1000)
    first = started(jobs)
    jobs.job(job(3))
    jobs.target = 500
    second = jobs.job(job(2, VECTOR["min_ntime"]))
    assert second is not None
    third = jobs.new_tip(tip(3))
    assert (first.target, second.target, third.target) == (1000, 500, 500)


def test_work_of_a_target_that_no_hash_meets_has_the_hardest_target_that_a_difficulty_can_tell() -> None:
    jobs = channel(target=0)
    assert started(jobs).target == 1
    following = jobs.job(job(2, min_ntime=1_766_782_180))
    assert following is not None
    assert following.target == 1
    assert told_difficulty(following.target) > 1e60


def test_a_new_prefix_holds_for_later_jobs() -> None:
    jobs = channel()
    jobs.job(job(1))
    jobs.prefix = b"\xcc\xdd"
    jobs.job(job(2))
    assert jobs.new_tip(tip(1)).end.endswith(b"\xaa\xbb")


def test_a_tip_ends_every_other_future_job() -> None:
    jobs = channel()
    jobs.job(job(1))
    jobs.job(job(2))
    jobs.new_tip(tip(1))
    with pytest.raises(UntranslatableJob, match="names job 2"):
        jobs.new_tip(tip(2))


def test_a_job_to_start_at_once_needs_a_tip() -> None:
    with pytest.raises(UntranslatableJob, match="before any"):
        channel().job(job(1, 7))


def test_future_jobs_are_bounded() -> None:
    jobs = channel()
    for job_id in range(1, FUTURE_LIMIT + 2):
        jobs.job(job(job_id))
    with pytest.raises(UntranslatableJob):
        jobs.new_tip(tip(1))
    for job_id in range(1, FUTURE_LIMIT + 2):
        jobs.job(job(job_id))
    assert jobs.new_tip(tip(2)).job_id == 2


def test_a_channel_with_too_small_an_extranonce_gives_no_work() -> None:
    with pytest.raises(ExtranonceTooSmall):
        channel(size=3).job(job())


def test_what_channels_have_the_same_of_is_held_once() -> None:
    drafts = Drafts()
    first, second = (ChannelWork(Layout(2, 2), 4, prefix, 1000, drafts) for prefix in (b"\xaa", b"\xbb"))
    one, other = started(first), started(second)
    assert one.pattern is other.pattern
    assert one.pattern.prover is other.pattern.prover
    assert one.pattern.form is other.pattern.form
    assert one.end != other.end
    longer = replace(job(2), coinbase_tx_suffix=b"\0" + job().coinbase_tx_suffix)
    assert first.job(longer) is None
    assert first.new_tip(tip(2)).pattern is not one.pattern


def test_drafts_of_long_ago_are_forgotten() -> None:
    drafts = Drafts()
    jobs = [replace(job(), version=version) for version in range(DRAFT_LIMIT + 1)]
    first, *_ = [drafts.take(each)[0] for each in jobs]
    assert drafts.take(jobs[-1])[0] is drafts.take(jobs[-1])[0]
    assert drafts.take(jobs[0])[0] is not first


def test_work_repeats_other_work_if_only_its_job_its_time_or_its_target_differ() -> None:
    jobs = channel()
    first = started(jobs)
    jobs.target = 5
    again = jobs.job(job(7, VECTOR["min_ntime"] + 9))
    assert again is not None
    assert again.repeats(first)
    jobs.prefix = b"\xaa\xbc"
    other = jobs.job(job(8, VECTOR["min_ntime"]))
    assert other is not None
    assert not other.repeats(first)
    jobs.prefix = b"\xaa\xbb"
    jobs.job(job(9))
    on_another_tip = jobs.new_tip(replace(tip(9), prev_hash=bytes(32)))
    assert not on_another_tip.repeats(first)
    rolled = jobs.job(replace(job(10, VECTOR["min_ntime"]), version=VECTOR["version"] ^ 1))
    assert rolled is not None
    assert not rolled.repeats(on_another_tip)
