from unittest.mock import MagicMock, call

from roles.proxy.answers import Answers


def told(verdicts: MagicMock) -> list[tuple[int, int]]:
    return [each.args for each in verdicts.acknowledge.call_args_list]


def test_what_the_edge_accepts_is_told_at_once_where_nothing_older_waits() -> None:
    verdicts = MagicMock()
    answers = Answers(verdicts)
    answers.local(7, 16)
    assert told(verdicts) == [(7, 16)]
    assert not len(answers)


def test_what_the_edge_accepts_waits_for_the_upstreams_word_on_older_shares() -> None:
    verdicts = MagicMock()
    answers = Answers(verdicts)
    first, second = answers.forwarded(1), answers.forwarded(2)
    answers.local(3, 16)
    assert told(verdicts) == []
    answers.accepted(second, 16, 1.0)
    assert told(verdicts) == []
    answers.accepted(first, 16, 2.0)
    assert told(verdicts) == [(1, 16), (2, 16), (3, 16)]
    assert verdicts.count_accepted.call_count == 2


def test_refusals_and_lost_shares_leave_at_once_and_let_younger_ones_go() -> None:
    verdicts = MagicMock()
    answers = Answers(verdicts)
    first, second = answers.forwarded(1), answers.forwarded(1)
    answers.local(3, 16)
    answers.lost(second)
    assert verdicts.lost.call_args_list == [call(1)]
    assert told(verdicts) == []
    answers.refused(first, "stale-share", "upstream")
    assert verdicts.refused.call_args_list == [call(1, "stale-share", "upstream")]
    assert told(verdicts) == [(3, 16)]
