"""The benchmark of a pool of several processes at tiny counts: that it runs, and what it tells."""

from pathlib import Path

import orjson
import pytest

from roles.cli.__main__ import main


@pytest.mark.functional
def test_the_benchmark_of_processes_tells_its_figures_on_the_last_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--connections", "4", "--rounds", "4", "--each", "2", "--state", str(tmp_path)]
    assert main(["bench", "processes", "--json", *arguments]) == 0
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    for way in ("one_per_segment", "bulk"):
        assert set(figures[way]) >= {"one_us", "several_us", "part_us", "ratio", "ratio_to_part"}
    assert sum(figures["spread"]) == 4
    assert len(figures["spread"]) == figures["processes"] == 2
    assert figures["audit_ok"]
    assert not list(tmp_path.iterdir())
