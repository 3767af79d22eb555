from typing import Any

import pytest

from protocols.mining.announcement import Announcement
from protocols.mining.group import Group
from protocols.sv2.codec import encode
from protocols.sv2.mining import NewExtendedMiningJob


@pytest.mark.parametrize("group_id", [1, 0xFFFFFFFF])
def test_an_announced_job_is_what_the_group_says_itself(make_work: Any, make_tip: Any, group_id: int) -> None:
    work, tip = make_work(1), make_tip()
    spoken, silent = Group(group_id), Group(group_id)
    for _ in range(3):
        frames = Announcement(work, tip, future=True).frames(group_id, silent.turn(work, tip).job_id)
        assert frames == [encode(message) for message in spoken.begin(work, tip)]
        frames = Announcement(work, tip, future=False).frames(group_id, silent.extend(work, tip).job_id)
        assert frames == [encode(spoken.follow(work, tip))]
    assert silent.jobs.active is not None
    assert spoken.jobs.active is not None
    assert silent.jobs.active.job_id == spoken.jobs.active.job_id


def test_time_and_rolling_of_a_job_may_be_another_servers(make_work: Any, make_tip: Any) -> None:
    work, tip = make_work(0), make_tip()
    made = Announcement(work, tip, future=False, min_ntime=tip.min_ntime + 5, version_rolling=False)
    job = NewExtendedMiningJob(
        7, 3, tip.min_ntime + 5, work.version, False, work.merkle_path, work.prefix, work.suffix
    )
    assert made.frames(7, 3) == [encode(job)]
