"""Only one `up` runs on a state directory."""

import os
from pathlib import Path

import pytest

from roles.cli.claim import AlreadyRunning, Claim


def test_a_second_claim_names_the_process_that_holds_the_first(tmp_path: Path) -> None:
    with Claim(tmp_path / "state"), pytest.raises(AlreadyRunning, match="already running") as caught:
        Claim(tmp_path / "state").__enter__()
    assert caught.value.pid == os.getpid()


def test_a_claim_that_was_left_can_be_taken_again(tmp_path: Path) -> None:
    with Claim(tmp_path):
        pass
    with Claim(tmp_path):
        pass
