"""The benchmark of the whole way at tiny counts: that it runs, and what it tells."""

from pathlib import Path

import orjson
import pytest

from benchmarks import tokens
from roles.cli.__main__ import main

pytest.importorskip("pbk", reason="needs py-bitcoinkernel, the node extra")


@pytest.mark.functional
def test_the_token_benchmark_tells_its_figures_on_the_last_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "WARM_S", 1.0)
    arguments = ["--rate", "40", "--seconds", "1", "--miners", "4", "--seed", "1", "--state", str(tmp_path)]
    assert main(["bench", "tokens", "--json", *arguments]) == 0
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["shares"] > 0
    assert figures["shares_per_s"] > 0
    assert set(figures["share_to_token_ms"]) == {"p50", "p99", "max"}
    assert set(figures["cpu_us_per_share"]) >= {"pool", "mint", "proxy", "translator", "miners"}
    assert figures["pending_at_the_end"]["shares"] >= 0
    assert (figures["unanswered"], figures["audit"]["ok"]) == (0, True)
    assert not list(tmp_path.iterdir())
