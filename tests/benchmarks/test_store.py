import argparse
from pathlib import Path

from benchmarks import store


async def test_a_store_of_years_is_compared_with_an_empty_one(tmp_path: Path) -> None:
    options = argparse.Namespace(state=tmp_path, scale=0.0001, rounds=1, each=2, keep=None)
    figures = await store.measure(options)
    requests = figures["requests"]
    assert isinstance(requests, dict)
    assert {"quote", "look_issued", "look_nowhere", "mint8", "swap8", "credit100"} <= set(requests)
    worst = max(max(each["ratio_ms"], each["ratio_us"]) for each in requests.values())
    assert figures["worst_ratio"] == worst
