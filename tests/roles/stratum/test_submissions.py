from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.stratum.errors import SubmissionsFull
from roles.stratum.submissions import ACCEPTED, LOST, Outcome, Submissions, Verdict


class Record:
    """Submissions, and what each share was told."""

    def __init__(self, limit: int = 100) -> None:
        self.submissions = Submissions(limit)
        self.told: dict[int, list[Verdict]] = {}

    def add(self, now: float = 0.0) -> int:
        told: list[Verdict] = []
        sequence = self.submissions.add(now, told.append)
        self.told[sequence] = told
        return sequence


def test_a_success_settles_the_oldest_up_to_its_last_number() -> None:
    record = Record()
    for _ in range(4):
        record.add()
    assert record.submissions.accepted(3, 3)
    assert record.told == {1: [ACCEPTED], 2: [ACCEPTED], 3: [ACCEPTED], 4: []}


def test_an_error_settles_its_own_and_the_next_success_counts_without_it() -> None:
    record = Record()
    for _ in range(3):
        record.add()
    assert record.submissions.refused(2, "stale-share")
    assert record.submissions.accepted(3, 2)
    assert record.told == {1: [ACCEPTED], 2: [Verdict(Outcome.REFUSED, "stale-share")], 3: [ACCEPTED]}


def test_a_proxy_that_knows_no_verdict_loses_a_share_and_refuses_none() -> None:
    record = Record()
    record.add()
    assert record.submissions.refused(1, "no-verdict")
    assert record.told == {1: [LOST]}


@pytest.mark.parametrize(
    ("last", "count", "settled"), [(3, 4, 3), (3, 2, 2), (9, 3, 3), (0, 1, 0), (2, 3, 2)]
)
def test_a_count_that_does_not_fit_is_reported_and_nothing_is_guessed(
    last: int, count: int, settled: int
) -> None:
    record = Record()
    for _ in range(3):
        record.add()
    assert record.submissions.accepted(last, count) is (last == 9)
    assert sum(told == [ACCEPTED] for told in record.told.values()) == settled
    assert len(record.submissions) == 3 - settled


def test_an_error_for_no_open_share_is_reported() -> None:
    record = Record()
    record.add()
    assert record.submissions.accepted(1, 1)
    assert not record.submissions.refused(1, "stale-share")
    assert record.told == {1: [ACCEPTED]}


def test_loss_settles_everything_and_starts_the_numbers_anew() -> None:
    record = Record()
    record.add()
    record.add()
    record.submissions.lose()
    assert record.told == {1: [LOST], 2: [LOST]}
    assert record.submissions.oldest is None
    assert record.add() == 1


def test_no_more_shares_than_the_limit_wait() -> None:
    record = Record(limit=2)
    record.add()
    record.add()
    with pytest.raises(SubmissionsFull):
        record.add()
    record.submissions.refused(1, "x")
    assert record.add() == 3


def test_what_nobody_answers_expires() -> None:
    record = Record()
    for now in (1.0, 2.0, 3.0):
        record.add(now)
    assert record.submissions.expire(2.5) == 2
    assert record.told == {1: [LOST], 2: [LOST], 3: []}
    assert record.submissions.oldest == 3.0
    assert record.submissions.expire(9.0) == 1
    assert record.submissions.expire(9.0) == 0


def test_what_is_despaired_of_is_lost_to_who_asked_and_its_verdict_comes_late() -> None:
    record, late = Record(), list[Verdict]()
    record.submissions.despair(9.0, late.append)
    for now in (1.0, 2.0, 3.0):
        record.add(now)
    hear = late.append
    for _ in range(2):
        record.submissions.despair(2.5, hear)
    assert record.told == {1: [LOST], 2: [LOST], 3: []}
    assert len(record.submissions) == 3
    assert record.submissions.accepted(3, 3)
    assert record.told == {1: [LOST], 2: [LOST], 3: [ACCEPTED]}
    assert late == [ACCEPTED, ACCEPTED]


def test_shares_are_kept_in_their_order_so_that_they_can_be_sent_again() -> None:
    submissions = Submissions(10)
    assert (submissions.next, submissions.shares) == (1, [])
    for number in range(3):
        submissions.add(0.0, lambda _: None, (b"", bytes((number,))))
    assert submissions.accepted(1, 1)
    assert (submissions.next, submissions.shares) == (4, [(b"", b"\1"), (b"", b"\2")])


def test_sequence_numbers_wrap_without_losing_order() -> None:
    record = Record()
    record.submissions.next = 0xFFFFFFFF
    assert [record.add(), record.add(), record.add()] == [0xFFFFFFFF, 0, 1]
    assert record.submissions.accepted(0, 2)
    assert record.told == {0xFFFFFFFF: [ACCEPTED], 0: [ACCEPTED], 1: []}


steps = st.lists(
    st.one_of(
        st.just(("add", 0, 0)),
        st.tuples(st.just("ok"), st.integers(0, 12), st.integers(0, 5)),
        st.tuples(st.just("no"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("lose"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(steps)
def test_whatever_the_upstream_says_each_share_is_settled_at_most_once(
    script: list[tuple[str, int, int]],
) -> None:
    submissions = Submissions(8)
    told: list[list[Verdict]] = []
    act: dict[str, Callable[[int, int], object]] = {
        "ok": submissions.accepted,
        "no": lambda a, _: submissions.refused(a, "code"),
        "lose": lambda *_: submissions.lose(),
    }
    for name, a, b in script:
        if name != "add":
            act[name](a, b)
        elif len(submissions) < 8:
            told.append([])
            submissions.add(0.0, told[-1].append)
    submissions.lose()
    assert all(len(verdicts) == 1 for verdicts in told)
