from typing import Any

import pytest

from protocols.bitcoin.target import MAX_TARGET, from_work
from protocols.mining.channel import Channel, ExtendedChannel, StandardChannel
from protocols.mining.share import extended_root
from protocols.sv2 import mining as m


def test_a_standard_channel_opens_with_its_whole_extranonce() -> None:
    channel = StandardChannel(2, b"\1\0\0\7", target=99, max_target=MAX_TARGET)
    assert channel.open_success(5, 1) == m.OpenStandardMiningChannelSuccess(
        5, 2, 99, b"\1\0\0\7" + bytes(16), 1
    )


def test_an_extended_channel_opens_with_16_bytes_to_roll() -> None:
    channel = ExtendedChannel(2, b"\1\0\0\7", target=99, max_target=MAX_TARGET, key=b"k")
    assert channel.open_success(5, 1) == m.OpenExtendedMiningChannelSuccess(5, 2, 99, 16, b"\1\0\0\7", 1)
    assert channel.key == b"k"


def test_a_tip_comes_as_a_future_job_and_its_activation(make_work: Any, make_tip: Any) -> None:
    tip, path = make_tip(), (b"\5" * 32,)
    work = make_work(merkle_path=path)
    extended = ExtendedChannel(2, b"\1\0\0\7", target=99, max_target=MAX_TARGET)
    job, activation = extended.begin(work, tip)
    assert job == m.NewExtendedMiningJob(2, 1, None, work.version, True, path, work.prefix, work.suffix)
    assert activation == m.SetNewPrevHash(2, 1, tip.previous, tip.min_ntime, tip.bits)
    standard = StandardChannel(3, b"\1\0\0\7", target=99, max_target=MAX_TARGET)
    job, activation = standard.begin(work, tip)
    assert job == m.NewMiningJob(3, 1, None, work.version, extended_root(work, b"\1\0\0\7" + bytes(16)))
    assert activation == m.SetNewPrevHash(3, 1, tip.previous, tip.min_ntime, tip.bits)


def test_later_work_of_a_tip_starts_at_once(channel: Channel, make_work: Any) -> None:
    tip = channel.jobs.active and channel.jobs.active.tip
    assert tip
    job = channel.follow(make_work(2))
    assert isinstance(job, m.NewMiningJob | m.NewExtendedMiningJob)
    assert (job.job_id, job.min_ntime) == (2, tip.min_ntime)


def test_no_later_work_without_a_tip(make_work: Any) -> None:
    channel = ExtendedChannel(2, b"\1\0\0\7", target=99, max_target=MAX_TARGET)
    with pytest.raises(RuntimeError):
        channel.follow(make_work())


def test_a_new_target_needs_work_of_its_own_revision(channel: Channel, make_work: Any) -> None:
    assert channel.retarget(from_work(128)) == m.SetTarget(2, from_work(128))
    with pytest.raises(ValueError, match="revision"):
        channel.follow(make_work(1))
    before = channel.jobs.active
    channel.follow(make_work(1, revision=1))
    after = channel.jobs.active
    assert before
    assert after
    assert (before.target, after.target) == (from_work(64), from_work(128))
    assert before.work.prefix != after.work.prefix


def test_a_channel_that_is_resumed_goes_on_with_its_jobs_under_the_targets_that_they_had(
    channel: Channel, make_work: Any, make_tip: Any
) -> None:
    tip = make_tip()
    channel.retarget(from_work(128))
    channel.follow(make_work(1, revision=1))
    old = [channel.find(1), channel.find(2)]
    again = type(channel)(5, channel.prefix, target=1, max_target=MAX_TARGET)
    targets = [(0, from_work(64)), (channel.since, channel.target)]
    assert again.resume(targets, old, 7)
    assert (again.target, again.since, again.revision) == (from_work(128), 1, 2)
    assert [again.find(job.job_id).target for job in old] == [from_work(64), from_work(128)]
    job, activation = again.go_on(make_work(1, revision=2), tip)
    assert isinstance(job, m.NewMiningJob | m.NewExtendedMiningJob)
    assert (job.job_id, job.min_ntime) == (8, None)
    assert activation == m.SetNewPrevHash(5, 8, tip.previous, tip.min_ntime, tip.bits)
    assert again.find(1).work == old[0].work
    assert again.retarget(from_work(256)) == m.SetTarget(5, from_work(256))
    assert again.revision == 3


def test_a_channel_of_whose_jobs_no_target_is_known_is_not_resumed(channel: Channel) -> None:
    again = type(channel)(5, channel.prefix, target=1, max_target=MAX_TARGET)
    assert not again.resume([(3, from_work(128))], [channel.find(1)], 1)
