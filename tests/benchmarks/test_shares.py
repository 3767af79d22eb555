"""The pool's benchmark at tiny counts: that it runs, and what it tells."""

from pathlib import Path

import orjson
import pytest

from roles.cli.__main__ import main


@pytest.mark.functional
def test_the_share_benchmark_tells_its_figures_on_the_last_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ["--shares", "60", "--connections", "2", "--idle", "3", "--state", str(tmp_path)]
    assert main(["bench", "shares", "--json", *arguments]) == 0
    figures = orjson.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(figures) >= {"one_per_segment_us", "bulk_us", "durable_per_s", "idle_connection_kib", "load"}
    assert (figures["merkle_nodes"], figures["shares_each_way"]) == (12, 60)
    assert figures["loop"] in {"uvloop", "asyncio"}
    assert figures["kernel"] in {"native", "native-cipher", "python"}
    assert figures["load"]["speed"].keys() >= {"seal_us", "generate_us", "loopback_us"}
    assert not list(tmp_path.iterdir())
