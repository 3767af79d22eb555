"""The benchmark of connections at tiny counts: that it runs, and what it tells."""

from pathlib import Path

import orjson
import pytest

from benchmarks import connections
from roles.cli.__main__ import main


@pytest.mark.functional
def test_the_connection_benchmark_tells_its_figures_on_the_last_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "TIPS", 2)
    monkeypatch.setattr(connections, "PAUSE_S", 0.1)
    assert main(["bench", "connections", "--json", "--connections", "3", "--state", str(tmp_path)]) == 0
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    told = {
        "open_per_s",
        "open_cpu_us",
        "job_fanout_ms",
        "job_cpu_us",
        "kib_per_connection",
        "kib_per_channel",
    }
    assert set(figures) >= told | {"load"}
    assert figures["connections"] == 3
    assert figures["job_fanout_ms"] > 0
    assert not list(tmp_path.iterdir())
