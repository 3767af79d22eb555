from dataclasses import replace
from fractions import Fraction
from itertools import count

import pytest

from protocols.bitcoin.hashing import sha256d
from protocols.bitcoin.header import Header
from protocols.bitcoin.merkle import root_from_path
from protocols.bitcoin.target import DIFFICULTY_ONE, from_bits
from protocols.sv1.notifications import Notify
from protocols.sv1.requests import Submit
from protocols.sv1.results import Subscription
from protocols.translation.errors import ExtranonceTooSmall
from protocols.translation.extranonce import Layout
from protocols.translation.share import judge
from protocols.translation.upstream_job import DRAFT_LIMIT, WORKS_KEPT, UpstreamJob, UpstreamJobs

NOTIFY = Notify(
    "abc", b"\x07" * 32, b"\x01" * 60, b"\x02" * 40, (b"\x11" * 32, b"\x22" * 32), 0x20000000, 0x207FFFFF,
    1_700_000_000, True,
)  # fmt: skip
GRANTED = Subscription(b"\xaa\xbb\xcc\xdd", 8, "session")
MASK = 0x1FFFE000


def jobs() -> UpstreamJobs:
    return UpstreamJobs(count(1).__next__)


def take(
    maker: UpstreamJobs, notify: Notify = NOTIFY, granted: Subscription = GRANTED, mask: int = MASK
) -> UpstreamJob:
    return maker.take(notify, granted, mask=mask, difficulty=Fraction(16), serial=1)


def test_a_miners_share_is_the_header_that_the_pool_will_make_of_the_submit() -> None:
    job, layout = take(jobs()), Layout(2, 4)
    work = job.work(layout, (1 << 256) - 1)
    share = judge(
        Submit("x", "1", b"\x05\x06", NOTIFY.ntime + 1, 77, 0x2000),
        work,
        layout=layout,
        extranonce1=b"\x01\x02\x03\x04",
        mask=MASK,
        miner_target=0,
        now=NOTIFY.ntime,
    )
    assert share.extranonce == b"\x00\x00" + b"\x01\x02\x03\x04" + b"\x05\x06"
    coinbase = NOTIFY.coinbase1 + GRANTED.extranonce1 + share.extranonce + NOTIFY.coinbase2
    root = root_from_path(sha256d(coinbase), NOTIFY.branches)
    header = Header(0x20002000, NOTIFY.previous, root, NOTIFY.ntime + 1, NOTIFY.bits, 77)
    assert share.share_hash == header.hash()
    assert job.version_bits(share.version) == 0x2000
    assert job.clean
    assert work.job_id == job.number == 1


def test_work_has_the_pools_target_unless_another_is_named_and_is_held_once() -> None:
    job, layout = take(jobs()), Layout(4)
    assert job.target == job.work(layout).target == DIFFICULTY_ONE // 16
    assert job.work(layout) is job.work(layout)
    assert job.work(layout, 0).target == 1
    for target in range(1, 2 * WORKS_KEPT):
        assert job.work(layout, target).target == target
    assert job.work(layout, 9_999) is not job.work(layout, 9_999)


def test_a_job_knows_the_target_of_a_block_where_its_bits_are_one() -> None:
    assert take(jobs()).block == from_bits(NOTIFY.bits)
    assert take(jobs(), replace(NOTIFY, bits=0)).block == 0


def test_a_layout_that_needs_more_than_the_pool_grants_has_no_work() -> None:
    with pytest.raises(ExtranonceTooSmall):
        take(jobs()).work(Layout(8))


def test_a_job_sent_again_is_the_same_work_under_another_number() -> None:
    maker = jobs()
    first = take(maker)
    again = take(maker, replace(NOTIFY, job_id="abd", ntime=NOTIFY.ntime + 30, clean=False))
    assert again.number == 2
    assert again.content == first.content
    assert again.work(Layout(4)).repeats(first.work(Layout(4)))


@pytest.mark.parametrize(
    "other",
    [
        replace(NOTIFY, previous=b"\x08" * 32),
        replace(NOTIFY, coinbase1=b"\x03" * 60),
        replace(NOTIFY, coinbase2=b"\x03" * 40),
        replace(NOTIFY, branches=NOTIFY.branches[:1]),
        replace(NOTIFY, bits=0x207FFFFE),
    ],
)
def test_work_that_differs_has_other_content(other: Notify) -> None:
    maker = jobs()
    assert take(maker, other).content != take(maker).content
    assert not take(maker, other).work(Layout(4)).repeats(take(maker).work(Layout(4)))


def test_another_extranonce_is_other_content_and_another_version_is_not() -> None:
    maker = jobs()
    assert take(maker, granted=Subscription(b"\xaa\xbb\xcc\xde", 8, "")).content != take(maker).content
    assert take(maker, replace(NOTIFY, version=0x30000000)).content == take(maker).content


def test_without_a_mask_no_version_bits_are_submitted_and_none_may_be_rolled() -> None:
    job = take(jobs(), mask=0)
    assert job.version_bits(0x20000000) is None
    assert job.work(Layout(4)).rollable == 0


def test_drafts_are_forgotten_when_there_are_many() -> None:
    maker = jobs()
    first = take(maker)
    for version in range(DRAFT_LIMIT):
        take(maker, replace(NOTIFY, version=version))
    assert take(maker).pattern is not first.pattern
