import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from roles.runtime.tally import Counts, Level, Spread, Spreads, Tally


def test_a_tally_is_told_as_a_counter() -> None:
    registry = CollectorRegistry()
    tally = Tally("hashpool_apples", "Apples.", registry=registry)
    tally.inc()
    tally.inc((1 << 60) + 1)
    told = generate_latest(registry).decode()
    assert "# TYPE hashpool_apples_total counter" in told
    assert tally.value == (1 << 60) + 2
    assert f"hashpool_apples_total {float(tally.value)}" in told


def test_a_level_is_told_as_a_gauge() -> None:
    registry = CollectorRegistry()
    level = Level("hashpool_apples_waiting", "Apples.", registry=registry)
    level.value += 3
    level.value -= 2
    told = generate_latest(registry).decode()
    assert "# TYPE hashpool_apples_waiting gauge" in told
    assert "hashpool_apples_waiting 1.0" in told


def test_counts_are_told_as_a_counter_with_labels() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts = Counts("hashpool_fruit", "Fruit.", ["kind", "colour"], registry=ours)
    counter = Counter("hashpool_fruit", "Fruit.", ["kind", "colour"], registry=theirs)
    for each in (counts, counter):
        each.labels("apple", "red").inc()
        each.labels("apple", "green").inc(4)
        each.labels("apple", "red").inc(2)
    told = generate_latest(theirs).decode().splitlines()
    assert generate_latest(ours).decode().splitlines() == [line for line in told if "_created" not in line]
    assert ours.get_sample_value("hashpool_fruit_total", {"kind": "apple", "colour": "red"}) == 3


@pytest.mark.parametrize("amounts", [[], [0.0, 0.5, 0.50001, 1, 1.5, 30, 31.25]])
def test_a_spread_is_told_as_a_histogram(amounts: list[float]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    buckets = (0.5, 1, 30)
    spread = Spread("hashpool_seconds", "Seconds.", buckets=buckets, registry=ours)
    histogram = Histogram("hashpool_seconds", "Seconds.", buckets=buckets, registry=theirs)
    for amount in amounts:
        spread.observe(amount)
        histogram.observe(amount)
    told = generate_latest(theirs).decode().splitlines()
    assert generate_latest(ours).decode().splitlines() == [line for line in told if "_created" not in line]


def test_spreads_are_told_as_a_histogram_with_labels() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    buckets = (0.5, 1, 30)
    spreads = Spreads("hashpool_seconds", "Seconds.", ["kind"], buckets=buckets, registry=ours)
    histogram = Histogram("hashpool_seconds", "Seconds.", ["kind"], buckets=buckets, registry=theirs)
    for each in (spreads, histogram):
        each.labels("apple").observe(0.75)
        each.labels("pear").observe(31)
        each.labels("apple").observe(2)
    told = generate_latest(theirs).decode().splitlines()
    assert generate_latest(ours).decode().splitlines() == [line for line in told if "_created" not in line]
    assert ours.get_sample_value("hashpool_seconds_count", {"kind": "apple"}) == 2
