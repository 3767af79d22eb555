"""The edge's benchmark at tiny counts: that it runs, and what it tells."""

from pathlib import Path

import orjson
import pytest

from benchmarks import edge, miner_load
from roles.cli.__main__ import main


@pytest.mark.functional
def test_the_edge_benchmark_tells_its_figures_on_the_last_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "TIPS", 1)
    monkeypatch.setattr(miner_load, "TIP_S", 0.2)
    assert (
        main(
            [
                "bench",
                "edge",
                "--json",
                "--miners",
                "3",
                "--seconds",
                "1",
                "--period",
                "0.2",
                "--state",
                str(tmp_path),
            ]
        )
        == 0
    )
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    wanted = {"miners", "cpu_us_per_share", "added_latency_ms", "kib_per_miner", "job_fanout_ms", "load"}
    assert set(figures) >= wanted
    assert figures["miners"] == 3
    assert not list(tmp_path.iterdir())


@pytest.mark.functional
def test_a_daemon_that_does_not_start_is_told_with_its_log(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(edge.PROXY, "limits.connections", 0)
    assert main(["bench", "edge", "--miners", "1", "--state", str(tmp_path)]) == 70
    assert "must be" in capsys.readouterr().err
