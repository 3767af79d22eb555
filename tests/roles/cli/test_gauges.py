"""Counters are added up across a daemon's restarts."""

from roles.cli.gauges import Gauges


def text(**samples: float) -> str:
    return "".join(
        f'# TYPE shares counter\nshares_total{{reason="{reason}"}} {value}\n'
        for reason, value in samples.items()
    )


def test_what_a_counter_had_counted_before_the_first_look_counts() -> None:
    gauges = Gauges()
    gauges.take("pool", text(stale=5))
    gauges.take("pool", text(stale=7))
    assert gauges.grown("pool", "shares_total") == 7


def test_a_counter_that_starts_again_at_zero_keeps_what_it_had_counted() -> None:
    gauges = Gauges()
    gauges.take("pool", text(stale=5))
    gauges.take("pool", text(stale=9))
    gauges.take("pool", text(stale=3))
    assert gauges.grown("pool", "shares_total") == 12


def test_a_label_that_appears_later_counts_in_full() -> None:
    gauges = Gauges()
    gauges.take("pool", text(stale=5))
    gauges.take("pool", text(stale=5) + 'shares_total{reason="low"} 2\n')
    assert gauges.grown("pool", "shares_total", reason="low") == 2
    assert gauges.value("pool", "shares_total") == 7
