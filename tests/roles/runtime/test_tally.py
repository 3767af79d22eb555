from prometheus_client import CollectorRegistry, generate_latest

from roles.runtime.tally import Tally


def test_a_tally_is_told_as_a_counter() -> None:
    registry = CollectorRegistry()
    tally = Tally("hashpool_apples", "Apples.", registry=registry)
    tally.inc()
    tally.inc((1 << 60) + 1)
    told = generate_latest(registry).decode()
    assert "# TYPE hashpool_apples_total counter" in told
    assert tally.value == (1 << 60) + 2
    assert f"hashpool_apples_total {float(tally.value)}" in told
