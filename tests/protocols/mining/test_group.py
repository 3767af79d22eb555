"""Channels that are addressed together: the same bytes for all, and each under its own targets."""

from typing import Any

import pytest

from protocols.bitcoin.target import MAX_TARGET, from_work
from protocols.mining.channel import MAX_VIEWS, Channel, ExtendedChannel, StandardChannel
from protocols.mining.errors import StaleShare, UnknownJob
from protocols.mining.group import Group
from protocols.mining.job import MAX_PAST
from protocols.mining.share import extended_root
from protocols.sv2 import mining as m

EASY, HARD = from_work(64), from_work(128)


@pytest.fixture
def group() -> Group:
    return Group(1)


@pytest.fixture
def members(group: Group, make_work: Any, make_tip: Any) -> list[Channel]:
    """An extended and a standard channel, both at work."""
    kinds = (ExtendedChannel, StandardChannel)
    made: list[Channel] = [
        kind(2 + number, bytes((1, 0, 0, number)), target=EASY, max_target=MAX_TARGET, group=group)
        for number, kind in enumerate(kinds)
    ]
    for member in made:
        member.begin(make_work(), make_tip())
        group.join(member)
    return made


def test_job_ids_are_unique_on_the_connection(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    shared = group.follow(make_work(2), make_tip())
    own = members[0].follow(make_work(3))
    assert isinstance(own, m.NewExtendedMiningJob)
    assert (shared.job_id, own.job_id) == (3, 4)


def test_work_for_the_group_is_one_message_to_its_id_and_starts_at_once(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    tip, path = make_tip(), (b"\5" * 32,)
    work = make_work(2, merkle_path=path)
    assert group.follow(work, tip) == m.NewExtendedMiningJob(
        1, 3, tip.min_ntime, work.version, True, path, work.prefix, work.suffix
    )
    for member in members:
        job = member.find(3)
        assert (job.work, job.tip, job.target) == (work, tip, EASY)
        assert member.find(3) is job
    assert members[0].find(3).root is None
    assert members[1].find(3).root == extended_root(work, bytes((1, 0, 0, 1)) + bytes(16))
    # What came before is good until the tip changes.
    assert members[0].find(1).target == EASY


def test_a_tip_for_the_group_is_a_future_job_and_its_activation_and_makes_all_before_stale(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    group.follow(make_work(2), make_tip())
    tip, work = make_tip(2), make_work(3)
    job, activation = group.begin(work, tip)
    assert job == m.NewExtendedMiningJob(1, 4, None, work.version, True, (), work.prefix, work.suffix)
    assert activation == m.SetNewPrevHash(1, 4, tip.previous, tip.min_ntime, tip.bits)
    for number, member in enumerate(members):
        for stale in (1 + number, 3):
            with pytest.raises(StaleShare):
                member.find(stale)
        assert member.find(4).tip is tip
        # Work of its own continues on the group's tip.
        member.follow(make_work(4))
        assert member.jobs.active
        assert member.jobs.active.tip is tip
    group.begin(make_work(5), make_tip(3))
    with pytest.raises(UnknownJob):
        members[0].find(3)


def test_a_tip_without_work_leaves_the_group_nothing(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    group.follow(make_work(2), make_tip())
    group.retire()
    for stale in (1, 3):
        with pytest.raises(StaleShare):
            members[0].find(stale)
    with pytest.raises(RuntimeError):
        members[0].follow(make_work(3))


def test_shares_seen_on_the_tip_before_are_forgotten(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any, mine: Any
) -> None:
    for member in members:
        mine(member)
        assert len(member.seen) == 1
    group.begin(make_work(2), make_tip(2))
    assert [len(member.seen) for member in members] == [0, 0]


def test_a_new_target_of_one_member_leaves_the_others_and_all_earlier_work_alone(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    changed, other = members
    tip = make_tip()
    group.follow(make_work(2), tip)
    assert changed.retarget(HARD) == m.SetTarget(2, HARD)
    assert group.revision == 1
    own = changed.follow(make_work(2, revision=1))
    assert isinstance(own, m.NewExtendedMiningJob)
    group.follow(make_work(2, revision=1), tip)
    assert [changed.find(each).target for each in (1, 3, own.job_id, 5)] == [EASY, EASY, HARD, HARD]
    assert [other.find(each).target for each in (2, 3, 5)] == [EASY, EASY, EASY]
    assert changed.find(3).work.prefix != changed.find(5).work.prefix
    # Another tip keeps the target.
    group.begin(make_work(3, revision=1), make_tip(2))
    assert (changed.find(6).target, other.find(6).target) == (HARD, EASY)


def test_members_that_change_before_the_group_has_other_work_share_a_revision(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    for member in members:
        member.retarget(HARD)
        member.follow(make_work(1, revision=1))
    assert group.revision == 1
    # One that has had work of the present revision needs the next.
    members[0].retarget(EASY)
    assert group.revision == 2


def test_of_two_targets_without_work_between_them_only_the_last_counts(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    members[0].retarget(from_work(999))
    members[0].retarget(HARD)
    assert group.revision == 1
    group.follow(make_work(1, revision=1), make_tip())
    assert members[0].find(3).target == HARD


def test_work_of_another_revision_is_not_for_the_group(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    group.revise()
    with pytest.raises(ValueError, match="revision"):
        group.follow(make_work(1), make_tip())
    with pytest.raises(ValueError, match="revision"):
        group.begin(make_work(1), make_tip())


def test_a_member_does_not_know_what_went_to_the_group_under_targets_before_its_first(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    group.follow(make_work(2), make_tip())
    members[0].retarget(HARD)
    late = ExtendedChannel(9, b"\1\0\0\x09", target=EASY, max_target=MAX_TARGET, group=group)
    late.begin(make_work(2, revision=1), make_tip())
    group.join(late)
    with pytest.raises(UnknownJob):
        late.find(3)


def test_a_channel_that_has_left_hears_of_no_tip(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    left, stayed = members
    group.leave(left)
    group.leave(left)
    group.begin(make_work(2), make_tip(2))
    assert left.jobs.active is not None
    assert stayed.jobs.active is None


def test_what_a_member_remembers_is_bounded(
    group: Group, members: list[Channel], make_work: Any, make_tip: Any
) -> None:
    member, tip = members[0], make_tip()
    jobs = [group.follow(make_work(number), tip) for number in range(MAX_VIEWS + 3)]
    for job in jobs:
        assert member.find(job.job_id).target == EASY
    assert len(member._views) == MAX_VIEWS
    for _ in range(MAX_PAST):
        member.retarget(HARD)
        member.follow(make_work(1, revision=group.revision))
    assert len(member._earlier) == MAX_PAST - 1
    # Its target is forgotten, so that the job is no longer known; the view made before has gone, too.
    with pytest.raises(UnknownJob):
        member.find(jobs[0].job_id)
