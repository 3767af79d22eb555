"""How long something took lately is told of the last times only, however they have come."""

import pytest

from roles.stratum.latencies import KEPT, Latencies


@pytest.mark.parametrize("at_once", [1, 7, KEPT - 1, KEPT, 5 * KEPT])
def test_only_the_last_times_count(at_once: int) -> None:
    latencies, times = Latencies(), [float(number) for number in range(5 * KEPT)]
    for start in range(0, len(times), at_once):
        few = times[start : start + at_once]
        if at_once == 1:
            latencies.add(few[0])
        else:
            latencies.add_all(few)
        told = latencies.quantiles(0.0, 1.0)
        assert told == [max(0.0, few[-1] - KEPT + 1), few[-1]]
    assert latencies.count == len(times)


def test_nothing_is_told_before_the_first() -> None:
    latencies = Latencies()
    latencies.add_all([])
    assert (latencies.quantiles(0.5), latencies.count) == (None, 0)
