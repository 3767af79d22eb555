from pathlib import Path

import pytest

from benchmarks import store


async def test_a_store_of_years_is_compared_with_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "REPEATS", 2)
    figures = await store.measure(tmp_path, 0.00001)
    assert figures["scale"] == 0.00001
    ratios = figures["ratio"]
    assert isinstance(ratios, dict)
    assert figures["worst_ratio"] == max(ratios.values())
    assert {"quote", "mint8", "credit8", "restore100"} <= set(ratios)
