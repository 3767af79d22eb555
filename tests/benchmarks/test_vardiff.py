"""The simulation of difficulty: what it tells, what it draws, and how two published rules fare in it."""

from pathlib import Path
from xml.etree import ElementTree

import orjson
import pytest

from benchmarks.vardiff import LAWS, SCENARIOS
from roles.cli.__main__ import main


def test_the_benchmark_tells_figures_of_each_law_and_draws_them(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plot = tmp_path / "plot.svg"
    assert main(["bench", "vardiff", "--json", "--runs", "16", "--plot", str(plot)]) == 0
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["runs"] == 16
    assert set(figures["laws"]) == set(LAWS)
    for told in figures["laws"].values():
        assert set(told) == {scenario.name for scenario in SCENARIOS}
    assert (
        figures["laws"]["ours_6"]["up"]["within_5_min"] > figures["laws"]["ckpool_18"]["down"]["within_5_min"]
    )
    drawing = ElementTree.parse(plot).getroot()
    panels = [each for each in drawing.iter() if each.get("class") == "frame"]
    assert len(panels) == len(LAWS) * (len(SCENARIOS) - 1)


def test_a_plot_that_cannot_be_written_is_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["bench", "vardiff", "--runs", "1", "--plot", str(tmp_path / "none" / "plot.svg")]) == 70
    assert "cannot be written: No such file" in capsys.readouterr().err
