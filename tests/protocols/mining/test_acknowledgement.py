import pytest

from protocols.mining.acknowledgement import Acknowledgements


def test_ten_shares_are_answered_at_once_with_the_difficulty_of_that_batch() -> None:
    batch = Acknowledgements(7)
    one = (1 << 48) // 65535 + 1
    for number in range(1, 10):
        assert batch.add(number, one) is None
    assert batch.add(10, one) == (7, 10, 10, 10)
    assert batch.flush() is None


def test_shares_of_one_moment_are_answered_together_when_they_fill_a_batch() -> None:
    batch = Acknowledgements(7)
    one = (1 << 48) // 65535 + 1
    assert batch.add(3, 3 * one, 3) is None
    assert batch.add(40, 37 * one, 37) == (7, 40, 40, 40)


def test_what_waits_is_answered_on_demand_and_counted_afresh() -> None:
    batch = Acknowledgements(7)
    assert batch.flush() is None
    batch.add(4, 1 << 16)
    batch.add(6, 0)
    assert batch.flush() == (7, 6, 2, 0)
    batch.add(8, 3 << 32)
    assert batch.flush() == (7, 8, 1, 2)


@pytest.mark.parametrize("size", [1, 3])
def test_the_size_of_a_batch_can_be_chosen(size: int) -> None:
    batch = Acknowledgements(7, size)
    answers = [batch.add(number, 1) for number in range(size)]
    assert answers[-1] is not None
    assert answers[:-1] == [None] * (size - 1)


def test_a_sum_beyond_64_bits_is_capped() -> None:
    batch = Acknowledgements(7)
    batch.add(1, 1 << 200)
    assert batch.flush() == (7, 1, 1, (1 << 64) - 1)
