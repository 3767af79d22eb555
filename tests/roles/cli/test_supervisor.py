"""The supervisor starts in order, restarts what dies, refuses what cannot start and leaves nothing behind."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from roles.cli import supervisor
from roles.cli.supervisor import Member, StartFailed, State, Supervisor

FAKE = Path(__file__).with_name("fake_daemon.py")
BOUND_S = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def member(role: str, diary: Path, *needs: str, mode: str | None = None) -> Member:
    port = free_port()
    command = (sys.executable, str(FAKE), mode or role, str(port), str(diary))
    return Member(role, command, f"http://127.0.0.1:{port}", needs)


@contextlib.asynccontextmanager
async def running(fleet: Supervisor) -> AsyncIterator[None]:
    task = asyncio.create_task(fleet.run())
    try:
        await asyncio.wait_for(fleet.all_ready.wait(), BOUND_S)
        yield
    finally:
        await fleet.stop()
        await asyncio.wait_for(task, BOUND_S)


def quiet(_role: str, _line: str) -> None:
    """Drop a log line."""


async def test_a_daemon_starts_only_after_those_it_needs_are_ready(tmp_path: Path) -> None:
    diary = tmp_path / "diary"
    fleet = Supervisor(
        [member("third", diary, "second"), member("second", diary, "first"), member("first", diary)],
        quiet,
        os.environ,
    )
    async with running(fleet):
        order = [line.split()[0] for line in diary.read_text().splitlines()]
    assert order == ["first", "second", "third"]
    assert all(life.state is State.STOPPED for life in fleet.lives.values())


async def test_a_killed_daemon_is_started_again_and_its_lines_carry_its_name(tmp_path: Path) -> None:
    lines: list[tuple[str, str]] = []
    again = asyncio.Event()

    def say(role: str, line: str) -> None:
        lines.append((role, line))
        if lines.count(("lonely", "hello from lonely")) == 2:
            again.set()

    fleet = Supervisor([member("lonely", tmp_path / "diary")], say, os.environ)
    async with running(fleet):
        process = fleet.lives["lonely"].process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        await asyncio.wait_for(again.wait(), BOUND_S)
    assert fleet.lives["lonely"].restarts == 1
    assert any("ended by SIGKILL" in line for _, line in lines)


async def test_a_daemon_that_refuses_its_configuration_ends_the_start_with_its_own_words(
    tmp_path: Path,
) -> None:
    diary = tmp_path / "diary"
    fleet = Supervisor(
        [
            member("sound", diary),
            member("odd", diary, "sound", mode="misconfigured"),
            member("late", diary, "odd"),
        ],
        quiet,
        os.environ,
    )
    with pytest.RaisesGroup(StartFailed) as caught:
        await asyncio.wait_for(fleet.run(), BOUND_S)
    assert "listen_address: no such address" in str(caught.value.exceptions[0])
    process = fleet.lives["sound"].process
    assert process is not None
    assert process.returncode is not None
    assert "exit code 78 (configuration)" in str(caught.value.exceptions[0])


async def test_a_daemon_that_ignores_sigterm_is_killed_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "STOP_TIMEOUT_S", 0.3)
    fleet = Supervisor([member("stubborn", tmp_path / "diary")], quiet, os.environ)
    async with running(fleet):
        pass
    process = fleet.lives["stubborn"].process
    assert process is not None
    assert process.returncode == -signal.SIGKILL


async def test_what_is_killed_is_gone_at_once_and_not_started_again(tmp_path: Path) -> None:
    fleet = Supervisor([member("stubborn", tmp_path / "diary")], quiet, os.environ)
    async with running(fleet):
        assert not fleet.is_stopping()
        fleet.kill()
        assert fleet.is_stopping()
    process = fleet.lives["stubborn"].process
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    assert fleet.lives["stubborn"].restarts == 0


def test_why_a_daemon_does_not_start_is_told_without_what_else_it_logged() -> None:
    lines = [
        "ts=2026-03-01T12:34:56.789Z level=info daemon=pool msg=starting",
        'ts=2026-03-01T12:34:56.789Z level=error daemon=pool msg="port 1 is in use" hint="stop that program"',
    ]
    assert supervisor.complaints(lines) == ["port 1 is in use", "stop that program"]
    assert supervisor.complaints(["pool: listen_address: no such address"]) == [
        "pool: listen_address: no such address"
    ]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"pid": 7, "ready": false, "reasons": {"a": "not yet", "b": "gone"}}', (7, "a: not yet; b: gone")),
        (b'{"pid": 7, "ready": true, "reasons": {}}', (7, "")),
        (b'{"ready": true, "reasons": {}}', (0, "")),
        (b'{"pid": "x", "reasons": {}}', (0, "")),
        (b"ready", (0, "")),
        (b"[]", (0, "")),
        (b'{"pid": 7, "reasons": 7}', (0, "")),
    ],
)
def test_who_answers_and_what_it_waits_for_is_read_from_the_answer(
    body: bytes, told: tuple[int, str]
) -> None:
    assert supervisor.parse_ready(body) == told


async def test_another_process_that_answers_in_a_daemons_place_does_not_make_it_ready(tmp_path: Path) -> None:
    fleet = Supervisor([member("stranger", tmp_path / "diary")], quiet, os.environ)
    task = asyncio.create_task(fleet.run())
    life = fleet.lives["stranger"]
    async with asyncio.timeout(BOUND_S):
        while not life.reason:
            await asyncio.sleep(0.02)
    assert life.reason.startswith(f"process {os.getpid()} answers at http://127.0.0.1:")
    assert not life.ready.is_set()
    await fleet.stop()
    await asyncio.wait_for(task, BOUND_S)


async def test_stopping_while_a_daemon_still_waits_for_another_ends_at_once(tmp_path: Path) -> None:
    never = Member(
        "never", (sys.executable, "-c", "import time; time.sleep(60)"), f"http://127.0.0.1:{free_port()}"
    )
    fleet = Supervisor([never, member("waiting", tmp_path / "diary", "never")], quiet, os.environ)
    task = asyncio.create_task(fleet.run())
    while fleet.lives["never"].process is None:
        await asyncio.sleep(0.01)
    await fleet.stop()
    await asyncio.wait_for(task, BOUND_S)
    assert not (tmp_path / "diary").exists()
