"""Clients that wait for each answer, and the figures of their rounds."""

import pytest

from benchmarks.closed_loop import OperationFailed, Round, drive, percentile, summary
from roles.cli.bench import table


async def test_every_operation_is_carried_out_once_and_failures_are_counted() -> None:
    done: list[int] = []

    async def act(number: int) -> None:
        done.append(number)
        if number % 5 == 0:
            raise OperationFailed("a fifth fails")

    measured = await drive(3, range(20), act)
    assert sorted(done) == list(range(20))
    assert (len(measured.latencies), measured.failed) == (16, 4)


def test_the_summary_is_of_medians_and_of_all_latencies() -> None:
    rounds = [
        Round(1.0, 0.1, [0.01] * 10),
        Round(2.0, 0.4, [0.02] * 10),
        Round(4.0, 0.2, [0.03] * 10, failed=1),
    ]
    told = summary(rounds)
    assert (told.per_second, told.succeeded, told.failed) == (5.0, 30, 1)
    assert told.cpu_ms == pytest.approx(20.0)
    assert told.p99_ms == pytest.approx(30.0)


def test_a_round_without_a_success_has_figures_too() -> None:
    told = summary([Round(failed=3)])
    assert (told.per_second, told.p99_ms, told.failed) == (0.0, 0.0, 3)
    assert percentile([0.5], 99) == 0.5


def test_people_get_a_line_for_each_figure() -> None:
    assert table("mint", {"clients": {"1": {"failed": 0}}, "loop": "uvloop"}).splitlines() == [
        "mint",
        "  clients.1.failed  0",
        "  loop              uvloop",
    ]
