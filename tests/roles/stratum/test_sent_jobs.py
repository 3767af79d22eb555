import pytest

from protocols.sv1.errors import Rejection
from protocols.translation.verdict import rejection
from protocols.translation.work import Draft, Tip, Work
from roles.stratum.sent_jobs import JOB_LIMIT, SEEN_LIMIT, SentJobs
from roles.stratum.tally import Tally, reason

WORK = Work(1, Draft(0, (), b"", b"").on(Tip(bytes(32), 0, 0)), 0, b"", b"", 1)


def refusal(jobs: SentJobs, job_id: str) -> tuple[int, str]:
    with pytest.raises(Rejection) as caught:
        jobs.find(job_id)
    return caught.value.code, caught.value.text


def test_a_job_counts_until_clean_work_and_is_stale_from_then_on() -> None:
    jobs = SentJobs()
    first = jobs.add(WORK, 1, clean=True)
    second = jobs.add(WORK, 1, clean=False)
    assert jobs.find(first).work is jobs.find(second).work is WORK
    third = jobs.add(WORK, 1, clean=True)
    assert [first, second, third] == ["1", "2", "3"]
    assert refusal(jobs, first) == refusal(jobs, second) == (21, "Stale")


@pytest.mark.parametrize("job_id", ["", "0", "4", "x", "-1", "1 ", "f" * 17, "0x1"])
def test_a_job_that_was_never_sent_is_not_found(job_id: str) -> None:
    jobs = SentJobs()
    for _ in range(3):
        jobs.add(WORK, 1, clean=True)
    assert refusal(jobs, job_id) == (21, "Job not found")


def test_the_last_jobs_count_however_many_come() -> None:
    jobs = SentJobs()
    ids = [jobs.add(WORK, 1, clean=False) for _ in range(JOB_LIMIT + 3)]
    assert list(jobs) == ids[3:]
    assert JOB_LIMIT >= 16
    assert refusal(jobs, ids[2]) == (21, "Stale")


def test_a_share_is_taken_once_on_a_tip() -> None:
    jobs = SentJobs()
    jobs.remember(b"a")
    with pytest.raises(Rejection, match="Duplicate share"):
        jobs.remember(b"a")
    jobs.add(WORK, 1, clean=True)
    jobs.remember(b"a")


def test_a_share_without_a_verdict_may_come_again() -> None:
    jobs = SentJobs()
    jobs.remember(b"a")
    jobs.forget(b"a")
    jobs.remember(b"a")
    jobs.forget(b"never")


def test_the_memory_of_shares_is_bounded() -> None:
    jobs = SentJobs()
    shares = [number.to_bytes(4, "big") for number in range(2 * SEEN_LIMIT)]
    for share in shares:
        assert jobs.take_new(share)
    assert not any(map(jobs.take_new, shares[-SEEN_LIMIT:]))
    with pytest.raises(Rejection):
        jobs.remember(shares[-SEEN_LIMIT])
    assert not jobs.remember(shares[0])


def test_reasons_are_few_and_a_tally_adds_up() -> None:
    codes = ["stale-share", "invalid-job-id", "duplicate-share", "difficulty-too-low", "new" * 50]
    assert [reason(rejection(code)) for code in codes] == [
        "stale",
        "unknown-job",
        "duplicate",
        "low",
        "invalid",
    ]
    tally = Tally(accepted=3, local=1, unknown=2)
    tally.rejected["stale"] += 4
    assert tally.total == 10


def test_after_a_reconnection_each_share_may_come_once_more() -> None:
    jobs = SentJobs()
    jobs.add(WORK, 1, clean=True)
    assert not jobs.remember(b"accepted")
    jobs.accepted(b"accepted")
    assert not jobs.remember(b"unheard")
    jobs.reconnected()
    assert not jobs.remember(b"unheard")
    assert jobs.remember(b"accepted")
    for share in (b"accepted", b"unheard"):
        with pytest.raises(Rejection):
            jobs.remember(share)
    jobs.reconnected()
    assert jobs.remember(b"accepted")
    jobs.reconnected()
    jobs.add(WORK, 1, clean=True)
    assert not jobs.remember(b"accepted")


def test_what_was_accepted_before_reconnections_is_bounded() -> None:
    jobs = SentJobs()
    for number in range(SEEN_LIMIT + 5):
        share = number.to_bytes(4, "big")
        assert not jobs.remember(share)
        jobs.accepted(share)
        jobs.reconnected()
    assert not jobs.remember(bytes(4))
    assert jobs.remember((SEEN_LIMIT + 4).to_bytes(4, "big"))
    jobs.accepted(b"never seen")
    assert not jobs.remember(b"never seen")
