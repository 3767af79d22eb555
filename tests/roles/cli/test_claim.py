"""Only one `up` runs on a state directory."""

import os
from pathlib import Path

import pytest

from roles.cli.__main__ import main
from roles.cli.claim import MONEY, AlreadyRunning, Claim, mark_development
from roles.runtime import sysexits


def test_a_second_claim_names_the_process_that_holds_the_first(tmp_path: Path) -> None:
    with Claim(tmp_path / "state"), pytest.raises(AlreadyRunning, match="already running") as caught:
        Claim(tmp_path / "state").__enter__()
    assert caught.value.pid == os.getpid()


def test_a_claim_that_was_left_can_be_taken_again(tmp_path: Path) -> None:
    with Claim(tmp_path):
        pass
    with Claim(tmp_path):
        pass


@pytest.mark.parametrize("store", MONEY)
@pytest.mark.parametrize("argv", [["up"], ["start", "pool"], ["clean", "cashu", "--yes"]])
def test_development_commands_leave_the_stores_of_production_alone(
    store: str, argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / store).parent.mkdir()
    (tmp_path / store).touch()
    assert main([*argv, "--state", str(tmp_path)]) == sysexits.CANT_CREATE
    assert f"{tmp_path / store} is of no development system" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [Path(store).name]


def test_a_directory_that_was_marked_stays_a_development_systems(tmp_path: Path) -> None:
    mark_development(tmp_path)
    (tmp_path / "mint").mkdir()
    (tmp_path / "mint" / "mint.sqlite").touch()
    mark_development(tmp_path)
