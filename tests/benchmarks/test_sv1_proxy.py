"""The benchmark of sv1_proxy at tiny counts: that it runs, and what it tells."""

from pathlib import Path

import orjson
import pytest

from benchmarks import miner_load, sv1_proxy
from roles.cli.__main__ import main


@pytest.mark.functional
def test_the_benchmark_of_sv1_proxy_tells_what_each_instance_costs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sv1_proxy, "TIPS", 1)
    monkeypatch.setattr(miner_load, "TIP_S", 0.2)
    few = ["--miners", "3", "--seconds", "1", "--period", "0.2", "--state", str(tmp_path)]
    assert main(["bench", "sv1_proxy", "--json", *few]) == 0
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    wanted = {"miner_side_us_per_share", "pool_side_us_per_share", "miner_side_kib_per_miner", "load"}
    assert set(figures) >= wanted
    assert figures["miners"] == 3
    assert not list(tmp_path.iterdir())
