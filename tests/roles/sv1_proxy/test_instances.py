"""Either instance of sv1_proxy is started by the file of its own."""

from pathlib import Path

import pytest

from roles.runtime import sysexits
from roles.sv1_proxy.__main__ import main

CONFIG = Path(__file__).parents[3] / "config"


def test_the_file_tells_which_instance_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-c", str(CONFIG / "sv1_proxy_miner.toml"), "--check"]) == sysexits.OK
    assert capsys.readouterr().out.startswith("sv1_proxy-miner: ")
    assert main(["-c", str(CONFIG / "sv1_proxy_pool.toml"), "--check"]) == sysexits.CONFIG
    assert "sv1_proxy-pool: " in (told := capsys.readouterr().err)
    assert "mint.authority_key: is missing" in told


def test_a_file_that_does_not_say_which_instance_it_is_for_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-c", str(CONFIG / "pool.toml"), "--check"]) == sysexits.CONFIG
    assert "instance: is missing" in capsys.readouterr().err
    file = tmp_path / "sv1_proxy.toml"
    file.write_text('instance = "both"\n')
    assert main(["-c", str(file)]) == sysexits.CONFIG
    assert ':1: instance = "both": must be "pool" or "miner"' in capsys.readouterr().err
    assert main(["-c", str(tmp_path / "absent.toml")]) == sysexits.CONFIG


def test_without_a_file_neither_instance_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == sysexits.USAGE
    with pytest.raises(SystemExit) as helped:
        main(["--help"])
    assert helped.value.code == 0
    assert "sv1_proxy_miner.toml" in capsys.readouterr().out
