import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from roles.runtime import crash
from roles.runtime.errors import OperatorError

ROLES = Path(__file__).parents[3] / "roles"
NAME = "pool.shares-durable"


@pytest.fixture
def deaths(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """The signals that were sent instead of ending this process."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    yield sent
    crash.arm("")


def test_every_crash_point_that_is_declared_stands_in_the_code_and_no_other() -> None:
    """More than once where a share may take a short way or a long one."""
    standing = {
        name
        for file in ROLES.rglob("*.py")
        for name in re.findall(r'crash\.(?:at|once_sent)\("([^"]+)"\)', file.read_text())
    }
    assert standing == set(crash.POINTS)


def test_every_crash_point_says_what_it_separates() -> None:
    assert all(re.fullmatch(r"[^|]+ \| [^|]+", text) for text in crash.POINTS.values())


def test_nothing_dies_where_no_crash_point_is_armed(deaths: list[tuple[int, int]]) -> None:
    crash.arm("")
    crash.at(NAME)
    assert not deaths


@pytest.mark.parametrize(("wish", "passings"), [(NAME, 1), (f"{NAME}@1", 1), (f"{NAME}@3", 3)])
def test_the_process_is_killed_at_the_passing_that_was_asked_for(
    wish: str, passings: int, deaths: list[tuple[int, int]], capfd: pytest.CaptureFixture[str]
) -> None:
    crash.arm(wish)
    for _ in range(passings - 1):
        crash.at(NAME)
        crash.at("pool.shares-judged")
    assert not deaths
    crash.at(NAME)
    assert deaths == [(os.getpid(), signal.SIGKILL)]
    assert f"crash point {NAME}\n" in capfd.readouterr().err


async def test_behind_a_message_the_process_lives_until_the_message_is_out(
    deaths: list[tuple[int, int]],
) -> None:
    crash.arm(NAME)
    crash.once_sent("pool.shares-judged")
    crash.once_sent(NAME)
    assert not deaths
    await asyncio.sleep(0)
    assert deaths == [(os.getpid(), signal.SIGKILL)]


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(OperatorError, match=r"names no crash point.*pool\.shares-durable\?"):
        crash.arm("pool.shares-durably@2")


@pytest.mark.parametrize("wish", [f"{NAME}@0", f"{NAME}@x", f"{NAME}@-1", f"{NAME}@²"])
def test_a_passing_that_is_no_number_is_refused(wish: str) -> None:
    with pytest.raises(OperatorError, match="must end with a number"):
        crash.arm(wish)
