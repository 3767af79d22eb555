import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roles.stratum.pace import Pace
from roles.stratum.replies import OrderedReplies


def test_answers_leave_in_the_order_of_requests_and_in_one_write_where_they_can() -> None:
    written: list[list[bytes]] = []
    replies = OrderedReplies(written.append, 10)
    first, second, third = (replies.take(b"%d" % n) for n in range(3))
    replies.fill(third, b"3")
    replies.fill(second, b"2")
    assert written == []
    replies.fill(first, b"1")
    assert written == [[b"1", b"2", b"3"]]
    replies.answer(b"4", b"4")
    assert written[1:] == [[b"4"]]
    assert len(replies) == 0


def test_a_place_that_has_an_answer_keeps_it() -> None:
    written: list[list[bytes]] = []
    replies = OrderedReplies(written.append, 10)
    place = replies.take(b"1")
    replies.fill(place, b"no verdict")
    replies.fill(place, b"a late one")
    assert written == [[b"no verdict"]]


@settings(max_examples=200, deadline=None)
@given(st.permutations(range(8)))
def test_any_order_of_verdicts_gives_the_order_of_requests(order: list[int]) -> None:
    written: list[bytes] = []
    replies = OrderedReplies(written.extend, 10)
    places = [replies.take(b"%d" % n) for n in range(8)]
    for number in order:
        replies.fill(places[number], b"%d" % number)
    assert written == [b"%d" % n for n in range(8)]


def test_who_reads_requests_waits_while_too_many_are_open() -> None:
    replies = OrderedReplies(lambda lines: None, 2)
    room: list[bool] = []
    first = replies.take(b"1")
    assert not replies.is_full(lambda: room.append(True))
    second = replies.take(b"2")
    assert replies.is_full(lambda: room.append(True))
    replies.fill(second, b"x")
    assert not room
    replies.fill(first, b"x")
    assert room == [True]
    assert not replies.is_full(lambda: room.append(True))
    assert room == [True]


def test_a_pace_lets_a_burst_through_and_then_its_rate() -> None:
    pace = Pace(rate=2.0, burst=4.0, now=100.0)
    assert [pace.take(100.0) for _ in range(4)] == [0.0] * 4
    assert pace.take(100.0) == pytest.approx(0.5)
    assert pace.take(101.0) == 0.0
    assert [pace.take(1000.0) for _ in range(5)][3:] == [0.0, pytest.approx(0.5)]
