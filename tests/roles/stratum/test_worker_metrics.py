from prometheus_client import CollectorRegistry

from roles.stratum.tally import Tally
from roles.stratum.work_rate import WorkRate
from roles.stratum.worker_metrics import Worker, WorkerMetrics


def worker(name: str, shares: int, hashes: float = 100.0) -> Worker:
    tally = Tally(rate=WorkRate(0.0))
    for second in range(shares):
        tally.credit(hashes, float(second))
    tally.rejected["stale"] = 2
    return Worker(name, tally, hashes)


def registry(most: int, *workers: Worker) -> CollectorRegistry:
    made = CollectorRegistry()
    made.register(WorkerMetrics("hashpool_x", lambda: workers, lambda: 50.0, most))
    return made


def test_those_with_most_work_have_a_name_and_the_rest_is_one() -> None:
    told = registry(2, worker("a", 10), worker("b", 1), worker("c", 20), worker("b", 30), worker("d", 5))
    count = told.get_sample_value
    assert count("hashpool_x_miner_shares_total", {"miner": "b", "result": "accepted"}) == 31
    assert count("hashpool_x_miner_shares_total", {"miner": "c", "result": "accepted"}) == 20
    assert count("hashpool_x_miner_shares_total", {"miner": "a", "result": "accepted"}) is None
    assert count("hashpool_x_miner_shares_total", {"miner": "other", "result": "accepted"}) == 15
    assert count("hashpool_x_miner_shares_total", {"miner": "other", "result": "rejected"}) == 4
    assert count("hashpool_x_miner_connections", {"miner": "b"}) == 2
    assert count("hashpool_x_miner_hashrate", {"miner": "b"}) == 3_100 / 50
    assert count("hashpool_x_miner_hashrate", {"miner": "other"}) is None


def test_no_worker_is_named_where_none_is_wanted() -> None:
    assert list(registry(0, worker("a", 1)).collect()) == []


def test_a_name_of_control_characters_is_a_label_like_others() -> None:
    told = registry(5, worker("\x1b[2J\n" + "x" * 100, 1))
    [label] = {sample.labels["miner"] for family in told.collect() for sample in family.samples}
    assert label == "?[2J?" + "x" * 59
