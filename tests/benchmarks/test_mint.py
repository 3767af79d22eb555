"""The mint's benchmark at tiny counts: that it runs, and what it tells."""

from pathlib import Path

import orjson
import pytest

from roles.cli.__main__ import main
from roles.cli.foreign import nutshell
from tests.functional.foreign import installed

FIGURES = {"mint8_per_s", "mint8_cpu_ms", "swap8_per_s", "swap8_cpu_ms", "p99_ms", "failed"}


@pytest.mark.functional
def test_the_mint_benchmark_tells_its_figures_on_the_last_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--operations", "3", "--rounds", "1", "--clients", "1,2", "--shares", "60"]
    arguments += ["--state", str(tmp_path)]
    assert main(["bench", "mint", "--json", *arguments]) == 0
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(figures["clients"]) == {"1", "2"}
    for clients in figures["clients"].values():
        assert set(clients) >= FIGURES
        assert (clients["failed"], clients["operations"]) == (0, 6)
    assert figures["ehash"]["credited_per_s"] > 0
    assert figures["ehash"]["failed"] == 0
    assert figures["swap8_curve_limit_ms"] > 0
    assert figures["load"]["cores"] >= 1
    assert not list(tmp_path.iterdir())


@pytest.mark.functional
def test_nutshells_mint_is_measured_in_the_same_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    installed(nutshell)
    arguments = ["--operations", "16", "--rounds", "1", "--clients", "2", "--shares", "60"]
    arguments += ["--peer", "nutshell", "--state", str(tmp_path)]
    assert main(["bench", "mint", "--json", *arguments]) == 0
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    theirs = figures["nutshell"]["2"]
    assert (theirs["failed"], theirs["operations"]) == (0, 4)
    assert set(figures["ratios"]["2"]) >= {"mint8_per_s", "swap8_cpu_ms", "swap8_p99_ms"}
