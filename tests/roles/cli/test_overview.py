"""The command line explains itself."""

from pathlib import Path

import pytest

from roles.cli.__main__ import COMMANDS, DAEMONS, main
from roles.runtime import sysexits


def test_help_names_every_command_and_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in [*COMMANDS, *DAEMONS]:
        assert name in text


def test_a_mistyped_command_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wallt"]) == sysexits.USAGE
    assert "did you mean wallet?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["up", "--profile", "none"], "hashpool up: argument --profile: invalid choice: 'none'"),
        (["wallet"], "hashpool wallet: the following arguments are required: action"),
        (["mint", "pouse"], "hashpool mint: argument action: invalid choice: 'pouse'"),
        (["pool", "--bogus"], "hashpool-pool: unrecognized arguments: --bogus"),
    ],
)
def test_wrong_arguments_end_with_how_it_is_used(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == sysexits.USAGE
    shown = capsys.readouterr().err
    assert shown.startswith("usage: ")
    assert told in shown


@pytest.mark.parametrize("command", [["up"], ["start", "pool"]])
def test_a_state_directory_that_cannot_be_had_is_told_in_one_line(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main([*command, "--state", str(tmp_path / "file" / "state")]) == sysexits.CANT_CREATE
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert shown.startswith(f"hashpool {command[0]}: the state directory {tmp_path / 'file' / 'state'}")
    assert shown.endswith("Not a directory (name another one with --state)\n")


def test_a_damaged_key_keeps_the_system_from_starting_and_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pool").mkdir()
    key = tmp_path / "pool" / "authority.key"
    key.write_text("not a key")
    key.chmod(0o600)
    assert main(["up", "--state", str(tmp_path)]) == sysexits.PERMISSION
    assert f"hashpool up: {key} does not hold a key" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["up"], ["start", "pool"], ["status"]])
def test_files_that_are_missing_are_named_before_anything_starts(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = [] if command == ["status"] else ["--state", str(tmp_path / "state")]
    assert main([*command, "--config", str(tmp_path / "none"), *state]) == sysexits.CONFIG
    shown = capsys.readouterr().err.splitlines()
    assert f"hashpool {command[0]}: {tmp_path / 'none' / 'regtest_node.toml'}: cannot be read" in shown[0]
    assert len(shown) == (1 if command == ["status"] else 7)
