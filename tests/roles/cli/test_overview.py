"""The command line explains itself."""

import pytest

from roles.cli.__main__ import COMMANDS, DAEMONS, main


def test_help_names_every_command_and_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name in [*COMMANDS, *DAEMONS]:
        assert name in text


def test_a_mistyped_command_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["wallt"]) == 64
    assert "did you mean wallet?" in capsys.readouterr().err
