"""What `hashpool mint` shows of the mint's answers."""

import pytest

from roles.cli.mint import show


@pytest.mark.parametrize(
    ("action", "changed", "text"),
    [
        ("pause", True, "done"),
        ("pause", False, "nothing to do: it is paused already"),
        ("resume", False, "nothing to do: it was not paused; hashpool mint status tells what is"),
        ("quote", False, "nothing to do: it is so already"),
    ],
)
def test_an_order_that_changed_nothing_says_why(
    action: str, changed: bool, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(action, {"changed": changed})
    assert capsys.readouterr().out == text + "\n"
